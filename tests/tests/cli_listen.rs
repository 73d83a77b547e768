//! `amochats listen` where whoever takes the events is slow, or goes away.

use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{ACCOUNT, Home, Server};
use amochats_tests::soon;
use amochats_tests::traffic::Connection;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

async fn message(server: &Server, conversation: &str, message: &str) {
    let body = serde_json::json!({
        "account_id": ACCOUNT,
        "message": {
            "conversation": { "id": conversation },
            "message": { "id": message, "type": "text", "text": "hello" },
        },
    });
    let mut connection = Connection::open(&server.listener).await.expect("a connection");
    assert_eq!(connection.post(&body.to_string()).await.expect("answered"), 200);
}

fn at(server: &Server, command: &str) -> Ended {
    run(amochats().args(command.split(' ')).args(["--server", &format!("http://{}", server.grpc)]), b"")
}

fn start(server: &Server, command: &str, stdout: Stdio) -> Child {
    let mut command_line = Command::from(amochats());
    command_line.args(command.split(' ')).args(["--server", &format!("http://{}", server.grpc)]);
    command_line.stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("started")
}

/// How a command ended, and what it said on standard error.
async fn end(child: Child) -> (Option<i32>, String) {
    let ended = soon("the end", child.wait_with_output()).await.expect("waited");
    (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
}

/// What the subscription `crm` has: unsettled, and of them handed out.
fn state(server: &Server) -> (u64, u64) {
    let listed = at(server, "subscriptions ls --json");
    let state: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|_| panic!("{listed:?}"));
    (state["unsettled"].as_u64().expect("a number"), state["outstanding"].as_u64().expect("a number"))
}

#[tokio::test]
async fn what_nobody_reads_is_not_acknowledged() {
    let home = Home::new();
    let server = home.start().await;
    assert_eq!(at(&server, "subscriptions create crm").code, 0);
    for name in ["1", "2", "3"] {
        message(&server, name, name).await;
    }
    // Nobody ever reads.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let (code, said) = end(start(&server, "listen --subscription crm", writer.into())).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("standard output was closed") && said.lines().count() == 1, "{said}");
    assert_eq!(state(&server).0, 3);

    // Somebody reads all that there is, and goes away while nothing comes.
    let mut listen = start(&server, "listen --subscription crm", Stdio::piped());
    let mut lines = BufReader::new(listen.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        soon("an event", lines.next_line()).await.expect("readable").expect("not the end");
    }
    drop(lines);
    let (code, said) = end(listen).await;
    assert_eq!(code, Some(3), "{said}");
    message(&server, "4", "4").await;
    let printed = at(&server, "listen --subscription crm --count 1");
    assert_eq!(printed.code, 0, "{printed:?}");
    let event: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert_eq!(event["message_ref_id"], "4", "what was printed is settled before the end");
    assert_eq!(state(&server), (0, 0));
}

#[tokio::test]
async fn who_only_watches_ends_quietly_with_its_reader() {
    let home = Home::new();
    let server = home.start().await;
    message(&server, "1", "1").await;
    let mut tail = start(&server, "events tail --json", Stdio::piped());
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    soon("an event", lines.next_line()).await.expect("readable").expect("not the end");
    drop(lines);
    assert_eq!(end(tail).await, (Some(0), String::new()));

    let mut listen = start(&server, "listen", Stdio::piped());
    drop(listen.stdout.take());
    assert_eq!(end(listen).await, (Some(0), String::new()));
}

/// The next request of a forwarder: its connection and the conversation of the event.
async fn forwarded(endpoint: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = soon("a connection", endpoint.accept()).await.expect("accepted");
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(event) = serde_json::from_str::<Value>(body)
        {
            let conversation = event["conversation_ref_id"].as_str().expect("named").to_owned();
            return (stream, conversation);
        }
        let read = soon("the request", stream.read_buf(&mut request)).await.expect("readable");
        assert_ne!(read, 0, "the request ended early");
    }
}

async fn answer(stream: &mut TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer).await.expect("answered");
}

#[tokio::test]
async fn a_slow_conversation_holds_up_no_other() {
    let home = Home::new();
    let server = home.start().await;
    assert_eq!(at(&server, "subscriptions create crm").code, 0);
    for (conversation, name) in [("slow", "1"), ("slow", "2"), ("quick", "3"), ("quick", "4")] {
        message(&server, conversation, name).await;
    }
    let endpoint = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/", endpoint.local_addr().expect("bound"));
    let listen =
        start(&server, &format!("listen --subscription crm --count 4 --forward {url}"), Stdio::null());
    let mut unanswered = None;
    let mut quick = 0;
    while quick < 2 || unanswered.is_none() {
        let (mut stream, conversation) = forwarded(&endpoint).await;
        if conversation == "slow" {
            assert!(unanswered.is_none(), "one at a time of each conversation");
            unanswered = Some(stream);
        } else {
            answer(&mut stream).await;
            quick += 1;
        }
    }
    answer(&mut unanswered.expect("it came")).await;
    answer(&mut forwarded(&endpoint).await.0).await;
    assert_eq!(end(listen).await, (Some(0), String::new()));
    assert_eq!(state(&server), (0, 0));
}

#[tokio::test]
async fn no_more_is_taken_than_is_posted() {
    let home = Home::new();
    let server = home.start().await;
    assert_eq!(at(&server, "subscriptions create crm").code, 0);
    for name in ["1", "2", "3", "4", "5"] {
        message(&server, name, name).await;
    }
    let endpoint = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/", endpoint.local_addr().expect("bound"));
    let command = format!("listen --subscription crm --concurrency 2 --count 5 --forward {url}");
    let listen = start(&server, &command, Stdio::null());
    let (mut one, _) = forwarded(&endpoint).await;
    let (mut two, _) = forwarded(&endpoint).await;
    assert_eq!(state(&server), (5, 2), "the lease of what waits does not begin");
    answer(&mut one).await;
    answer(&mut two).await;
    for _ in 0..3 {
        answer(&mut forwarded(&endpoint).await.0).await;
    }
    assert_eq!(end(listen).await, (Some(0), String::new()));
    assert_eq!(state(&server), (0, 0));
}
