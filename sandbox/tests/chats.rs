//! Edits, chats without messages, history, typing, reactions and comments, both ways.

mod support;

use amochats::{ApiRequest, WebhookKind, parse_webhook, verify_webhook};
use amochats_sandbox::{Change, Content, Delivery, HookOutcome, Party, Personality, SandboxConfig};
use serde_json::{Value, json};
use support::{ACCOUNT, Answer, CHANNEL, Channel, Receiver, config, secret, text, wait_for};

impl Channel {
    async fn edit(&self, payload: &Value) -> Answer {
        let mut payload = payload.clone();
        payload["timestamp"] = json!(1_704_067_300);
        let body = json!({ "event_type": "edit_message", "payload": payload });
        self.call("POST", self.scope.as_str(), &body).await
    }

    async fn under_scope(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", &format!("{}/{path}", self.scope), body).await
    }

    async fn history(&self, chat: &str, query: &str) -> Answer {
        let path = format!("/v2/origin/custom/{}/chats/{chat}/history{query}", self.scope);
        let request = ApiRequest { method: "GET", path, body: Vec::new() };
        let headers = request.sign(&secret(), &self.date).expect("valid");
        self.raw("GET", &request.path, &headers, Vec::new()).await
    }

    /// amoCRM's id of the only chat.
    fn chat(&self) -> String {
        self.sandbox.chats().remove(0).conversation_ref_id.to_string()
    }

    fn message(&self, n: usize) -> amochats_sandbox::Message {
        self.sandbox.messages(&self.chat().into()).remove(n)
    }
}

async fn with_receiver() -> (Channel, Receiver) {
    let receiver = Receiver::start(Some(200)).await;
    let config = SandboxConfig { webhook_url: Some(receiver.url.clone()), ..config() };
    (Channel::connected(config).await, receiver)
}

#[tokio::test]
async fn an_edit_changes_a_message_and_tells_nobody() {
    let (channel, mut receiver) = with_receiver().await;
    let receipt = channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok().json();
    let chat = channel.chat();
    channel.sandbox.mark_read(&chat.as_str().into()).expect("known");
    let changed =
        json!({ "msgid": "m-1", "conversation_id": "c-1", "message": { "type": "text", "text": "hello" } });
    assert_eq!(channel.edit(&changed).await.ok().json(), receipt, "the same ids");
    let message = channel.message(0);
    assert_eq!((message.content.text.as_str(), message.edited), ("hello", true));
    assert_eq!(channel.sandbox.chats()[0].unread, 0);
    let last = channel.sandbox.chats().remove(0).last_message.expect("one");
    assert_eq!(last.content.text, "hello");

    // A message born in the CRM gets an own id, and its status within the edit.
    let sent = channel.sandbox.answer(&chat.as_str().into(), Content::text("yes")).await.expect("known");
    receiver.next().await;
    let status = json!({ "status_code": -1, "error_code": 905, "error": "no route" });
    let born = json!({
        "id": sent.message_ref_id, "msgid": "m-2", "conversation_id": "c-1",
        "message": { "type": "text", "text": "yes", "delivery_status": status },
    });
    let answer = channel.edit(&born).await.ok().json();
    assert_eq!(answer["new_message"]["ref_id"], "m-2");
    assert_eq!(answer["new_message"]["receiver_id"], receipt["new_message"]["sender_id"]);
    let message = channel.message(1);
    assert_eq!(message.message_id, Some("m-2".into()));
    assert_eq!(message.delivery, Delivery::Error { code: 905, text: "no route".into() });
    // From now on it goes by that id, which no other message can have.
    channel
        .edit(
            &json!({ "msgid": "m-2", "conversation_id": "c-1", "message": { "type": "text", "text": "no" } }),
        )
        .await
        .ok();
    assert_eq!(channel.message(1).content.text, "no");
    channel.send(&text("m-2", "c-1", "u-1", "hi")).await.refused(400, "duplicate_msgid");
    assert_eq!(channel.sandbox.messages(&chat.as_str().into()).len(), 2);
}

