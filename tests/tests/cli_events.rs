//! `amochats events`, `subscriptions` and `outbox` on a running server, and on the file of a store.

use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::settlement::Settlement;
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, Server};
use amochats_tests::soon;
use amochats_tests::traffic::Connection;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tonic::transport::Endpoint;

/// A text that no list may show.
const TEXT: &str = "we meet behind the old mill";

async fn message(server: &Server, conversation: &str, message: &str) {
    let body = serde_json::json!({
        "account_id": ACCOUNT,
        "message": {
            "conversation": { "id": conversation },
            "message": { "id": message, "type": "text", "text": TEXT },
        },
    });
    let mut connection = Connection::open(&server.listener).await.expect("a connection");
    assert_eq!(connection.post(&body.to_string()).await.expect("answered"), 200);
}

/// Runs a command whose arguments are given as in a shell, where no argument holds a blank.
fn at(place: &[&str], command: &str) -> Ended {
    run(amochats().args(command.split_whitespace()).args(place), b"")
}

fn lines(ended: &Ended) -> Vec<Value> {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn all<'a>(lines: &'a [Value], field: &str) -> Vec<&'a str> {
    lines.iter().map(|line| line[field].as_str().unwrap_or("-")).collect()
}

/// Gives up all that is ready.
async fn kill_all(server: &Server, subscription: &str) {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
    let mut client = InboxServiceClient::new(endpoint.connect().await.expect("connected"));
    let request = v1::PullEventsRequest { subscription: subscription.into(), ..Default::default() };
    let pulled = client.pull_events(request).await.expect("pulled").into_inner().deliveries;
    let dead = |one: v1::Delivery| {
        let nack = v1::Nack { ack_id: one.ack_id, dead: true, ..Default::default() };
        v1::Settlement { settlement: Some(Settlement::Nack(nack)) }
    };
    let settlements = pulled.into_iter().map(dead).collect();
    client.settle_events(v1::SettleEventsRequest { settlements }).await.expect("settled");
}

#[tokio::test]
async fn a_server_and_its_file_tell_the_same() {
    let home = Home::new();
    let server = home.start().await;
    let (url, file) = (format!("http://{}", server.grpc), home.store());
    let file = ["--store", file.to_str().expect("UTF-8")];
    let here = ["--server", url.as_str()];
    let made = lines(&at(&here, "subscriptions create crm --kind message"));
    assert_eq!((made[0]["name"].as_str(), made[0]["kinds"][0].as_str()), (Some("crm"), Some("message")));
    for (conversation, name) in [("A", "1"), ("B", "2"), ("A", "3")] {
        message(&server, conversation, name).await;
    }
    for place in [here, file] {
        let newest = at(&place, "events ls --json");
        assert!(!newest.stdout.contains(TEXT));
        let newest = lines(&newest);
        assert_eq!(all(&newest, "message_ref_id"), ["3", "2", "1"]);
        assert_eq!(newest[0]["scope_id"], format!("{CHANNEL}_{ACCOUNT}"));
        assert!(newest[0]["received_at_msec"].as_i64().is_some_and(|time| time > 1_700_000_000_000));
        for (command, expected) in [
            ("events ls --json --oldest-first --limit 2", &["1", "2"][..]),
            ("events ls --json --conversation-id A", &["3", "1"]),
            ("events ls --json --kind reaction", &[]),
            ("events ls --json --message-ref-id 2", &["2"]),
            ("events ls --json --since 1h", &["3", "2", "1"]),
            ("events ls --json --until 1h", &[]),
            ("events ls --json --limit 0", &[]),
        ] {
            assert_eq!(all(&lines(&at(&place, command)), "message_ref_id"), expected, "{command}");
        }
        let table = at(&place, "events ls --limit 1");
        let [head, line] = table.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{table:?}") };
        assert!(head.starts_with("EVENT ") && line.ends_with("message   webhook   A / 3"), "{table:?}");
        assert!(!table.stdout.contains(TEXT));

        let event_id = newest[2]["event_id"].as_str().expect("named");
        let shown = lines(&at(&place, &format!("events show --json {event_id}"))).remove(0);
        assert_eq!((shown["event_id"].as_str(), shown["text"].as_str()), (Some(event_id), Some(TEXT)));
        assert_eq!(shown["subscriptions"][0]["subscription"], "crm");
        assert!(shown["subscriptions"][0].get("handed_out_at_msec").is_none(), "{shown}");
        let pretty = at(&place, &format!("events show {event_id}")).stdout;
        assert_eq!(serde_json::from_str::<Value>(&pretty).expect("JSON"), shown);
        let nothing = at(&place, "events show nobody-1");
        assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""));
        assert!(nothing.error().contains("no such event"), "{nothing:?}");

        let states = lines(&at(&place, "subscriptions ls --json"));
        assert_eq!((states.len(), states[0]["unsettled"].as_u64()), (1, Some(3)));
        assert!(
            at(&place, "subscriptions ls").stdout.lines().last().is_some_and(|line| line.starts_with("crm "))
        );
        assert!(lines(&at(&place, "outbox ls --json")).is_empty());
    }
}

