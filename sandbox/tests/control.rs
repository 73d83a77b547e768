//! The control API over HTTP: as a test suite in another language uses it.

mod support;

use amochats_sandbox::{Personality, SandboxConfig};
use serde_json::{Value, json};
use std::process::Command;
use support::{ACCOUNT, CHANNEL, Channel, Receiver, config, text};

struct Api<'a>(&'a Channel);

impl Api<'_> {
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("http://{}/api/{path}", self.0.sandbox.page_addr());
        let mut request = self.0.http.request(method.parse().expect("a method"), url);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let response = request.send().await.expect("an answer");
        assert!(response.headers()["content-type"].to_str().expect("ASCII").starts_with("application/json"));
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("UTF-8")).expect("JSON"))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn refused(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let (got, answer) = self.call(method, path, body).await;
        assert_eq!(got, status, "{path}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|said| !said.is_empty()), "{answer}");
        answer
    }
}

#[tokio::test]
async fn channels_accounts_and_users_are_made_and_changed() {
    let channel = Channel::start(config()).await;
    let api = Api(&channel);
    let made = api
        .send("POST", "channels", &json!({ "title": "Second", "webhook_url": "http://127.0.0.1:9/" }))
        .await;
    let id = made["channel"]["channel_id"].as_str().expect("an id");
    assert_eq!(made["channel"]["secret"].as_str().map(str::len), Some(40));
    let path = format!("channels/{id}");
    let change = json!({ "title": "Renamed", "webhook_url": null, "features": { "typing": false } });
    let changed = api.send("PATCH", &path, &change).await["channel"].take();
    assert_eq!((&changed["title"], &changed["webhook_url"]), (&json!("Renamed"), &Value::Null));
    assert_eq!(
        (&changed["features"]["typing"], &changed["features"]["quoting"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(changed["secret"], made["channel"]["secret"], "what is not named stays");

    let account = api.send("POST", "accounts", &json!({ "name": "Shop", "subdomain": "shop" })).await;
    let account = account["account"]["account_id"].as_str().expect("an id");
    let user = api.send("POST", &format!("accounts/{account}/users"), &json!({ "name": "Vera" })).await;
    assert_eq!((&user["user"]["name"], &user["user"]["is_admin"]), (&json!("Vera"), &json!(false)));
    let state = api.get("state").await;
    assert_eq!(state["channels"][1], changed);
    assert_eq!(state["accounts"][1]["users"][1], user["user"]);
    assert_eq!((&state["personality"], &state["switches"]["check_md5"]), (&json!("ru"), &json!(true)));

    for (method, path, body, status, field) in [
        ("POST", "channels", json!({ "channel_id": CHANNEL }), 400, Some("channel_id")),
        ("POST", "channels", json!({ "webhook_url": "file:///" }), 400, Some("webhook_url")),
        ("POST", "channels", json!({ "color": "red" }), 422, None),
        ("PATCH", "channels/none", json!({}), 404, None),
        ("PATCH", &*path, json!({ "secret": "" }), 400, Some("secret")),
        ("POST", "accounts", json!({ "subdomain": "SHOP" }), 400, Some("subdomain")),
        ("POST", "accounts/none/users", json!({}), 404, None),
    ] {
        let answer = api.refused(method, path, Some(&body), status).await;
        assert_eq!(answer["field"].as_str(), field, "{answer}");
    }
    api.call("DELETE", &path, None).await;
    assert_eq!(api.get("state").await["channels"].as_array().map(Vec::len), Some(1));
    api.refused("DELETE", &path, None, 404).await;
    api.refused("DELETE", &format!("channels/{CHANNEL}"), None, 400).await;
}

#[tokio::test]
async fn what_is_wrong_is_said_as_json() {
    let channel = Channel::connected(config()).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let api = Api(&channel);
    let messages = format!("chats/{chat}/messages");
    for (path, status) in [
        ("nowhere", 404),
        ("chats/none", 404),
        ("chats/none/messages", 404),
        ("chats?limit=0", 400),
        ("chats?limit=201", 400),
        ("chats?limit=x", 400),
        ("chats?before=x", 400),
        ("chats?colour=red", 400),
        (&*format!("{messages}?before=none"), 400),
        ("journal?ok=maybe", 400),
        ("journal?direction=up", 400),
        ("journal?limit=1000", 400),
        ("journal/x", 404),
        ("journal/999", 404),
    ] {
        api.refused("GET", path, None, status).await;
    }
    api.refused("PUT", "state", None, 405).await;
    for (body, field) in [
        (json!({ "text": " " }), Some("content")),
        (json!({ "text": "a", "reply_to": "none" }), Some("reply_to")),
        (json!({ "text": "a", "forward": "none" }), Some("forward")),
        (json!({ "text": "a", "user_ref_id": "none" }), Some("user_ref_id")),
        (json!({ "picture": "javascript:1" }), Some("content.attachment.url")),
        (json!({ "picture": "http://a.example/", "voice": "http://a.example/" }), Some("attachments")),
        (json!({ "attachments": [{ "type": "hologram", "url": "http://a.example/" }] }), Some("attachments")),
        (
            json!({ "text": "a", "buttons": [[{ "text": "x" }, { "text": "y", "url": "http://a.example/" }]] }),
            Some("buttons"),
        ),
        (json!({ "text": "a", "list_message": {} }), Some("list_message")),
    ] {
        let answer = api.refused("POST", &messages, Some(&body), 400).await;
        assert_eq!(answer["field"].as_str(), field, "{body}");
    }
    assert_eq!(channel.sandbox.messages(&chat).len(), 1, "nothing was written");
    for (body, field) in [
        (json!({ "duplicates": "maybe" }), "duplicates"),
        (json!({ "hook_timeout_ms": 0 }), "hook_timeout_ms"),
        (json!({ "requests_per_second": 0 }), "requests_per_second"),
        (json!({ "unheard_of": 1 }), "unheard_of"),
    ] {
        let answer = api.refused("PATCH", "switches", Some(&body), 400).await;
        assert_eq!(answer["field"], field, "{answer}");
    }
    api.refused("PUT", "faults", Some(&json!({ "rules": [{ "on": "api", "fault": "latency" }] })), 400).await;
    api.refused("PUT", "snapshot", Some(&json!({ "format": "else" })), 400).await;
}

#[tokio::test]
async fn chats_and_messages_come_by_pages() {
    let channel = Channel::connected(config()).await;
    for i in 0..7_i64 {
        let mut message = text(&format!("m-{i}"), &format!("c-{i}"), &format!("u-{i}"), &format!("Text {i}"));
        message["msec_timestamp"] = json!(1_704_067_200_000 + i);
        message["sender"]["name"] = json!(format!("Client {i}"));
        channel.send(&message).await.ok();
    }
    let api = Api(&channel);
    let own = |page: &Value| -> Vec<String> {
        let chats = page["chats"].as_array().expect("a list");
        chats.iter().map(|chat| chat["conversation_id"].as_str().expect("own").to_owned()).collect()
    };
    let first = api.get("chats?limit=3").await;
    assert_eq!((own(&first), &first["total"]), (vec!["c-6".into(), "c-5".into(), "c-4".into()], &json!(7)));
    // One that moves up meanwhile changes nothing of the pages below.
    let mut again = text("m-10", "c-6", "u-6", "new");
    again["msec_timestamp"] = json!(1_704_067_200_900_i64);
    again["sender"]["name"] = json!("Client 6");
    channel.send(&again).await.ok();
    let next = first["next"].as_str().expect("more");
    let second = api.get(&format!("chats?limit=3&before={next}")).await;
    assert_eq!(own(&second), ["c-3", "c-2", "c-1"]);
    let third = api.get(&format!("chats?limit=3&before={}", second["next"].as_str().expect("more"))).await;
    assert_eq!((own(&third), &third["next"]), (vec!["c-0".into()], &Value::Null));
    assert_eq!(own(&api.get("chats?q=CLIENT%203").await), ["c-3"]);
    assert_eq!(own(&api.get("chats?q=text%205").await), ["c-5"]);
    let found = api.get(&format!("chats?q=client&limit=2&account_id={ACCOUNT}&channel_id={CHANNEL}")).await;
    assert_eq!((own(&found), &found["total"]), (vec!["c-6".into(), "c-5".into()], &json!(7)));
    assert_eq!(api.get("chats?account_id=other").await["total"], 0);

    for i in 0..5_i64 {
        let mut message = text(&format!("n-{i}"), "c-1", "u-1", &format!("{i}"));
        message["msec_timestamp"] = json!(1_704_067_200_100_i64 + i);
        if i % 2 == 0 {
            message["message"]["post"] = json!({ "id": "p-1", "url": "https://example.org/p" });
        }
        channel.send(&message).await.ok();
    }
    let chat = own(&api.get("chats?q=c-1").await);
    assert_eq!(chat, ["c-1"]);
    let id =
        api.get("chats?q=c-1").await["chats"][0]["conversation_ref_id"].as_str().expect("an id").to_owned();
    let texts = |page: &Value| -> Vec<String> {
        let messages = page["messages"].as_array().expect("a list");
        messages.iter().map(|message| message["content"]["text"].as_str().expect("text").to_owned()).collect()
    };
    let newest = api.get(&format!("chats/{id}/messages?limit=4")).await;
    assert_eq!(texts(&newest), ["1", "2", "3", "4"]);
    let before = newest["previous"].as_str().expect("older");
    let oldest = api.get(&format!("chats/{id}/messages?limit=4&before={before}")).await;
    assert_eq!((texts(&oldest), &oldest["previous"]), (vec!["Text 1".into(), "0".into()], &Value::Null));
    assert_eq!(texts(&api.get(&format!("chats/{id}/messages?post_id=p-1")).await), ["0", "2", "4"]);
}

async fn desk(personality: Personality) -> (Channel, Receiver, String) {
    let receiver = Receiver::start(Some(200)).await;
    let config = SandboxConfig { webhook_url: Some(receiver.url.clone()), personality, ..config() };
    let channel = Channel::connected(config).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id.to_string();
    (channel, receiver, chat)
}

#[tokio::test]
async fn a_manager_sends_a_file_that_the_sandbox_serves() {
    let (channel, mut receiver, chat) = desk(Personality::Ru).await;
    let upload = async |name: &str, bytes: &'static [u8]| {
        let url = format!("http://{}/api/files?name={name}", channel.sandbox.page_addr());
        let request = channel.http.post(url).header("Content-Type", "application/octet-stream").body(bytes);
        let text = request.send().await.expect("an answer").text().await.expect("UTF-8");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let (cat, pdf) = (upload("..%2Fmy%20cat.png", b"\x89PNG").await, upload("a.pdf", b"%PDF").await);
    assert_eq!((&cat["file_name"], &cat["file_size"]), (&json!("my cat.png"), &json!(4)));
    let address = cat["url"].as_str().expect("an address");
    let expected = format!("http://{}/attachments/{ACCOUNT}/", channel.sandbox.api_addr());
    assert!(address.starts_with(&expected) && address.ends_with("/my%20cat.png"), "{address}");

    let attachments = [&cat, &pdf].map(|file| {
        let kind = if file == &cat { "picture" } else { "file" };
        let mut file = file.clone();
        file["type"] = json!(kind);
        file
    });
    let sent = Api(&channel)
        .send(
            "POST",
            &format!("chats/{chat}/messages"),
            &json!({ "text": "both", "attachments": attachments }),
        )
        .await;
    assert_eq!(sent["messages"].as_array().map(Vec::len), Some(2));
    let hooks = [receiver.next().await.json(), receiver.next().await.json()];
    let [one, two] = hooks.each_ref().map(|hook| &hook["message"]["message"]);
    assert_eq!((&one["type"], &one["text"], &one["media"]), (&json!("picture"), &json!("both"), &cat["url"]));
    assert_eq!((&two["type"], &two["text"], &two["file_size"]), (&json!("file"), &json!(""), &json!(4)));
    assert!(one["media_group_id"].is_string() && one["media_group_id"] == two["media_group_id"]);
    assert_ne!(one["id"], two["id"]);

    // The receiver fetches it without any signature.
    let fetched =
        channel.http.get(one["media"].as_str().expect("an address")).send().await.expect("an answer");
    assert_eq!(fetched.headers()["content-type"], "image/png");
    assert_eq!(&fetched.bytes().await.expect("whole")[..], b"\x89PNG");
    channel.sandbox.reset();
    let gone = channel.http.get(address).send().await.expect("an answer");
    assert_eq!(gone.status(), 404);
}

#[tokio::test]
async fn templates_buttons_lists_and_forwards_go_with_the_webhook() {
    let (channel, mut receiver, chat) = desk(Personality::Kommo).await;
    let api = Api(&channel);
    let path = format!("chats/{chat}/messages");
    let template =
        json!({ "id": 7, "content": "Hello {{name}}", "params": [{ "key": "{{name}}", "value": "Anna" }] });
    let buttons = json!([[{ "text": "Yes" }, { "text": "No" }]]);
    api.send("POST", &path, &json!({ "text": "Hello Anna", "template": template, "buttons": buttons })).await;
    let message = receiver.next().await.json()["message"]["message"].take();
    assert_eq!(message["template"], template);
    assert_eq!(message["markup"], json!({ "mode": "inline", "buttons": buttons }));

    let list = json!({
        "header": "Menu", "body": "Choose", "button": "Open",
        "sections": [{ "title": "One", "rows": [{ "callback_data": "r-1", "title": "First", "description": "" }] }],
    });
    api.send("POST", &path, &json!({ "text": "Choose", "list_message": list })).await;
    assert_eq!(receiver.next().await.json()["message"]["message"]["markup"], json!({ "list_message": list }));
    for (field, value) in [("header", json!("x".repeat(61))), ("sections", json!([]))] {
        let mut long = list.clone();
        long[field] = value;
        api.refused("POST", &path, Some(&json!({ "text": "a", "list_message": long })), 400).await;
    }

    let first = channel.sandbox.messages(&chat.as_str().into()).remove(0).message_ref_id;
    api.send("POST", &path, &json!({ "text": "see", "forward": first })).await;
    let message = receiver.next().await.json()["message"]["message"].take();
    let forwarded = &message["forwards"]["messages"][0];
    assert_eq!((&forwarded["id"], &forwarded["text"]), (&json!(first), &json!("hi")));
    assert_eq!(message["forwards"]["conversation_ref_id"], json!(chat));
}

#[tokio::test]
async fn the_time_window_of_kommo_asks_for_a_template() {
    let (channel, mut receiver, chat) = desk(Personality::Kommo).await;
    let api = Api(&channel);
    let change = json!({ "features": { "time_window_s": 0 } });
    api.send("PATCH", &format!("channels/{CHANNEL}"), &change).await;
    let path = format!("chats/{chat}/messages");
    let answer = api.refused("POST", &path, Some(&json!({ "text": "late" })), 400).await;
    assert_eq!(answer["field"], "template");
    api.send("POST", &path, &json!({ "text": "Hello", "template": { "id": 1 } })).await;
    receiver.next().await;
    let off = json!({ "account_id": ACCOUNT, "hook_api_version": "v2", "is_time_window_disabled": true });
    channel.connect(&off).await.ok();
    api.send("POST", &path, &json!({ "text": "late" })).await;
    receiver.next().await;
}

#[tokio::test]
async fn the_journal_is_filtered_copied_and_replayed() {
    let (channel, mut receiver, chat) = desk(Personality::Ru).await;
    let api = Api(&channel);
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(400, "duplicate_msgid");
    api.send("POST", &format!("chats/{chat}/messages"), &json!({ "text": "it's <1>" })).await;
    let first = receiver.next().await;

    let kinds = async |query: &str| -> Vec<String> {
        let page = api.get(&format!("journal?{query}")).await;
        let entries = page["entries"].as_array().expect("a list").clone();
        entries.iter().map(|entry| entry["kind"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(kinds("").await, ["connect", "new_message", "new_message", "webhook v2"]);
    assert_eq!(kinds("after=2").await.len(), 2);
    assert_eq!(kinds("before=3&limit=1").await, ["new_message"]);
    assert_eq!(kinds("direction=webhook").await, ["webhook v2"]);
    assert_eq!(kinds("ok=false").await, ["new_message"]);
    assert_eq!(kinds("kind=connect").await, ["connect"]);
    assert_eq!(kinds("q=DUPLICATE_MSGID").await, ["new_message"]);
    assert_eq!(api.get("journal?limit=1").await["more"], true);

    // The command does what the call did: the channel's receiver gets the same bytes.
    let entry = api.get("journal/4").await;
    let command = entry["curl"].as_str().expect("a command").to_owned();
    let run = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &command]).output());
    let copied = receiver.next().await;
    assert!(run.await.expect("it runs").expect("there is a shell").status.success());
    assert_eq!((&copied.body, &copied.headers["x-signature"]), (&first.body, &first.headers["x-signature"]));

    let sent = api.send("POST", "journal/4/replay", &json!({})).await;
    assert_eq!(sent["hook"]["name"], "accepted");
    let replayed = receiver.next().await;
    assert_eq!(
        (&replayed.body, &replayed.headers["x-signature"]),
        (&first.body, &first.headers["x-signature"])
    );
    assert!(
        api.get("journal/5").await["verdict"]["sentence"]
            .as_str()
            .expect("text")
            .contains("number 4 once more")
    );
    api.refused("POST", "journal/1/replay", Some(&json!({})), 400).await;
}

#[tokio::test]
async fn a_snapshot_is_restored_and_a_reset_forgets() {
    let channel = Channel::connected(config()).await;
    let api = Api(&channel);
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let (snapshot, chats) = (api.get("snapshot").await, channel.sandbox.chats());
    api.send("PATCH", "switches", &json!({ "duplicates": "replay" })).await;
    api.send("PUT", "faults", &json!({ "seed": 1, "rules": [{ "on": "hook", "fault": "drop" }] })).await;
    assert_eq!(api.get("faults").await["rules"][0]["struck"], 0);

    api.send("POST", "reset", &json!({})).await;
    assert_eq!(api.get("chats").await["total"], 0);
    assert_eq!(api.get("journal").await["entries"], json!([]));
    let state = api.get("state").await;
    assert_eq!((&state["switches"]["duplicates"], &state["faults"]["rules"]), (&json!("reject"), &json!([])));
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();

    api.send("PUT", "snapshot", &snapshot).await;
    assert_eq!(channel.sandbox.chats(), chats);
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(400, "duplicate_msgid");
    // Another sandbox takes it, too: it is the whole world of the first.
    let other =
        Channel::start(SandboxConfig { channel_id: None, secret: None, accounts: Vec::new(), ..config() })
            .await;
    Api(&other).send("PUT", "snapshot", &snapshot).await;
    assert_eq!((other.sandbox.chats(), other.sandbox.channel_id().as_str()), (chats, CHANNEL));
}

#[tokio::test]
async fn the_document_names_what_the_answers_hold() {
    let (channel, mut receiver, chat) = desk(Personality::Ru).await;
    let api = Api(&channel);
    api.send("POST", &format!("chats/{chat}/messages"), &json!({ "text": "yes" })).await;
    receiver.next().await;
    let document = api.get("openapi.json").await;
    // Neither a field too few nor one too many.
    let same = |name: &str, value: &Value| {
        let schema = &document["components"]["schemas"][name];
        let known = schema["properties"].as_object().unwrap_or_else(|| panic!("{name}"));
        let value = value.as_object().unwrap_or_else(|| panic!("{name}: {value}"));
        for field in value.keys() {
            assert!(known.contains_key(field), "{name}.{field} is not documented");
        }
        for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(value.contains_key(field), "{name}.{field} is missing");
        }
    };
    let state = api.get("state").await;
    same("State", &state);
    same("Channel", &state["channels"][0]);
    same("Features", &state["channels"][0]["features"]);
    same("Account", &state["accounts"][0]);
    same("User", &state["accounts"][0]["users"][0]);
    same("Connection", &state["accounts"][0]["connections"][0]);
    same("Switches", &state["switches"]);
    let switches =
        document["components"]["schemas"]["Switches"]["properties"].as_object().expect("an object");
    assert_eq!(state["switches"].as_object().map(serde_json::Map::len), Some(switches.len()));
    let shown = api.get("chats").await["chats"][0].take();
    same("Chat", &shown);
    same("Client", &shown["client"]);
    same("Message", &shown["last_message"]);
    same("JournalSummary", &api.get("journal").await["entries"][0]);
    same("JournalEntry", &api.get("journal/1").await);
}