#[tokio::test]
async fn an_edit_keeps_the_file_it_does_not_name() {
    let channel = Channel::connected(config()).await;
    let mut picture = text("m-1", "c-1", "u-1", "");
    picture["message"] =
        json!({ "type": "picture", "media": "https://example.org/a.png", "file_name": "a.png" });
    channel.send(&picture).await.ok();
    let caption =
        json!({ "msgid": "m-1", "conversation_id": "c-1", "message": { "type": "picture", "text": "look" } });
    channel.edit(&caption).await.ok();
    let content = channel.message(0).content;
    assert_eq!(content.text, "look");
    assert_eq!(content.attachment.expect("kept").file_name, "a.png");
    let other = json!({
        "msgid": "m-1", "conversation_id": "c-1",
        "message": { "type": "file", "media": "https://example.org/b.pdf" },
    });
    channel.edit(&other).await.ok();
    let content = channel.message(0).content;
    assert_eq!(
        (content.kind.as_str(), content.attachment.expect("new").url.as_str()),
        ("file", "https://example.org/b.pdf")
    );
}

#[tokio::test]
async fn edits_that_cannot_be_are_refused_and_change_nothing() {
    let channel = Channel::connected(config()).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    channel.send(&text("m-2", "c-1", "u-1", "there")).await.ok();
    channel.send(&text("m-3", "c-2", "u-2", "other")).await.ok();
    let message = json!({ "type": "text", "text": "x" });
    let delivered = json!({ "type": "text", "text": "x", "delivery_status": { "status_code": 1, "error_code": 0, "error": "" } });
    let first = channel
        .sandbox
        .chats()
        .into_iter()
        .find(|chat| chat.conversation_id == Some("c-1".into()))
        .expect("c-1");
    let id = channel.sandbox.messages(&first.conversation_ref_id)[0].message_ref_id.clone();
    for (payload, error_type) in [
        (json!({ "msgid": "m-9", "conversation_id": "c-1", "message": message }), "message_not_found"),
        (json!({ "msgid": "m-3", "conversation_id": "c-1", "message": message }), "message_not_found"),
        (json!({ "msgid": "m-1", "conversation_id": "c-9", "message": message }), "conversation_not_found"),
        (
            json!({ "id": id, "msgid": "m-2", "conversation_id": "c-1", "message": message }),
            "duplicate_msgid",
        ),
        (
            json!({ "id": id, "msgid": "m-3", "conversation_id": "c-1", "message": message }),
            "duplicate_msgid",
        ),
        (json!({ "msgid": "m-1", "conversation_id": "c-1", "message": delivered }), "not_outgoing"),
        (json!({ "conversation_id": "c-1", "message": message }), "invalid_field"),
    ] {
        channel.edit(&payload).await.refused(400, error_type);
    }
    assert!(channel.sandbox.messages(&first.conversation_ref_id).iter().all(|message| !message.edited));
    let gen1 = Channel::connected(SandboxConfig { personality: Personality::Gen1, ..config() }).await;
    let payload = json!({ "msgid": "m-1", "conversation_id": "c-1", "message": message });
    gen1.edit(&payload).await.refused(400, "unsupported_event_type");
    gen1.under_scope("typing", &json!({})).await.refused(404, "no_such_method");
}

