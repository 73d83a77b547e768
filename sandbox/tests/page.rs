//! The manager's page: its files, its API, its events, and who is kept out.

mod support;

use amochats_sandbox::{Content, Direction, SandboxConfig};
use serde_json::{Value, json};
use support::{ACCOUNT, CHANNEL, Channel, Receiver, config, text};

struct Page<'a>(&'a Channel);

impl Page<'_> {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.sandbox.page_addr())
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.0.http.get(self.url(path)).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_str(&response.text().await.expect("UTF-8")).expect("JSON")
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.0.http.post(self.url(path)).header("Content-Type", "application/json");
        let response = request.body(body.to_string()).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("UTF-8")).expect("JSON"))
    }

    /// The status of a request with other headers.
    async fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = self.0.http.request(method.parse().expect("a method"), self.url(path)).body("{}");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("an answer").status().as_u16()
    }
}

#[tokio::test]
async fn a_manager_answers_by_the_page() {
    let mut receiver = Receiver::start(Some(200)).await;
    let channel = Channel::connected(config()).await;
    let page = Page(&channel);
    assert_eq!(page.post("/api/webhook", &json!({ "url": receiver.url })).await.0, 200);
    channel.send(&text("m-1", "c-1", "u-1", "<b>hi</b>")).await.ok();

    let state = page.get("/api/state").await;
    assert_eq!(state["api"], format!("http://{}", channel.sandbox.api_addr()));
    assert_eq!(state["channels"][0]["webhook_url"], receiver.url);
    assert_eq!(state["accounts"][0]["connections"][0]["hook_version"], "v2");
    let chats = page.get("/api/chats").await;
    assert_eq!(
        (&chats["chats"][0]["unread"], &chats["chats"][0]["client"]["name"]),
        (&json!(1), &json!("Anna"))
    );
    let chat = chats["chats"][0]["conversation_ref_id"].as_str().expect("an id").to_owned();

    let (status, sent) = page.post(&format!("/api/chats/{chat}/messages"), &json!({ "text": "hello" })).await;
    assert_eq!((status, &sent["hook"]["name"]), (200, &json!("accepted")));
    assert_eq!(receiver.next().await.json()["message"]["message"]["text"], "hello");
    page.post(&format!("/api/chats/{chat}/typing"), &json!({})).await;
    assert!(receiver.next().await.json()["action"]["typing"].is_object());
    let picture = json!({ "picture": "https://example.org/a.png", "text": "look" });
    page.post(&format!("/api/chats/{chat}/messages"), &picture).await;
    assert_eq!(receiver.next().await.json()["message"]["message"]["type"], "picture");
    let first = json!({ "account_id": ACCOUNT, "phone": "+15550100", "text": "hello" });
    page.post("/api/chats", &first).await;
    assert_eq!(receiver.next().await.json()["message"]["receiver"]["phone"], "+15550100");

    let seen = page.get(&format!("/api/chats/{chat}/messages")).await;
    let texts: Vec<_> =
        seen["messages"].as_array().expect("a list").iter().map(|m| m["content"]["text"].clone()).collect();
    assert_eq!(texts, ["<b>hi</b>", "hello", "look"]);
    assert_eq!(page.post(&format!("/api/chats/{chat}/read"), &json!({})).await.0, 200);

    let id = &seen["messages"][0]["message_ref_id"];
    let quoting = json!({ "text": "to you", "reply_to": id });
    page.post(&format!("/api/chats/{chat}/messages"), &quoting).await;
    let hook = receiver.next().await.json();
    assert_eq!(hook["message"]["message"]["reply_to"]["message"]["text"], "<b>hi</b>");
    let reaction = json!({ "message_ref_id": id, "emoji": "🔥" });
    let (status, sent) = page.post(&format!("/api/chats/{chat}/reactions"), &reaction).await;
    assert_eq!((status, &sent["hook"]["name"]), (200, &json!("accepted")));
    assert_eq!(receiver.next().await.json()["action"]["reaction"]["emoji"], "🔥");
    let seen = page.get(&format!("/api/chats/{chat}/messages")).await;
    assert_eq!(seen["messages"][0]["reactions"][0]["emoji"], "🔥");
    assert_eq!(seen["messages"][3]["content"]["details"]["reply_to"]["message"]["id"], *id);

    for (path, body, status) in [
        (format!("/api/chats/{chat}/reactions"), json!({ "message_ref_id": "another", "emoji": "🔥" }), 400),
        (format!("/api/chats/{chat}/messages"), json!({ "text": "x", "reply_to": "another" }), 400),
        (format!("/api/chats/{chat}/messages"), json!({ "text": " " }), 400),
        (format!("/api/chats/{chat}/messages"), json!({ "txt": "a" }), 422),
        ("/api/chats/unknown/messages".to_owned(), json!({ "text": "a" }), 400),
        ("/api/webhook".to_owned(), json!({ "url": "nowhere" }), 400),
    ] {
        let (got, answer) = page.post(&path, &body).await;
        assert_eq!(got, status, "{answer}");
        assert!(answer["error"].is_string());
    }
}

