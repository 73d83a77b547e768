//! The outbox of a real server that is killed again and again, and the commands that look into it.

use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::enqueue_request::Call;
use amochats_proto::v1::event::Kind;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::outbox_service_client::OutboxServiceClient;
use amochats_proto::v1::settlement::Settlement as Settled;
use amochats_sandbox::{Sandbox, SandboxConfig};
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::secrecy::TEXT;
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, SECRET, Server};
use amochats_tests::soon;
use amochats_tests::traffic::Connection;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

const CONVERSATIONS: usize = 8;
const MESSAGES: usize = 40;
const KILLS: usize = 8;

/// A CRM, and a folder whose server calls it.
async fn desk() -> (Sandbox, Home) {
    let config = SandboxConfig {
        channel_id: Some(CHANNEL.into()),
        secret: Some(SECRET.into()),
        accounts: vec![ACCOUNT.into()],
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let home = Home::new();
    let toml = fs::read_to_string(home.config()).expect("readable");
    let toml = toml.replace("http://127.0.0.1:9", &sandbox.api_url());
    // What may have arrived is looked for at once, so that the test is a short one.
    let outbox = "[outbox]\nrate = 1000.0\nburst = 1000\nmin_delay_ms = 10\nlook_for_ms = 200\n";
    fs::write(home.config(), format!("{outbox}{toml}")).expect("written");
    (sandbox, home)
}

async fn connect(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
    soon("connection", endpoint.connect()).await.expect("connected")
}

fn scope() -> v1::Scope {
    v1::Scope { channel_id: CHANNEL.into(), account_id: ACCOUNT.into() }
}

async fn connect_account(server: &Server) {
    let request = v1::ConnectRequest { scope: Some(scope()), ..Default::default() };
    ChannelServiceClient::new(connect(server).await).connect(request).await.expect("connected");
}

fn message_id(conversation: usize, place: usize) -> String {
    format!("c{conversation}-m{place}")
}

fn request(conversation: usize, place: usize) -> v1::EnqueueRequest {
    let text = v1::content::Kind::Text(v1::TextContent { text: format!("{TEXT} {place}") });
    let message = v1::Message {
        message_id: message_id(conversation, place),
        conversation_id: format!("c{conversation}"),
        sender: Some(v1::Sender { user_id: "u".into(), name: "Client".into(), ..Default::default() }),
        content: Some(v1::Content { kind: Some(text) }),
        ..Default::default()
    };
    v1::EnqueueRequest { scope: Some(scope()), call: Some(Call::Message(message)), ..Default::default() }
}

/// How far each conversation was enqueued, with confirmation.
type Enqueued = Arc<Mutex<[usize; CONVERSATIONS]>>;

/// Enqueues the rest of a conversation until the server is gone.
async fn produce(channel: Channel, conversation: usize, enqueued: Enqueued, count: watch::Sender<usize>) {
    let mut outbox = OutboxServiceClient::new(channel);
    loop {
        let place = enqueued.lock().expect("no panic")[conversation];
        if place == MESSAGES || outbox.enqueue(request(conversation, place)).await.is_err() {
            return;
        }
        enqueued.lock().expect("no panic")[conversation] += 1;
        count.send_modify(|count| *count += 1);
    }
}

async fn items(outbox: &mut OutboxServiceClient<Channel>) -> Vec<v1::OutboxItem> {
    let mut request = v1::ListItemsRequest { page_size: 1000, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = outbox.list_items(request.clone()).await.expect("listed").into_inner();
        all.extend(page.items);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

/// Waits until every message has come to its end, which an event tells of.
async fn results(inbox: &mut InboxServiceClient<Channel>) {
    let mut ended = BTreeSet::new();
    while ended.len() < CONVERSATIONS * MESSAGES {
        let request = v1::PullEventsRequest {
            subscription: "results".into(),
            max_events: 1000,
            wait: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            create: Some(v1::CreateOptions { kinds: vec!["outbox".into()], ..Default::default() }),
            ..Default::default()
        };
        let pulled = inbox.pull_events(request).await.expect("pulled").into_inner();
        let mut settlements = Vec::new();
        for delivery in pulled.deliveries {
            let Some(Kind::Outbox(item)) = delivery.event.and_then(|event| event.kind) else {
                panic!("results alone were asked for");
            };
            ended.insert(item.item_id);
            let ack = Settled::Ack(v1::Ack { ack_id: delivery.ack_id, ..Default::default() });
            settlements.push(v1::Settlement { settlement: Some(ack) });
        }
        if !settlements.is_empty() {
            inbox.settle_events(v1::SettleEventsRequest { settlements }).await.expect("settled");
        }
    }
}

/// As when the machine sleeps: nobody restarts the server, and it has missed what came meanwhile.
#[tokio::test]
async fn a_server_that_stood_still_fetches_what_it_missed() {
    let (sandbox, home) = desk().await;
    let toml = fs::read_to_string(home.config()).expect("readable");
    fs::write(home.config(), toml.replace("on_start = false", "on_start = true")).expect("written");
    let server = home.start().await;
    connect_account(&server).await;
    let channel = connect(&server).await;
    OutboxServiceClient::new(channel.clone()).enqueue(request(0, 0)).await.expect("kept");
    let mut changes = sandbox.subscribe();
    while sandbox.chats().is_empty() {
        soon("the chat", changes.recv()).await.expect("it lives");
    }
    let chat = sandbox.chats().remove(0).conversation_ref_id;
    // The one webhook that comes: the CRM knows no address of ours.
    let known = format!(
        r#"{{"account_id":"{ACCOUNT}","time":1,"message":{{"conversation":{{"id":"{chat}","client_id":"c0"}},"message":{{"id":"M-1","type":"text","text":"here"}}}}}}"#
    );
    let mut connection = Connection::open(&server.listener).await.expect("connected");
    assert_eq!(connection.post(&known).await.expect("answered"), 200);

    server.signal("STOP").await;
    sandbox.answer(&chat, amochats_sandbox::Content::text(TEXT)).await.expect("written");
    // That it lasts is the test's matter: longer than a webhook waits.
    sleep(Duration::from_secs(7)).await;
    server.signal("CONT").await;

    let mut inbox = InboxServiceClient::new(channel);
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let request = v1::PullEventsRequest {
            subscription: "crm".into(),
            wait: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            create: Some(v1::CreateOptions { kinds: vec!["message".into()], ..Default::default() }),
            ..Default::default()
        };
        let pulled = soon("the events", inbox.pull_events(request)).await.expect("pulled").into_inner();
        for delivery in pulled.deliveries {
            let event = delivery.event.expect("an event");
            let Some(Kind::Message(message)) = event.kind else { panic!("messages alone were asked for") };
            texts.push((message.text, event.origin));
            let ack = Settled::Ack(v1::Ack { ack_id: delivery.ack_id, ..Default::default() });
            let settlements = vec![v1::Settlement { settlement: Some(ack) }];
            inbox.settle_events(v1::SettleEventsRequest { settlements }).await.expect("settled");
        }
    }
    let (webhook, backfill) = (v1::Origin::Webhook.into(), v1::Origin::Backfill.into());
    assert_eq!(texts, [("here".to_owned(), webhook), (TEXT.to_owned(), backfill)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_neither_lose_nor_double_a_message() {
    let (sandbox, home) = desk().await;
    let enqueued = Enqueued::default();
    let mut interrupted = 0;
    for round in 0..=KILLS {
        let server = home.start().await;
        if round == 0 {
            connect_account(&server).await;
        }
        let channel = connect(&server).await;
        let (count, mut counted) = watch::channel(0);
        let producers: Vec<_> = (0..CONVERSATIONS)
            .map(|conversation| {
                tokio::spawn(produce(channel.clone(), conversation, enqueued.clone(), count.clone()))
            })
            .collect();
        drop(count);
        if round < KILLS {
            // At another moment each time, in the middle of the work. The end of all producers would do.
            let some = CONVERSATIONS * MESSAGES / (KILLS + 1) + round;
            let _ = soon("enqueued messages", counted.wait_for(|count| *count >= some)).await;
            server.kill().await;
            for producer in producers {
                soon("end of a producer", producer).await.expect("no panic");
            }
            continue;
        }
        for producer in producers {
            soon("end of a producer", producer).await.expect("no panic");
        }
        let mut inbox = InboxServiceClient::new(channel.clone());
        soon("result of each message", results(&mut inbox)).await;
        let all = items(&mut OutboxServiceClient::new(channel)).await;
        assert_eq!(all.len(), CONVERSATIONS * MESSAGES, "an item for each message, and no second one");
        for item in &all {
            assert!(item.ended_at.is_some(), "{:?} was told of before its end", item.message_id);
            assert_eq!(item.state(), v1::OutboxState::Sent, "{:?}: {:?}", item.message_id, item.problem);
        }
        interrupted = all.iter().filter(|item| item.attempts > 1).count();
        server.kill().await;
    }
    println!("{interrupted} messages were sent more than once, with the same id");

    let mut arrived = BTreeMap::new();
    for chat in sandbox.chats() {
        let ids: Vec<String> = sandbox
            .messages(&chat.conversation_ref_id)
            .into_iter()
            .filter_map(|message| message.message_id)
            .map(Into::into)
            .collect();
        if let Some(first) = ids.first() {
            arrived.insert(first.clone(), ids);
        }
    }
    let expected: BTreeMap<_, _> = (0..CONVERSATIONS)
        .map(|conversation| {
            let ids: Vec<_> = (0..MESSAGES).map(|place| message_id(conversation, place)).collect();
            (ids[0].clone(), ids)
        })
        .collect();
    assert_eq!(arrived, expected, "each once, and in order");
}

/// Runs the command on a thread, since the server's tasks are on this one.
async fn outbox(server: &Server, args: &[&str]) -> Ended {
    let mut command = amochats();
    command.arg("outbox").args(args).args(["--server", &format!("http://{}", server.grpc)]);
    tokio::task::spawn_blocking(move || run(&mut command, b"")).await.expect("no panic")
}

#[tokio::test]
async fn the_commands_put_in_look_and_take_back() {
    // Nobody is there to be called, so that everything waits.
    let home = Home::new();
    let server = home.start().await;

    let scope = format!("{CHANNEL}_{ACCOUNT}");
    let send = [
        "send",
        "--scope-id",
        &scope,
        "--conversation-id",
        "c",
        "--user-id",
        "u",
        "--name",
        "Anna",
        "--message-id",
        "m-1",
        "--text",
        "a secret word",
    ];
    let sent = outbox(&server, &send).await;
    assert_eq!((sent.code, sent.stderr.as_str()), (0, ""));
    let item: Value = serde_json::from_str(&sent.stdout).expect("JSON");
    assert_eq!((item["call"].as_str(), item["message_id"].as_str()), (Some("send_message"), Some("m-1")));
    let item_id = item["item_id"].as_str().expect("an id");
    let again: Value = serde_json::from_str(&outbox(&server, &send).await.stdout).expect("JSON");
    assert_eq!(again["item_id"], item_id, "to repeat the command is safe");
    let mut other = send;
    *other.last_mut().expect("the text") = "another word";
    let conflict = outbox(&server, &other).await;
    assert_eq!(conflict.code, 2, "{conflict:?}");
    assert!(conflict.error().starts_with("message_id: was used for another message"), "{conflict:?}");

    let listed = outbox(&server, &["ls"]).await;
    assert_eq!(listed.stdout.lines().count(), 2, "a heading and the item: {}", listed.stdout);
    assert!(listed.stdout.contains(item_id) && !listed.stdout.contains("secret word"), "{}", listed.stdout);
    let json: Value = serde_json::from_str(&outbox(&server, &["ls", "--json"]).await.stdout).expect("JSON");
    assert_eq!(json["item_id"], item_id);
    assert_eq!(outbox(&server, &["ls", "--state", "sent"]).await.stdout.lines().count(), 1);
    let shown = outbox(&server, &["show", item_id]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(shown["body"]["payload"]["message"]["text"], "a secret word");

    let cancelled = outbox(&server, &["cancel", item_id]).await;
    assert_eq!((cancelled.code, cancelled.stdout.as_str()), (0, "cancelled\n"), "{}", cancelled.stderr);
    for (args, code, said) in [
        (&["cancel", "none"][..], 1, "no such item"),
        (&["show", "none"], 1, "no such item"),
        (&["ls", "--state", "gone"], 2, "must be one of queued"),
        (&["send", "--scope-id", &scope], 2, "--conversation-id"),
        (&["ls", "--server", "http://127.0.0.1:9"], 2, "--server"),
    ] {
        let ended = outbox(&server, args).await;
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        assert!(ended.error().contains(said), "{args:?}: {said:?} is missing in {}", ended.stderr);
    }
    assert_eq!(outbox(&server, &["ls", "--state", "cancelled"]).await.stdout.lines().count(), 2);
    server.kill().await;
}