#[tokio::test]
async fn a_chat_is_made_without_contact_and_lead_and_found_again() {
    let channel = Channel::connected(config()).await;
    let profile = json!({ "phone": "+15550100", "email": "anna@example.org" });
    let body = json!({
        "conversation_id": "c-1", "source": { "external_id": "shop" },
        "user": { "id": "u-1", "name": "Anna", "profile": profile },
    });
    let created = channel.under_scope("chats", &body).await.ok().json();
    let user = &created["user"];
    assert_eq!(
        (&user["client_id"], &user["name"], &user["avatar"]),
        (&json!("u-1"), &json!("Anna"), &json!(""))
    );
    assert_eq!((&user["phone"], &user["email"]), (&json!("+15550100"), &json!("anna@example.org")));
    assert!(channel.sandbox.chats().is_empty(), "a chat without messages is not shown");
    assert_eq!(channel.history(created["id"].as_str().expect("an id"), "").await.status, 204);

    let again = json!({ "conversation_id": "c-1", "user": { "id": "u-1", "name": "Anna B" } });
    assert_eq!(
        channel.under_scope("chats", &again).await.ok().json(),
        created,
        "the chat and the user as they are"
    );
    let second = json!({ "conversation_id": "c-2", "user": { "id": "u-1", "name": "Anna" } });
    let second = channel.under_scope("chats", &second).await.ok().json();
    assert_ne!(second["id"], created["id"]);
    assert_eq!(second["user"]["id"], created["user"]["id"]);

    let receipt = channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok().json();
    assert_eq!(receipt["new_message"]["conversation_id"], created["id"]);
    assert_eq!(receipt["new_message"]["sender_id"], created["user"]["id"]);
    let chat = channel.sandbox.chats().remove(0);
    assert!(chat.lead.is_some());
    assert_eq!(chat.source_external_id.as_deref(), Some("shop"));

    for body in [json!({}), json!({ "conversation_id": "c-3", "user": { "id": "u-1" } })] {
        channel.under_scope("chats", &body).await.refused(400, "invalid_field");
    }
}

#[tokio::test]
async fn the_history_runs_from_newest_to_oldest_by_pages() {
    let (channel, mut receiver) = with_receiver().await;
    for n in 1..=3 {
        let mut message = text(&format!("m-{n}"), "c-1", "u-1", &format!("text {n}"));
        message["msec_timestamp"] = json!(1_704_067_200_000_i64 + n);
        message["sender"]["profile"] = json!({ "phone": "+15550100" });
        channel.send(&message).await.ok();
    }
    let mut place = text("m-4", "c-1", "u-1", "");
    place["msec_timestamp"] = json!(1_704_067_200_500_i64);
    place["message"] = json!({ "type": "location", "location": { "lon": 37.6, "lat": 55.7 } });
    channel.send(&place).await.ok();
    let chat = channel.chat();
    channel.sandbox.answer(&chat.as_str().into(), Content::text("yes")).await.expect("known");
    receiver.next().await;

    let all = channel.history(&chat, "").await.ok().json();
    let messages = all["messages"].as_array().expect("a list");
    // The manager wrote at the clock's time, which is before the client's.
    let ids: Vec<_> = messages.iter().map(|message| message["message"]["client_id"].as_str()).collect();
    assert_eq!(ids, [Some("m-4"), Some("m-3"), Some("m-2"), Some("m-1"), None]);
    assert_eq!(messages[0]["message"]["location"], json!({ "lon": 37.6, "lat": 55.7 }));
    assert_eq!(messages[1]["msec_timestamp"], 1_704_067_200_003_i64);
    assert_eq!(messages[1]["sender"]["client_id"], "u-1");
    assert_eq!(messages[1]["sender"]["phone"], "+15550100");
    assert!(messages[1].get("receiver").is_none());
    assert_eq!(messages[4]["sender"]["name"], "Manager");
    assert_eq!(messages[4]["receiver"]["client_id"], "u-1");
    assert_eq!(messages[4]["message"]["media"], "");

    let page = channel.history(&chat, "?offset=1&limit=2").await.ok().json();
    assert_eq!(page["messages"].as_array().expect("a list")[..], messages[1..3]);
    assert_eq!(channel.history(&chat, "?offset=5").await.status, 204);
    assert_eq!(channel.history("8e4d4baa-9e6c-4a88-838a-5f62be227bdc", "").await.status, 204);
    for query in ["?limit=51", "?limit=0", "?offset=-1", "?limit=x"] {
        channel.history(&chat, query).await.refused(400, "invalid_field");
    }
}

