//! `amochats top`: a frame as text, and the live view in a terminal.

use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{Home, Server};
use amochats_tests::traffic::Connection;
use std::process::Command;

/// Runs the view in a terminal of its own, waits for each text in turn, and types `q` after the last.
/// At "KILL" it ends the server first. Says whether the terminal is as it was before.
const IN_A_TERMINAL: &str = r#"
import fcntl, os, pty, select, signal, struct, subprocess, sys, termios, time
server, command, texts = int(sys.argv[1]), sys.argv[2:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
before = termios.tcgetattr(slave)
child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, start_new_session=True,
                         preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
seen, give_up = b"", time.monotonic() + 60
def read():
    global seen
    if select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 65536)
    if time.monotonic() > give_up:
        child.kill()
        sys.exit(f"never came: {seen!r}")
for text in texts:
    if text == "KILL":
        os.kill(server, signal.SIGKILL)
        continue
    while text.encode() not in seen:
        read()
raw = termios.tcgetattr(slave) != before
os.write(master, b"q")
while child.poll() is None:
    read()
while select.select([master], [], [], 0)[0]:
    seen += os.read(master, 65536)
print("code", child.returncode)
print("raw meanwhile", raw)
print("as before", termios.tcgetattr(slave) == before)
print("left the other screen", seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h") >= 0)
print("stderr", child.stderr.read())
"#;

const WELL: &str = "code 0\nraw meanwhile True\nas before True\nleft the other screen True\nstderr b''\n";

async fn server_with_a_backlog(home: &Home) -> Server {
    let server = home.start().await;
    let made = run(amochats().args(["subscriptions", "create", "crm", "--server"]).arg(grpc(&server)), b"");
    assert_eq!(made.code, 0, "{made:?}");
    let mut connection = Connection::open(&server.listener).await.expect("a connection");
    for place in 0..7 {
        assert_eq!(connection.hook(&("A".into(), place), 10).await.expect("answered"), 200);
    }
    assert_eq!(connection.post_signed("{}", "nonsense").await.expect("answered"), 401);
    server
}

fn grpc(server: &Server) -> String {
    format!("http://{}", server.grpc)
}

fn in_a_terminal(server: &Server, texts: &[&str]) -> Ended {
    let mut python = Command::new("python3");
    python.arg("-c").arg(IN_A_TERMINAL).arg(server.pid().to_string());
    python.arg(amochats().get_program()).args(["top", "--server"]).arg(grpc(server));
    python.arg("--admin").arg(format!("http://{}", server.admin)).arg("--").args(texts);
    run(&mut python, b"")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_is_printed_where_there_is_no_terminal() {
    let home = Home::new();
    let server = server_with_a_backlog(&home).await;
    let admin = format!("http://{}", server.admin);
    for once in [&["--once"][..], &[]] {
        let mut top = amochats();
        top.args(["top", "--admin", &admin, "--server"]).arg(grpc(&server)).args(once);
        let frame = run(&mut top, b"");
        assert_eq!((frame.code, frame.stderr.as_str()), (0, ""), "{frame:?}");
        assert!(!frame.stdout.contains('\u{1b}'), "plain text");
        let crm = frame.stdout.lines().find(|line| line.starts_with("crm ")).expect("a subscription");
        let columns: Vec<&str> = crm.split_whitespace().collect();
        assert_eq!(columns[..4], ["crm", "7", "0", "0"], "{crm}");
        for line in ["webhooks  0.0/s kept, 0.0/s refused", "dead      0"] {
            assert!(frame.stdout.lines().any(|shown| shown == line), "{line}: {}", frame.stdout);
        }
        let answered = frame.stdout.lines().find(|line| line.starts_with("answered  p50 \u{2264} "));
        assert!(answered.is_some_and(|line| !line.contains('-')), "{}", frame.stdout);
        assert!(frame.stdout.contains("0 queued"), "{}", frame.stdout);
    }
    let mut blind = amochats();
    blind.args(["top", "--once", "--admin", "http://127.0.0.1:9", "--server"]).arg(grpc(&server));
    let frame = run(&mut blind, b"");
    assert!(frame.code == 0 && frame.stdout.contains("name the address with --admin"), "{frame:?}");
    let nobody = run(amochats().args(["top", "--once", "--server", "http://127.0.0.1:9"]), b"");
    assert_eq!(nobody.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_quits_and_leaves_the_terminal_as_it_was() {
    let home = Home::new();
    let server = server_with_a_backlog(&home).await;
    let ended = in_a_terminal(&server, &["SUBSCRIPTION", "crm", "quits"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, WELL), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_said_and_waited_for() {
    let home = Home::new();
    let server = server_with_a_backlog(&home).await;
    let ended = in_a_terminal(&server, &["SUBSCRIPTION", "KILL", "trying again"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, WELL), "{ended:?}");
}