#[tokio::test]
async fn dead_letters_come_again_by_the_server_or_by_the_file_alone() {
    let home = Home::new();
    let server = home.start().await;
    let (url, file) = (format!("http://{}", server.grpc), home.store());
    let file = ["--store", file.to_str().expect("UTF-8")];
    let here = ["--server", url.as_str()];
    at(&here, "subscriptions create crm");
    for name in ["1", "2", "3", "4"] {
        message(&server, name, name).await;
    }
    kill_all(&server, "crm").await;
    let dead = "events dead --subscription crm --json";
    let letters = lines(&at(&here, dead));
    assert_eq!(all(&letters, "message_ref_id"), ["1", "2", "3", "4"]);
    assert_eq!(letters[0]["attempts"], 1);
    assert_eq!(lines(&at(&file, dead)), letters);
    let ids = all(&letters, "event_id");
    let shown = lines(&at(&here, &format!("events show --json {}", ids[1]))).remove(0);
    let [received, handed_out, settled] = [
        &shown["received_at_msec"],
        &shown["subscriptions"][0]["handed_out_at_msec"],
        &shown["subscriptions"][0]["settled_at_msec"],
    ]
    .map(Value::as_i64);
    assert!(received.is_some() && received <= handed_out && handed_out <= settled, "{shown}");
    let requeue = |ids: &str| format!("events requeue --subscription crm {ids}");
    assert_eq!(lines(&at(&here, &requeue(ids[0])))[0]["requeued"], 1);
    let again = at(&here, &requeue(ids[0]));
    assert_eq!(again.code, 1, "it is none any more: {again:?}");
    assert_eq!(at(&here, &requeue("")).code, 2, "which ones?");

    // The server owns the file.
    for command in [
        requeue("--all"),
        format!("events drop --subscription crm {}", ids[1]),
        "events replay --subscription crm --oldest".into(),
        format!("events purge --scope-id {CHANNEL}_{ACCOUNT} --conversation-id 1 --yes"),
        "subscriptions create other".into(),
        "subscriptions delete crm --yes".into(),
    ] {
        let refused = at(&file, &command);
        assert_eq!(refused.code, 3, "{command}: {refused:?}");
        assert!(refused.error().contains(&format!("in use by process {}", server.pid())), "{refused:?}");
    }
    server.signal("TERM").await;
    assert!(server.ended().await.success());
    assert_eq!(all(&lines(&at(&file, dead)), "message_ref_id"), ["2", "3", "4"]);
    assert_eq!(lines(&at(&file, &format!("events drop --subscription crm {}", ids[1])))[0]["dropped"], 1);
    assert_eq!(lines(&at(&file, &requeue("--all")))[0]["requeued"], 2);
    assert!(lines(&at(&file, dead)).is_empty());
    assert_eq!(lines(&at(&file, "events replay --subscription crm --since 1h"))[0]["events"], 4);
    let purge = format!("events purge --scope-id {CHANNEL}_{ACCOUNT} --conversation-id 1");
    assert_eq!(at(&file, &purge).code, 2, "it must be meant");
    assert_eq!(lines(&at(&file, &format!("{purge} --yes")))[0]["events"], 1);
    let left = lines(&at(&file, "events ls --json"));
    assert_eq!(all(&left, "message_ref_id"), ["4", "3", "2"]);
    assert_eq!(at(&file, "subscriptions delete crm --yes").stdout, "deleted\n");
    assert_eq!(at(&file, "subscriptions delete crm --yes").code, 1);
    let nobody = at(&file, "events dead --subscription crm");
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, ""), "there is no such subscription");
}

#[tokio::test]
async fn new_events_are_followed_as_they_come() {
    let home = Home::new();
    let server = home.start().await;
    for name in ["1", "2", "3"] {
        message(&server, name, name).await;
    }
    let mut tail = Command::from(amochats());
    tail.args(["events", "tail", "--json", "--lines", "2", "--count", "4", "--server"]);
    tail.arg(format!("http://{}", server.grpc)).stdout(Stdio::piped()).kill_on_drop(true);
    let mut tail = tail.spawn().expect("started");
    let mut followed = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    let mut seen = Vec::new();
    for place in 0..4 {
        if place >= 2 {
            message(&server, "new", &format!("new-{place}")).await;
        }
        let line = soon("a line", followed.next_line()).await.expect("readable").expect("not the end");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        seen.push(event["message_ref_id"].as_str().expect("named").to_owned());
    }
    assert_eq!(seen, ["2", "3", "new-2", "new-3"]);
    assert!(soon("the end", tail.wait()).await.expect("waited").success());
    let subscriptions = at(&["--server", &format!("http://{}", server.grpc)], "subscriptions ls --json");
    assert!(lines(&subscriptions).is_empty(), "it left no trace");
}

#[test]
fn files_that_are_no_store_are_refused_and_none_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.db");
    for command in ["events ls", "subscriptions create crm", "outbox ls"] {
        let refused = at(&["--store", missing.to_str().expect("UTF-8")], command);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(refused.error().starts_with("cannot read "), "{refused:?}");
    }
    assert!(!missing.exists());
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database at all, but long enough to be looked at").expect("written");
    for command in ["events ls", "subscriptions ls", "subscriptions create crm"] {
        let refused = at(&["--store", text.to_str().expect("UTF-8")], command);
        assert_eq!((refused.code, refused.stdout.as_str()), (3, ""), "{command}: {refused:?}");
        assert!(refused.error().contains("notes.txt"), "{refused:?}");
    }
    let folder = at(&["--store", folder.path().to_str().expect("UTF-8")], "events ls");
    assert_eq!(folder.code, 2, "{folder:?}");
    for command in ["events ls --since soon", "events ls --kind letter", "events replay --subscription crm"] {
        assert_eq!(at(&[], command).code, 2, "{command}");
    }
    let nobody = at(&["--server", "http://127.0.0.1:9"], "events ls");
    assert_eq!(nobody.code, 3);
    assert!(nobody.error().contains("no server answers"), "{nobody:?}");
}