#[tokio::test]
async fn typing_is_told_to_who_looks() {
    for (personality, bad) in [(Personality::Ru, 400), (Personality::Kommo, 404)] {
        let channel = Channel::connected(SandboxConfig { personality, ..config() }).await;
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
        let chat = channel.chat();
        let mut changes = channel.sandbox.subscribe();
        for (body, duration_ms) in [
            (json!({ "conversation_id": "c-1", "sender": { "id": "u-1" } }), 5000),
            (json!({ "conversation_id": "c-1", "sender": { "id": "u-1" }, "duration_ms": 9000 }), 9000),
        ] {
            let answer = channel.under_scope("typing", &body).await;
            assert_eq!((answer.status, answer.text.as_str()), (204, ""));
            let change = wait_for(&mut changes, |change| matches!(change, Change::Typing { .. })).await;
            let Change::Typing { account_id, channel_id, conversation_ref_id, duration_ms: shown } = change
            else {
                panic!("typing was waited for");
            };
            assert_eq!((account_id, channel_id), (ACCOUNT.into(), CHANNEL.into()));
            assert_eq!((conversation_ref_id.as_str(), shown), (chat.as_str(), duration_ms));
        }
        for (body, error_type) in [
            (json!({ "conversation_id": "c-9", "sender": { "id": "u-1" } }), "conversation_not_found"),
            (json!({ "conversation_id": "c-1", "sender": { "id": "u-9" } }), "user_not_found"),
            (json!({ "conversation_id": "c-1" }), "invalid_field"),
        ] {
            channel.under_scope("typing", &body).await.refused(bad, error_type);
        }
    }
}

#[tokio::test]
async fn a_client_reacts_and_takes_it_back() {
    for (personality, empty, without_emoji) in [(Personality::Ru, "", 200), (Personality::Kommo, "{}", 400)] {
        let channel = Channel::connected(SandboxConfig { personality, ..config() }).await;
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
        let (chat, id) = (channel.chat(), channel.message(0).message_ref_id);
        let manager = channel.sandbox.accounts()[0].users[0].user_ref_id.clone();
        let shown = || -> Vec<(Party, String)> {
            channel.message(0).reactions.into_iter().map(|r| (r.author.party, r.emoji)).collect()
        };
        let react = async |body: Value| channel.under_scope("react", &body).await;

        let by_own_ids = json!({ "conversation_id": "c-1", "msgid": "m-1", "user": { "id": "u-1" }, "type": "react", "emoji": "👍" });
        assert_eq!(react(by_own_ids.clone()).await.ok().text, empty);
        let by_ref_ids = json!({ "conversation_ref_id": chat, "id": id, "user": { "id": "x", "ref_id": manager }, "type": "react", "emoji": "🔥" });
        react(by_ref_ids).await.ok();
        assert_eq!(shown(), [(Party::Client, "👍".into()), (Party::Manager, "🔥".into())]);
        let mut other = by_own_ids.clone();
        other["emoji"] = json!("😍");
        react(other).await.ok();
        assert_eq!(shown(), [(Party::Manager, "🔥".into()), (Party::Client, "😍".into())]);
        react(
            json!({ "conversation_id": "c-1", "msgid": "m-1", "user": { "id": "u-1" }, "type": "unreact" }),
        )
        .await
        .ok();
        assert_eq!(shown(), [(Party::Manager, "🔥".into())]);

        let bare =
            json!({ "conversation_id": "c-1", "msgid": "m-1", "user": { "id": "u-1" }, "type": "react" });
        assert_eq!(react(bare).await.status, without_emoji);
        for (field, value, status, error_type) in [
            ("msgid", json!("m-9"), 404, "no_such_message"),
            ("id", json!("another"), 404, "no_such_message"),
            ("conversation_id", json!("c-9"), 404, "no_such_message"),
            ("conversation_ref_id", json!("another"), 404, "no_such_message"),
            ("user", json!({ "id": "u-9" }), 400, "user_not_found"),
            ("user", json!({ "id": "u-1", "ref_id": "another" }), 400, "user_not_found"),
            ("type", json!("like"), 400, "invalid_field"),
        ] {
            let mut body = by_own_ids.clone();
            body[field] = value;
            react(body).await.refused(status, error_type);
        }
    }
}

