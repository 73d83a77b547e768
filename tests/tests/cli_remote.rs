//! The commands that ask a server, where it wants TLS, certificates and tokens; and the server under a
//! service manager.

use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{Home, Server};
use amochats_tests::soon;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tokio::net::UnixDatagram;

/// A home with a certificate for its server, one for a client, and a file of tokens.
fn home() -> Home {
    let home = Home::new();
    let path = |name: &str| home.path().join(name);
    let mut authority = CertificateParams::new(Vec::new()).expect("names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    fs::write(path("ca.pem"), authority.self_signed(&key).expect("signed").pem()).expect("written");
    let issuer = Issuer::new(authority, key);
    for name in ["server", "client"] {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        fs::write(path(&format!("{name}.pem")), certificate.pem()).expect("written");
        fs::write(path(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }
    token(&home, &["--name", "reader", "--permissions", "read"]);
    let toml = fs::read_to_string(home.config()).expect("readable");
    let grpc = format!(
        "[grpc]\ntls_cert = '{0}/server.pem'\ntls_key = '{0}/server.key'\nclient_ca = '{0}/ca.pem'\n\
         tokens_file = '{0}/tokens'",
        home.path().display()
    );
    fs::write(home.config(), toml.replace("[grpc]", &grpc)).expect("written");
    home
}

fn token(home: &Home, args: &[&str]) -> Ended {
    let ended =
        run(amochats().args(["token", "new"]).args(args).arg("--file").arg(home.path().join("tokens")), b"");
    if ended.code == 0 {
        fs::write(home.path().join(format!("{}.token", args[1])), &ended.stdout).expect("written");
    }
    ended
}

/// A command that asks the server, with these of its flags.
fn ask(home: &Home, server: &Server, command: &[&str], flags: &[&str]) -> Ended {
    let port = server.grpc.rsplit_once(':').expect("a port").1;
    let mut asked = amochats();
    asked.args(command).args(["--server", &format!("https://localhost:{port}")]);
    for flag in flags {
        let (name, file) = flag.split_once('=').expect("a file");
        asked.arg(name).arg(home.path().join(file));
    }
    run(&mut asked, b"")
}

const WHO: [&str; 3] = ["--ca=ca.pem", "--cert=client.pem", "--key=client.key"];
const TOKEN: &str = "--token-file=reader.token";

#[tokio::test]
async fn commands_show_the_server_what_it_wants_to_see() {
    let home = home();
    let server = home.start().await;
    let flags = [&WHO[..], &[TOKEN]].concat();
    for command in [&["accounts", "ls"][..], &["backfill", "--status"]] {
        let listed = ask(&home, &server, command, &flags);
        assert_eq!(listed.code, 0, "{listed:?}");
    }
    let refused = ask(&home, &server, &["accounts", "forget", "x"], &flags);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("needs the permission admin"), "{}", refused.stderr);
    let stranger = ask(&home, &server, &["outbox", "ls"], &WHO);
    assert_eq!(stranger.code, 1, "{stranger:?}");
    assert!(stranger.stderr.contains("--token-file"), "{}", stranger.stderr);
    for flags in [&["--ca=ca.pem", TOKEN][..], &["--ca=client.pem", TOKEN], &[TOKEN]] {
        let nobody = ask(&home, &server, &["accounts", "ls"], flags);
        assert_eq!(nobody.code, 3, "{nobody:?}");
        assert_eq!(nobody.stderr.lines().count(), 1, "{nobody:?}");
    }
    let wrong = ask(&home, &server, &["accounts", "ls"], &["--ca=ca.pem", "--cert=client.pem", TOKEN]);
    assert_eq!(wrong.code, 2, "{wrong:?}");

    let port = server.grpc.rsplit_once(':').expect("a port").1;
    for (token_file, said) in [(None, "--token-file"), (Some("/nonexistent"), "cannot read the token file")] {
        let mut command = amochats();
        command.env("AMOCHATS_SERVER_TOKEN", "").args(["listen", "--server"]);
        command.arg(format!("https://localhost:{port}"));
        for flag in WHO {
            let (name, file) = flag.split_once('=').expect("a file");
            command.arg(name).arg(home.path().join(file));
        }
        if let Some(file) = token_file {
            command.args(["--token-file", file]);
        }
        let stranger = run(&mut command, b"");
        assert_eq!(stranger.code, if token_file.is_some() { 3 } else { 1 }, "{stranger:?}");
        assert!(stranger.stderr.contains(said), "{stranger:?}");
    }

    let by_variable = {
        let mut command = amochats();
        let token = fs::read_to_string(home.path().join("reader.token")).expect("readable");
        command.env("AMOCHATS_SERVER_TOKEN", token.trim());
        command.args(["listen", "--subscription", "none", "--server"]);
        command.arg(format!("https://localhost:{}", server.grpc.rsplit_once(':').expect("a port").1));
        for flag in WHO {
            let (name, file) = flag.split_once('=').expect("a file");
            command.arg(name).arg(home.path().join(file));
        }
        run(&mut command, b"")
    };
    assert_eq!(by_variable.code, 1, "{by_variable:?}");
    assert!(by_variable.stderr.contains("subscription"), "it was let in: {by_variable:?}");
}

#[tokio::test]
async fn a_token_is_made_once_and_taken_at_once() {
    let home = home();
    let server = home.start().await;
    let file = fs::metadata(home.path().join("tokens")).expect("made");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let made = token(&home, &["--name", "chief", "--permissions", "admin,read", "--days", "1"]);
    assert_eq!(made.code, 0, "{made:?}");
    let text = fs::read_to_string(home.path().join("tokens")).expect("readable");
    assert!(!text.contains(made.stdout.trim()), "only its hash is kept");
    assert!(text.contains("chief read,admin sha256:") && text.contains(" until=20"), "{text}");
    let flags = [&WHO[..], &["--token-file=chief.token"]].concat();
    let forgotten = ask(&home, &server, &["accounts", "forget", "nobody"], &flags);
    assert!(forgotten.code == 1 && !forgotten.stderr.contains("permission"), "{forgotten:?}");

    for (args, said) in [
        (&["--name", "chief", "--permissions", "read"][..], "is taken"),
        (&["--name", "a b", "--permissions", "read"], "letters, digits"),
        (&["--name", "x", "--permissions", "write"], "possible values: read, send, admin"),
        (&["--name", "x", "--permissions", "read", "--days", "0"], "--days"),
    ] {
        let refused = token(&home, args);
        assert!(refused.code == 2 && refused.stderr.contains(said), "{refused:?}");
    }
    fs::write(home.path().join("tokens"), "nonsense\n").expect("written");
    let refused = token(&home, &["--name", "x", "--permissions", "read"]);
    assert!(refused.code == 2 && refused.stderr.contains("line 1"), "{refused:?}");
    let checked = run(amochats().args(["config", "check", "--config"]).arg(home.config()), b"");
    assert!(checked.code == 2 && checked.stderr.contains("grpc.tokens_file: line 1"), "{checked:?}");
}

#[tokio::test]
async fn a_service_manager_hears_how_it_goes() {
    let home = Home::new();
    for address in [
        home.path().join("notify").to_str().expect("plain").to_owned(),
        format!("@{}", home.path().display()),
    ] {
        let socket = match address.strip_prefix('@') {
            None => UnixDatagram::bind(&address).expect("bound"),
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let name = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
                let socket = std::os::unix::net::UnixDatagram::bind_addr(&name).expect("bound");
                socket.set_nonblocking(true).expect("set");
                UnixDatagram::from_std(socket).expect("a socket")
            }
        };
        let heard = async |state: &str| {
            let mut bytes = [0; 100];
            loop {
                let length = soon(state, socket.recv(&mut bytes)).await.expect("a datagram");
                let said = std::str::from_utf8(&bytes[..length]).expect("text");
                if said == state {
                    return;
                }
                assert_eq!(said, "WATCHDOG=1", "while {state} was awaited");
            }
        };
        let mut command = home.command();
        command.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "100000");
        let server = home.start_as(command).await;
        heard("READY=1").await;
        heard("WATCHDOG=1").await;
        heard("WATCHDOG=1").await;
        server.signal("HUP").await;
        heard("RELOADING=1").await;
        heard("READY=1").await;
        server.signal("TERM").await;
        heard("STOPPING=1").await;
        assert!(server.ended().await.success());
    }
}
