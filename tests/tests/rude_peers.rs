//! Peers that mean no good: while they are at it, the listener serves the others within its limits.

use amochats_tests::command::skipped;
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, Server};
use amochats_tests::soon;
use amochats_tests::traffic::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

/// A webhook of somebody else is answered 200, over a connection of its own.
async fn serves_others(server: &Server, place: u64) {
    let answer = async {
        let mut connection = Connection::open(&server.listener).await.expect("connected");
        connection.hook(&("honest".to_owned(), place), 50).await
    };
    assert_eq!(soon("answer to the others", answer).await.expect("answered"), 200);
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(&server.listener).await.expect("connected")
}

/// Reads until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = soon("end of the connection", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head(length: u64) -> String {
    format!(
        "POST /webhook/{CHANNEL}_{ACCOUNT} HTTP/1.1\r\nHost: amochats\r\nX-Signature: 0\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_bodies_are_cut_and_cost_the_others_nothing() {
    let home = Home::new();
    let server = home.start().await;
    let mut slow = JoinSet::new();
    for number in 0..100 {
        let mut stream = connect(&server).await;
        let begun = if number % 2 == 0 { "POST /webhook/x HTTP/1.1\r\nX-".to_owned() } else { head(1000) };
        stream.write_all(begun.as_bytes()).await.expect("written");
        slow.spawn(async move {
            // One byte now and then: whoever only waits for silence never cuts it.
            while stream.write_all(b"a").await.is_ok() {
                let mut answer = [0; 1];
                let pause = std::time::Duration::from_millis(200);
                if tokio::time::timeout(pause, stream.read(&mut answer)).await.is_ok() {
                    return;
                }
            }
        });
    }
    serves_others(&server, 0).await;
    soon("end of the slow ones", slow.join_all()).await;
    serves_others(&server, 1).await;
}

/// How many files a process may have open, once it may have as many as this machine lets it.
async fn files(pid: u32, wanted: usize) -> usize {
    // More than the hard limit is for root alone, and not in every container.
    let nofile = format!("--nofile={wanted}:{wanted}");
    let _ = Command::new("prlimit").args(["--pid", &pid.to_string(), &nofile]).output().await;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("Linux");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    files.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_do_not_keep_the_others_out() {
    const IDLE: usize = 10_000;
    // No address has more than is allowed to one.
    const SOURCES: u8 = 40;
    let home = Home::new();
    let mut command = home.command();
    // All are let in, and stay for as long as a silent one may at most.
    command.env("AMOCHATS_LISTENER_MAX_CONNECTIONS", (IDLE + 100).to_string());
    command.env("AMOCHATS_LISTENER_HEADER_TIMEOUT_MS", "60000");
    let server = home.start_as(command).await;
    // Each is a file here and one in the server.
    for pid in [std::process::id(), server.pid()] {
        let files = files(pid, IDLE + 1000).await;
        if files < IDLE + 200 {
            skipped(&format!("10,000 idle connections (ulimit -n is {files})"));
            return;
        }
    }
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let source = 1 + u8::try_from(number % usize::from(SOURCES)).expect("a remainder");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 1, source], 0).into()).expect("a free port");
        let connecting = socket.connect(server.listener.parse().expect("an address"));
        idle.push(soon("connection", connecting).await.expect("connected"));
    }
    serves_others(&server, 0).await;
    // Connections are let in in their order, so all of them were before the last one was answered.
    let mut admin = TcpStream::connect(&server.admin).await.expect("connected");
    admin.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("written");
    let metrics = rest(&mut admin).await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("amochats_webhook_connections "));
    let open: usize = open.and_then(|count| count.trim().parse().ok()).expect("counted");
    assert!(open >= IDLE, "{open} are open");
    drop(idle);
    serves_others(&server, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused_without_being_taken_in() {
    let home = Home::new();
    let server = home.start().await;
    let memory = || async {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number")
    };
    serves_others(&server, 0).await;
    let before = memory().await;
    let mut large = JoinSet::new();
    for number in 0..8 {
        let mut stream = connect(&server).await;
        large.spawn(async move {
            let chunk = vec![b'x'; 1 << 20];
            // Announced, or in chunks without a length.
            let announced = number % 2 == 0;
            let begun = if announced {
                head(100 << 20)
            } else {
                head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
            };
            let mut sent = stream.write_all(begun.as_bytes()).await;
            for _ in 0..100 {
                if sent.is_err() {
                    break;
                }
                if !announced {
                    sent = stream.write_all(b"100000\r\n").await;
                }
                sent = sent.and(stream.write_all(&chunk).await);
                if !announced {
                    sent = sent.and(stream.write_all(b"\r\n").await);
                }
            }
            let answer = rest(&mut stream).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
        });
    }
    serves_others(&server, 1).await;
    soon("end of the large ones", large.join_all()).await;
    serves_others(&server, 2).await;
    let grown = memory().await - before;
    assert!(grown < 50 << 10, "800 MB were sent, and {grown} kB of memory taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_half_closed_connections_end_alone() {
    let home = Home::new();
    let server = home.start().await;
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\nGET / HTTP/9.9\r\n\r\n",
        b"POST /webhook/x HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /webhook/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZZ\r\n",
        b"\0\0\0\0\r\n\r\n\r\n\xff\xfe",
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n!!! not a request\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ];
    for (number, bytes) in (0..).zip(garbage) {
        let mut stream = connect(&server).await;
        for _ in 0..50 {
            if stream.write_all(bytes).await.is_err() {
                break;
            }
        }
        stream.shutdown().await.ok();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("HTTP/1.1 200") && !answer.contains("HTTP/1.1 5"), "{bytes:?}: {answer}");
        serves_others(&server, number).await;
    }
    // Announced, begun, and then closed from this side: nothing of it is a webhook.
    for begun in [head(1000), format!("{}abc", head(1000)), "POST /webhook".to_owned()] {
        let mut stream = connect(&server).await;
        stream.write_all(begun.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("half closed");
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    }
    serves_others(&server, 100).await;
}