#[tokio::test]
async fn a_manager_reacts_by_a_webhook() {
    let (channel, mut receiver) = with_receiver().await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let (chat, id) = (channel.chat(), channel.message(0).message_ref_id);
    let chat = chat.as_str().into();
    let manager = channel.sandbox.accounts()[0].users[0].user_ref_id.clone();
    for (emoji, kind) in [(Some("🔥"), "react"), (None, "unreact")] {
        let outcome = channel.sandbox.react(&chat, &id, emoji).await.expect("known");
        assert_eq!(outcome, Some(HookOutcome::Accepted));
        let hook = receiver.next().await;
        let signature = hook.headers["x-signature"].to_str().expect("ASCII");
        let verified = verify_webhook(&[secret()], &hook.body, Some(signature)).expect("genuine");
        let event = parse_webhook(verified).expect("a webhook");
        assert_eq!(event.extra, Value::Null, "nothing that is not documented");
        let WebhookKind::Reaction(reaction) = event.kind else { panic!("not a reaction") };
        assert_eq!((reaction.reaction_type.as_str(), reaction.emoji.as_deref()), (kind, emoji));
        assert_eq!(
            (reaction.message_ref_id, reaction.user_ref_id),
            (Some(id.clone()), Some(manager.clone()))
        );
        assert_eq!(reaction.conversation_id, Some("c-1".into()));
        assert_eq!(channel.message(0).reactions.len(), usize::from(emoji.is_some()));
    }
    assert!(channel.sandbox.react(&chat, &"another".into(), Some("🔥")).await.is_err());
    assert!(channel.sandbox.react(&chat, &id, Some(" ")).await.is_err());

    channel.connect(&json!({ "account_id": channel.account, "hook_api_version": "v1" })).await.ok();
    assert_eq!(channel.sandbox.react(&chat, &id, Some("🔥")).await.expect("known"), None);
}

#[tokio::test]
async fn a_comment_is_answered_as_a_comment_or_directly() {
    let (channel, mut receiver) = with_receiver().await;
    let mut comment = text("m-1", "c-1", "u-1", "how much?");
    comment["message"]["post"] = json!({ "id": "p-7", "url": "https://example.org/p/7", "caption": "Boots" });
    channel.send(&comment).await.ok();
    let (chat, id) = (channel.chat().as_str().into(), channel.message(0).message_ref_id);
    assert_eq!(channel.message(0).content.details.expect("kept")["post"]["id"], "p-7");

    channel.sandbox.reply(&chat, &id, Content::text("ten")).await.expect("known");
    let message = receiver.next().await.json()["message"]["message"].take();
    assert_eq!((&message["post"], &message["type"]), (&json!({ "id": "p-7" }), &json!("text")));
    assert!(message["markup"].is_null());
    let quoted = &message["reply_to"]["message"];
    assert_eq!(
        (&quoted["id"], &quoted["msgid"], &quoted["text"]),
        (&json!(id), &json!("m-1"), &json!("how much?"))
    );
    assert_eq!(quoted["sender"]["client_id"], "u-1");
    assert!(quoted["sender"].get("phone").is_none() && quoted.get("receiver").is_none());

    channel.sandbox.reply(&chat, &id, Content::picture("https://example.org/p.png")).await.expect("known");
    let message = receiver.next().await.json()["message"]["message"].take();
    assert!(message.get("post").is_none() && message["reply_to"].is_object(), "a direct message: {message}");
    channel.sandbox.answer(&chat, Content::text("hi")).await.expect("known");
    let message = receiver.next().await.json()["message"]["message"].take();
    assert!(message.get("post").is_none() && message.get("reply_to").is_none());
    assert!(channel.sandbox.reply(&chat, &"another".into(), Content::text("x")).await.is_err());
}
