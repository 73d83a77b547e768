//! Each switch in its positions, and the habits of the personalities.

mod support;

use amochats::{CONTENT_TYPE, sign_body, sign_request};
use amochats_sandbox::{
    Absent, Answers, Content, Delivery, HookContacts, HookEscaping, Personality, RequiredFields,
    SandboxConfig, Signatures, Switches, Transitions, UnknownFields,
};
use serde_json::{Value, json};
use std::time::Duration;
use support::{ACCOUNT, CHANNEL, Channel, D0_MSEC, Receiver, Turned, config, hmac_hex, secret, text};

const D0: &str = "Mon, 01 Jan 2024 00:00:00 +0000";

async fn switched(switches: Switches) -> Channel {
    Channel::connected(SandboxConfig { switches, ..config() }).await
}

async fn of(personality: Personality) -> Channel {
    Channel::connected(SandboxConfig { personality, ..config() }).await
}

fn said(channel: &Channel) -> String {
    channel.sandbox.journal().pop().expect("an entry").summary.verdict.sentence
}

#[tokio::test]
async fn unknown_fields_are_noted_or_refused() {
    let mut message = text("m-1", "c-1", "u-1", "hi");
    message["colour"] = json!("red");
    message["sender"]["shoe_size"] = json!(42);
    let channel = switched(Switches::default()).await;
    channel.send(&message).await.ok();
    for field in ["payload.colour", "payload.sender.shoe_size"] {
        assert!(
            said(&channel).contains(&format!("{field} is not a field of this request")),
            "{}",
            said(&channel)
        );
    }
    channel.connect(&json!({ "account_id": ACCOUNT, "titel": "x" })).await.ok();
    assert!(said(&channel).contains("titel is not a field"), "{}", said(&channel));
    // Many are no longer put up with.
    for i in 0..40 {
        message[format!("field_{i}")] = json!(1);
    }
    message["msgid"] = json!("m-2");
    channel.send(&message).await.refused(400, "invalid_field");

    let strict = switched(Switches { unknown_fields: UnknownFields::Refuse, ..Switches::default() }).await;
    let description = strict.send(&message).await.refused(400, "invalid_field");
    assert!(description.contains("is not a field of this request"), "{description}");
    let body = json!({ "account_id": ACCOUNT, "titel": "x" });
    assert!(strict.connect(&body).await.refused(400, "invalid_field").starts_with("titel"));
}

#[tokio::test]
async fn types_are_strict_unless_switched_off() {
    let mut message = text("m-1", "c-1", "u-1", "hi");
    message["sender"]["profile"] = json!({ "phone": 15_550_100 });
    message["timestamp"] = json!("1704067200");
    switched(Switches::default()).await.send(&message).await.refused(400, "invalid_field");
    let lenient = switched(Switches { strict_types: false, ..Switches::default() }).await;
    lenient.send(&message).await.ok();
    assert_eq!(lenient.sandbox.chats()[0].client.phone.as_deref(), Some("15550100"));
    assert!(said(&lenient).contains("payload.sender.profile.phone has another type"), "{}", said(&lenient));
    message["timestamp"] = json!([]);
    lenient.send(&message).await.refused(400, "invalid_field");
}