#[tokio::test]
async fn the_journal_tells_both_ways_and_is_bounded() {
    let receiver = Receiver::start(Some(200)).await;
    let config = SandboxConfig { journal_capacity: 3, webhook_url: Some(receiver.url), ..config() };
    let channel = Channel::connected(config).await;
    let page = Page(&channel);
    let body = "x".repeat(70_000);
    channel.send(&text("m-1", "c-1", "u-1", &body)).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    channel.sandbox.answer(&chat, Content::text("hello")).await.expect("known");
    let headers = [("Authorization", "Bearer hidden"), ("X-Signature", "shown")];
    channel.bare("POST", "/elsewhere", &headers, b"\xff".to_vec()).await.refused(404, "no_such_method");

    let journal = channel.sandbox.journal();
    let seen: Vec<_> = journal
        .iter()
        .map(|entry| {
            (
                entry.summary.seq,
                entry.summary.direction,
                entry.summary.kind.as_str(),
                &*entry.summary.verdict.name,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (2, Direction::Request, "new_message", "canonical"),
            (3, Direction::Webhook, "webhook v2", "accepted"),
            (4, Direction::Request, "unknown", "no_such_method"),
        ],
        "the oldest, connect, is gone"
    );
    assert!(
        journal[0].body.truncated
            && journal[0].body.text.len() == 64 * 1024
            && journal[0].body.bytes > 70_000
    );
    assert_eq!(journal[2].body.text, "\u{fffd}");
    let header =
        |name: &str| journal[2].headers.iter().find(|(known, _)| known == name).expect(name).1.clone();
    assert_eq!((header("authorization"), header("x-signature")), ("(not shown)".into(), "shown".into()));

    let list = page.get("/api/journal?after=2").await;
    assert_eq!(
        (list["entries"].as_array().expect("a list").len(), &list["entries"][0]["seq"]),
        (2, &json!(3))
    );
    assert!(list["entries"][0].get("body").is_none());
    let entry = page.get("/api/journal/3").await;
    assert!(entry["body"]["text"].as_str().expect("text").ends_with("}\n"));
    assert!(entry["verdict"]["sentence"].as_str().expect("text").contains("signature valid"));
    assert_eq!(page.status("GET", "/api/journal/1", &[]).await, 404);
}

#[tokio::test]
async fn changes_come_as_events() {
    let channel = Channel::connected(config()).await;
    let page = Page(&channel);
    let mut events = channel.http.get(page.url("/api/events")).send().await.expect("an answer");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut seen = String::new();
    let mut until = async |wanted: &str| {
        while !seen.contains(wanted) {
            seen.push_str(
                std::str::from_utf8(&events.chunk().await.expect("open").expect("more")).expect("UTF-8"),
            );
        }
    };
    until("event: reload\n").await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    let message = chat.last_message.expect("one").message_ref_id;
    until(&format!(
        "event: change\ndata: {{\"type\":\"message\",\"account_id\":\"{ACCOUNT}\",\"channel_id\":\"{CHANNEL}\",\"conversation_ref_id\":\"{}\",\"message_ref_id\":\"{message}\"}}",
        chat.conversation_ref_id
    ))
    .await;
    until("data: {\"type\":\"journal\",\"seq\":2}").await;

    // An open stream does not hold the sandbox back.
    let Channel { sandbox, .. } = channel;
    sandbox.shutdown().await;
    while events.chunk().await.expect("a clean end").is_some() {}
}

#[tokio::test]
async fn other_pages_are_kept_out() {
    let channel = Channel::connected(config()).await;
    let page = Page(&channel);
    let own = format!("http://{}", channel.sandbox.page_addr());
    let port = channel.sandbox.page_addr().port();
    let json_type = ("Content-Type", "application/json");
    for (headers, status) in [
        (vec![json_type], 200),
        (vec![json_type, ("Origin", &*own)], 200),
        (vec![("Content-Type", "application/json; charset=utf-8")], 200),
        (vec![], 403),
        (vec![("Content-Type", "text/plain")], 403),
        (vec![("Content-Type", "application/x-www-form-urlencoded")], 403),
        (vec![json_type, ("Origin", "http://127.0.0.1:1")], 403),
        (vec![json_type, ("Origin", "https://example.org")], 403),
        (vec![json_type, ("Origin", "null")], 403),
        (vec![json_type, ("Host", "example.org")], 403),
    ] {
        channel.send(&text(&format!("{headers:?}"), "c-1", "u-1", "hi")).await.ok();
        let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
        assert_eq!(
            page.status("POST", &format!("/api/chats/{chat}/read"), &headers).await,
            status,
            "{headers:?}"
        );
        assert_eq!(channel.sandbox.chats()[0].unread == 0, status == 200, "{headers:?}");
    }
    // A name that was rebound to this machine may not read either.
    for path in ["/", "/api/state", "/api/events"] {
        assert_eq!(page.status("GET", path, &[("Host", "rebound.example:80")]).await, 403);
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(page.status("GET", "/api/state", &[("Host", &host)]).await, 200);
    }
}

#[tokio::test]
async fn the_files_carry_a_strict_policy() {
    let config = SandboxConfig { companion_url: Some("http://127.0.0.1:9/client?a=1".into()), ..config() };
    let channel = Channel::start(config).await;
    let page = Page(&channel);
    for path in ["/", "/js/app.js", "/vendor/preact-htm.js", "/css/base.css"] {
        let response = channel.http.get(page.url(path)).send().await.expect("an answer");
        let policy = response.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-src http://127.0.0.1:9; "), "{policy}");
        let text = response.text().await.expect("UTF-8");
        assert!(path.starts_with("/vendor/") || !text.contains("nnerHTML"), "data never becomes markup");
    }
}