#[tokio::test]
async fn the_body_alone_is_taken_on_all_methods_on_old_ones_or_on_none() {
    let typing = json!({ "conversation_id": "c-1", "sender": { "id": "u-1" } }).to_string();
    for (signatures, old, new) in [
        (Signatures::Any, 200, 204),
        (Signatures::AnyOnOldMethods, 200, 403),
        (Signatures::Canonical, 403, 403),
    ] {
        let channel = switched(Switches { signatures, ..Switches::default() }).await;
        channel.send(&text("m-0", "c-1", "u-1", "hi")).await.ok();
        let message =
            json!({ "event_type": "new_message", "payload": text("m-1", "c-1", "u-1", "hi") }).to_string();
        for (path, body, expected) in [("", &message, old), ("/typing", &typing, new)] {
            let signature = hmac_hex(body.as_bytes());
            let headers = [("Content-Type", CONTENT_TYPE), ("X-Signature", &*signature)];
            let path = format!("/v2/origin/custom/{}{path}", channel.scope);
            let answer = channel.bare("POST", &path, &headers, body.clone().into()).await;
            assert_eq!(answer.status, expected, "{signatures:?} {path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn md5_and_content_type_can_go_unchecked() {
    let path = format!("/v2/origin/custom/{CHANNEL}/connect");
    let body = json!({ "account_id": ACCOUNT }).to_string().into_bytes();
    let other = "text/plain";
    let typed = sign_request(&secret(), "POST", &path, other, D0, &body).expect("valid");
    let mut hashed = sign_request(&secret(), "POST", &path, CONTENT_TYPE, D0, &body).expect("valid");
    hashed.content_md5 = "0".repeat(32);
    let signed = format!("POST\n{}\n{CONTENT_TYPE}\n{D0}\n{path}", hashed.content_md5);
    hashed.x_signature = sign_body(&secret(), signed.as_bytes());
    assert_eq!(hashed.x_signature, hmac_hex(signed.as_bytes()));

    let channel = switched(Switches::default()).await;
    channel.raw("POST", &path, &typed, body.clone()).await.refused(403, "content_type");
    channel.raw("POST", &path, &hashed, body.clone()).await.refused(403, "content_md5_mismatch");
    let off = Switches { check_content_type: false, check_md5: false, ..Switches::default() };
    channel.sandbox.set_switches(off).expect("valid");
    channel.raw("POST", &path, &typed, body.clone()).await.ok();
    channel.raw("POST", &path, &hashed, body).await.ok();
}

#[tokio::test]
async fn each_year_answers_in_its_way() {
    for (answers, keys) in [
        (Answers::Since2020, &["msgid"][..]),
        (Answers::Since2021, &["msgid", "ref_id"]),
        (Answers::Current, &["conversation_id", "sender_id", "msgid", "ref_id"]),
    ] {
        let channel = switched(Switches { answers, ..Switches::default() }).await;
        let answer = channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok().json();
        let shown: Vec<_> = answer["new_message"].as_object().expect("an object").keys().collect();
        assert_eq!(shown, keys, "{answers:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_gets_the_status_that_was_chosen() {
    let switches = Switches { unknown_channel: Absent::Forbidden, ..Switches::default() };
    let body = json!({ "account_id": ACCOUNT });
    switched(switches).await.call("POST", "none/connect", &body).await.refused(403, "no_such_channel");
    let chat = json!({ "conversation_id": "c-1", "user": { "id": "u-1", "name": "Anna" } });
    for (personality, status) in [(Personality::Ru, 403), (Personality::Kommo, 404)] {
        let channel = Channel::start(SandboxConfig { personality, ..config() }).await;
        channel
            .call("POST", &format!("{}/chats", channel.scope), &chat)
            .await
            .refused(status, "not_connected");
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(403, "not_connected");
    }
}

#[tokio::test]
async fn more_calls_than_allowed_wait() {
    let clock = Turned::at(D0_MSEC);
    let switches = Switches { requests_per_second: Some(2), ..Switches::default() };
    let channel = Channel::connected(SandboxConfig { switches, clock: clock.clock(), ..config() }).await;
    for i in 0..2 {
        channel.send(&text(&format!("m-{i}"), "c-1", "u-1", "hi")).await.ok();
    }
    channel.send(&text("m-2", "c-1", "u-1", "hi")).await.refused(429, "too_many_requests");
    clock.advance(Duration::from_secs(1));
    channel.send(&text("m-2", "c-1", "u-1", "hi")).await.ok();
}

#[tokio::test]
async fn delivery_states_go_forward_or_any_way() {
    for (transitions, expected) in
        [(Transitions::Forward, Delivery::Read), (Transitions::Any, Delivery::Delivered)]
    {
        let channel =
            switched(Switches { transitions, old_delivery_status: false, ..Switches::default() }).await;
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
        let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
        let sent = channel.sandbox.answer(&chat, Content::text("a")).await.expect("known").message_ref_id;
        for status in [2, 1] {
            channel.status(sent.as_str(), &json!({ "status_code": status })).await.ok();
        }
        let message = channel.sandbox.messages(&chat).into_iter().find(|m| m.message_ref_id == sent);
        assert_eq!(message.expect("it is there").delivery, expected);
        let old = json!({ "msgid": sent, "delivery_status": 1 });
        channel.status(sent.as_str(), &old).await.refused(400, "invalid_field");
    }
}

#[tokio::test]
async fn webhooks_have_the_form_that_was_chosen() {
    let mut receiver = Receiver::start(Some(200)).await;
    let switches = Switches {
        hook_contacts: HookContacts::Empty,
        hook_escaping: HookEscaping::Go,
        ..Switches::default()
    };
    let config = SandboxConfig { webhook_url: Some(receiver.url.clone()), switches, ..config() };
    let channel = Channel::connected(config).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    channel.sandbox.answer(&chat, Content::text("<b> & more")).await.expect("known");
    let hook = receiver.next().await;
    assert!(hook.text().contains(r#""text":"\u003cb\u003e \u0026 more""#), "{}", hook.text());
    assert_eq!(hook.json()["message"]["message"]["text"], "<b> & more");
    let person = &hook.json()["message"]["receiver"];
    assert_eq!((&person["phone"], &person["email"]), (&json!(""), &json!("")));
    let signed = hook.text().strip_suffix('\n').expect("a line feed");
    assert_eq!(hook.headers["x-signature"], hmac_hex(signed.as_bytes()).as_str());
}

#[tokio::test]
async fn fields_that_live_clients_leave_out_are_noted_or_required() {
    let mut picture = text("m-1", "c-1", "u-1", "");
    picture["message"] = json!({ "type": "picture", "media": "https://example.org/a.png" });
    let channel = of(Personality::Ru).await;
    channel.send(&picture).await.ok();
    assert!(
        said(&channel).contains("payload.message.file_name is required by the pages"),
        "{}",
        said(&channel)
    );
    let kommo = of(Personality::Kommo).await;
    assert!(said(&kommo).contains("title is required by the pages"), "{}", said(&kommo));
    kommo.send(&picture).await.ok();
    assert!(!said(&kommo).contains("file_name"), "optional there");
    kommo
        .connect(&json!({ "account_id": ACCOUNT, "title": "x", "hook_api_version": "v1" }))
        .await
        .refused(400, "invalid_field");

    let documented = Switches { required_fields: RequiredFields::Documented, ..Switches::default() };
    channel.sandbox.set_switches(documented.clone()).expect("valid");
    picture["msgid"] = json!("m-2");
    let description = channel.send(&picture).await.refused(400, "invalid_field");
    assert!(description.starts_with("payload.message.file_name"), "{description}");
    kommo.sandbox.set_switches(documented).expect("valid");
    assert!(
        kommo
            .connect(&json!({ "account_id": ACCOUNT }))
            .await
            .refused(400, "invalid_field")
            .starts_with("title")
    );
}

#[tokio::test]
async fn error_901_means_another_thing_on_kommo() {
    for (personality, gone) in [(Personality::Ru, "conversation"), (Personality::Kommo, "message")] {
        let channel = of(personality).await;
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
        let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
        let sent = channel.sandbox.answer(&chat, Content::text("a")).await.expect("known").message_ref_id;
        let body = json!({ "status_code": -1, "error_code": 901, "error": "" });
        channel.status(sent.as_str(), &body).await.ok();
        assert!(said(&channel).contains(&format!("deleted the {gone}")), "{}", said(&channel));
    }
}

#[tokio::test]
async fn quotes_and_forwards_are_filled_in_and_stay_within_bounds() {
    let channel = of(Personality::Ru).await;
    channel.send(&text("m-1", "c-1", "u-1", "first")).await.ok();
    channel.send(&text("m-2", "c-2", "u-2", "other chat")).await.ok();
    let quoting = |msgid: &str, quoted: Value| {
        let mut message = text(msgid, "c-1", "u-1", "look");
        message["reply_to"] = json!({ "message": quoted });
        message
    };
    channel.send(&quoting("m-3", json!({ "msgid": "m-1" }))).await.ok();
    let chat = channel.sandbox.chats().into_iter().find(|chat| chat.conversation_id == Some("c-1".into()));
    let chat = chat.expect("it is there").conversation_ref_id;
    let details = channel.sandbox.messages(&chat).remove(1).content.details.expect("a quote");
    assert_eq!(details["reply_to"]["message"]["text"], "first");
    for quoted in [json!({ "msgid": "m-2" }), json!({ "msgid": "m-9" })] {
        channel.send(&quoting("m-4", quoted)).await.refused(400, "quoted_not_found");
    }
    let mut forward = text("m-5", "c-1", "u-1", "see");
    forward["forwards"] = json!({ "messages": [{ "msgid": "m-2" }] });
    channel.send(&forward).await.ok();
    let details = channel.sandbox.messages(&chat).remove(2).content.details.expect("a forward");
    assert_eq!(details["forwards"]["messages"][0]["text"], "other chat");
    forward["msgid"] = json!("m-6");
    forward["forwards"] = json!({ "messages": [{ "msgid": "m-9" }] });
    channel.send(&forward).await.refused(400, "forwarded_not_found");
}
