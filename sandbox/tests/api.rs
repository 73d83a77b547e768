//! The calls, and each way in which they are refused.

mod support;

use amochats::{CONTENT_TYPE, SignedHeaders, canonical_string, content_md5, sign_body, sign_request};
use amochats_sandbox::{
    Absent, Change, Delivery, Duplicates, Party, Personality, SandboxConfig, Switches, UnknownFields,
};
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    ACCOUNT, Answer, CHANNEL, Channel, D0_MSEC, SECRET, Turned, config, hmac_hex_keyed, secret, text,
    wait_for,
};

const CONNECT: &str = "/v2/origin/custom/a4490ccc-5d7f-11e7-907b-a6006ad3dba0/connect";
const D0: &str = "Mon, 01 Jan 2024 00:00:00 +0000";

fn switched(switches: Switches) -> SandboxConfig {
    SandboxConfig { switches, ..config() }
}

fn connect_body() -> Vec<u8> {
    json!({ "account_id": ACCOUNT, "title": "Sandbox", "hook_api_version": "v2" }).to_string().into_bytes()
}

fn signed(date: &str) -> SignedHeaders {
    sign_request(&secret(), "POST", CONNECT, CONTENT_TYPE, date, &connect_body()).expect("valid")
}

async fn connect_with(channel: &Channel, headers: &SignedHeaders) -> Answer {
    channel.raw("POST", CONNECT, headers, connect_body()).await
}

#[tokio::test]
async fn connect_answers_with_the_scope() {
    let channel = Channel::start(config()).await;
    let mut changes = channel.sandbox.subscribe();
    // Vector C1 of the reference: the signature was not made by our code.
    let headers = SignedHeaders {
        date: D0.into(),
        content_type: CONTENT_TYPE.into(),
        content_md5: "0b002332b1ef152aaceb887baff25961".into(),
        x_signature: "0bc99751e97375ec5be8c19d720a233404b62e27".into(),
    };
    let answer = connect_with(&channel, &headers).await;
    assert_eq!(
        answer.ok().text,
        format!(
            "{{\"account_id\":\"{ACCOUNT}\",\"scope_id\":\"{CHANNEL}_{ACCOUNT}\",\"title\":\"Sandbox\",\
             \"hook_api_version\":\"v2\",\"is_time_window_disabled\":false}}"
        )
    );
    wait_for(&mut changes, |change| *change == Change::Account { account_id: ACCOUNT.into() }).await;

    // Other spellings of the same moment are signed as they are sent: C2 and C3.
    for (date, signature) in [
        ("Mon, 01 Jan 2024 00:00:00 GMT", "67bb1d9f232a55559815efde6215e26457abec9a"),
        ("Mon, 01 Jan 2024 03:00:00 +0300", "a312b55fe7c0f1bd0239125b4ed1575ee80ef3aa"),
    ] {
        let headers = SignedHeaders { date: date.into(), x_signature: signature.into(), ..headers.clone() };
        connect_with(&channel, &headers).await.ok();
    }

    let bare = channel.connect(&json!({ "account_id": ACCOUNT })).await.ok().json();
    assert_eq!((&bare["title"], &bare["hook_api_version"]), (&json!("Sandbox"), &json!("v1")));
}

#[tokio::test]
async fn connect_refuses_what_it_does_not_know() {
    let channel = Channel::start(config()).await;
    for (body, said) in [
        (json!({}), "account_id: is required"),
        (json!({ "account_id": 5 }), "account_id: must be a string"),
        (json!({ "account_id": ACCOUNT, "hook_api_version": "v3" }), "hook_api_version: must be v1 or v2"),
    ] {
        let description = channel.connect(&body).await.refused(400, "invalid_field");
        assert!(description.contains(said), "{description}");
    }
    channel.connect(&json!({ "account_id": "unknown" })).await.refused(400, "account_not_found");
    let elsewhere = channel.call("POST", "another-channel/connect", &json!({ "account_id": ACCOUNT })).await;
    elsewhere.refused(404, "no_such_channel");
    assert!(channel.sandbox.accounts()[0].connections.is_empty());
}

#[tokio::test]
async fn disconnect_ends_the_connection() {
    for (personality, empty) in [(Personality::Ru, ""), (Personality::Kommo, "{}")] {
        let channel = Channel::connected(SandboxConfig { personality, ..config() }).await;
        let path = format!("{CHANNEL}/disconnect");
        let body = json!({ "account_id": ACCOUNT });
        assert_eq!(channel.call("DELETE", &path, &body).await.ok().text, empty);
        assert!(channel.sandbox.accounts()[0].connections.is_empty());
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(403, "not_connected");
        assert_eq!(channel.call("DELETE", &path, &body).await.ok().text, empty, "twice is as good as once");
        channel.call("POST", &path, &body).await.refused(405, "wrong_http_method");
    }
    let config = switched(Switches { not_connected: Absent::NotFound, ..Switches::default() });
    let channel = Channel::start(config).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(404, "not_connected");
}

#[tokio::test]
async fn each_broken_rule_of_the_signature_is_named() {
    let channel = Channel::start(config()).await;
    let good = signed(D0);
    let refused = async |headers: SignedHeaders, error_type: &str| {
        connect_with(&channel, &headers).await.refused(403, error_type)
    };
    for name in ["date", "content_type", "content_md5", "x_signature"] {
        let mut headers = good.clone();
        match name {
            "date" => headers.date.clear(),
            "content_type" => headers.content_type.clear(),
            "content_md5" => headers.content_md5.clear(),
            _ => headers.x_signature.clear(),
        }
        let said = refused(headers, "header_missing").await.to_lowercase().replace('-', "_");
        assert!(said.starts_with(&format!("the header {name}")), "{said}");
    }
    let with_charset = "application/json; charset=utf-8";
    let headers = sign_request(&secret(), "POST", CONNECT, with_charset, D0, &connect_body()).expect("valid");
    refused(headers, "content_type").await;
    refused(signed("2024-01-01T00:00:00Z"), "date_malformed").await;

    let body = connect_body();
    for (md5, said) in [
        (good.content_md5.to_uppercase(), "lower-case hex"),
        ("CwAjMrHvFSqs64h7r/JZYQ==".to_owned(), "base64"),
        (content_md5(&[&body[..], b"\n"].concat()), "final newline that was not sent"),
        (content_md5(b""), "empty body"),
        ("0".repeat(32), "does not belong to the body"),
    ] {
        let headers = SignedHeaders { content_md5: md5, ..good.clone() };
        assert!(refused(headers, "content_md5_mismatch").await.contains(said), "{said}");
    }

    let canonical =
        |method: &str, path: &str| canonical_string(method, &good.content_md5, CONTENT_TYPE, D0, path);
    let right = canonical("POST", CONNECT);
    let sign = |text: String| sign_body(&secret(), text.as_bytes());
    let url = format!("http://{}{CONNECT}", channel.sandbox.api_addr());
    let decoded: Vec<u8> =
        (0..20).map(|i| u8::from_str_radix(&SECRET[2 * i..2 * i + 2], 16).expect("hex")).collect();
    for (signature, said) in [
        (good.x_signature.to_uppercase(), "lower-case hex"),
        ("abc".to_owned(), "40 hex digits"),
        (sign(right.clone() + "\n"), "final newline"),
        (sign(right.replace('\n', "\r\n")), "CRLF"),
        (sign(right.replace('\n', "")), "joined by nothing"),
        (sign(canonical("DELETE", CONNECT)), "made for the method DELETE"),
        (sign(canonical("POST", &url)), "whole URL"),
        (sign_body(&secret(), &[&body[..], b"\n"].concat()), "the body with a final newline"),
        (hmac_hex_keyed(&decoded, right.as_bytes()), "the secret decoded from hex"),
        ("0".repeat(40), "another secret, path or date"),
    ] {
        let headers = SignedHeaders { x_signature: signature, ..good.clone() };
        let description = refused(headers, "signature_mismatch").await;
        assert!(description.contains(said), "{said}: {description}");
    }
    assert!(channel.sandbox.accounts()[0].connections.is_empty(), "nothing got through");
}

#[tokio::test]
async fn the_query_is_not_signed() {
    let channel = Channel::start(config()).await;
    let with_query = format!("{CONNECT}?a=1");
    channel.raw("POST", &with_query, &signed(D0), connect_body()).await.ok();
    let text = canonical_string("POST", &signed(D0).content_md5, CONTENT_TYPE, D0, "") + &with_query;
    let headers = SignedHeaders { x_signature: sign_body(&secret(), text.as_bytes()), ..signed(D0) };
    let answer = channel.raw("POST", &with_query, &headers, connect_body()).await;
    assert!(answer.refused(403, "signature_mismatch").contains("query string"));
}

#[tokio::test]
async fn a_signature_over_the_body_alone_is_taken_unless_strict() {
    let body = connect_body();
    let signature = sign_body(&secret(), &body);
    let bare = [("Content-Type", CONTENT_TYPE), ("X-Signature", &*signature)];
    // As live clients send it: the other headers are there, but not signed and not right.
    let noisy = [bare[0], bare[1], ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Content-MD5", "x")];

    let channel = Channel::start(config()).await;
    for headers in [&bare[..], &noisy[..]] {
        channel.bare("POST", CONNECT, headers, body.clone()).await.ok();
        let verdict = channel.sandbox.journal().pop().expect("an entry").summary.verdict;
        assert_eq!((verdict.ok, &*verdict.name), (true, "body_only"));
    }
    channel.bare("POST", CONNECT, &bare[1..], body.clone()).await.refused(403, "header_missing");
    let stray = [&body[..], b" "].concat();
    channel.bare("POST", CONNECT, &bare, stray).await.refused(403, "header_missing");

    let strict = Channel::start(switched(Switches::strict())).await;
    strict.bare("POST", CONNECT, &bare, body.clone()).await.refused(403, "header_missing");
    let headers = SignedHeaders { x_signature: signature.clone(), ..signed(D0) };
    let said = connect_with(&strict, &headers).await.refused(403, "signature_mismatch");
    assert!(said.contains("strict"), "{said}");
    connect_with(&strict, &signed(D0)).await.ok();
}

#[tokio::test]
async fn a_date_is_good_for_a_quarter_of_an_hour() {
    let clock = Turned::at(D0_MSEC);
    let channel = Channel::start(SandboxConfig { clock: clock.clock(), ..config() }).await;
    clock.advance(Duration::from_secs(15 * 60));
    connect_with(&channel, &signed(D0)).await.ok();
    clock.advance(Duration::from_millis(1));
    let said = connect_with(&channel, &signed(D0)).await.refused(403, "date_outside_window");
    assert!(said.contains("900 s old"), "{said}");
    let ahead = signed("Mon, 01 Jan 2024 00:31:00 +0000");
    assert!(connect_with(&channel, &ahead).await.refused(403, "date_outside_window").contains("future"));

    let short = SandboxConfig {
        clock: clock.clock(),
        ..switched(Switches { date_window_s: Some(1), ..Switches::default() })
    };
    connect_with(&Channel::start(short).await, &signed(D0)).await.refused(403, "date_outside_window");
    let off = SandboxConfig {
        clock: clock.clock(),
        ..switched(Switches { date_window_s: None, ..Switches::default() })
    };
    connect_with(&Channel::start(off).await, &signed("Thu, 01 Jan 1970 00:00:00 +0000")).await.ok();
}

#[tokio::test]
async fn paths_methods_and_sizes_are_checked_first() {
    let channel = Channel::connected(config()).await;
    let said = channel.call("POST", "x/pin", &json!({})).await.refused(404, "no_such_method");
    assert!(said.contains("{scope_id}"), "{said}");
    channel.bare("GET", "/", &[], Vec::new()).await.refused(404, "no_such_method");
    channel.bare("POST", "/v2/origin/custom/%ff", &[], Vec::new()).await.refused(404, "no_such_method");
    let path = format!("/v2/origin/custom/{}", channel.scope);
    channel.bare("GET", &path, &[], Vec::new()).await.refused(405, "wrong_http_method");
    channel.bare("POST", &path, &[], vec![b' '; 1024 * 1024]).await.refused(403, "header_missing");
    channel.bare("POST", &path, &[], vec![b' '; 1024 * 1024 + 1]).await.refused(413, "body_too_large");
}

#[tokio::test]
async fn a_first_message_makes_a_chat_a_contact_and_a_lead() {
    let channel = Channel::connected(config()).await;
    let mut changes = channel.sandbox.subscribe();
    let mut message = text("m-1", "c-1", "u-1", "hi");
    message["sender"]["profile"] = json!({ "phone": "+15550100" });
    let answer = channel.send(&message).await.ok().json();

    let chat = channel.sandbox.chats().remove(0);
    let said = channel.sandbox.messages(&chat.conversation_ref_id).remove(0);
    assert_eq!(
        answer,
        json!({ "new_message": {
            "conversation_id": chat.conversation_ref_id, "sender_id": chat.client.user_ref_id,
            "msgid": said.message_ref_id, "ref_id": "m-1",
        } })
    );
    assert_eq!(chat.conversation_id, Some("c-1".into()));
    assert_eq!((&*chat.client.name, chat.client.phone.as_deref()), ("Anna", Some("+15550100")));
    assert_eq!((chat.unread, chat.lead.map(|lead| lead.id)), (1, Some(1)));
    assert_eq!((&*said.content.text, said.author.party), ("hi", Party::Client));
    let wanted = Change::Message {
        account_id: ACCOUNT.into(),
        channel_id: CHANNEL.into(),
        conversation_ref_id: chat.conversation_ref_id.clone(),
        message_ref_id: said.message_ref_id,
    };
    wait_for(&mut changes, |change| *change == wanted).await;

    channel.send(&text("m-2", "c-1", "u-1", "again")).await.ok();
    let again = channel.sandbox.chats();
    assert_eq!((again.len(), again[0].unread), (1, 2));
    channel.sandbox.mark_read(&chat.conversation_ref_id).expect("known");
    assert_eq!(channel.sandbox.chats()[0].unread, 0);
}

#[tokio::test]
async fn a_silent_message_makes_no_lead_until_a_loud_one_comes() {
    let channel = Channel::connected(config()).await;
    let mut message = text("m-1", "c-1", "u-1", "old");
    message["silent"] = json!(true);
    channel.send(&message).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    assert_eq!((chat.lead, chat.unread), (None, 0));
    channel.send(&text("m-2", "c-1", "u-1", "new")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    assert_eq!((chat.lead.map(|lead| lead.id), chat.unread), (Some(1), 1));
}

#[tokio::test]
async fn a_second_message_with_the_same_id_is_refused_or_replayed() {
    let channel = Channel::connected(config()).await;
    let message = text("m-1", "c-1", "u-1", "hi");
    channel.send(&message).await.ok();
    channel.send(&message).await.refused(400, "duplicate_msgid");

    let replaying = switched(Switches { duplicates: Duplicates::Replay, ..Switches::default() });
    let channel = Channel::connected(replaying).await;
    let first = channel.send(&message).await.ok().json();
    assert_eq!(channel.send(&message).await.ok().json(), first);
    let chat = channel.sandbox.chats().remove(0);
    assert_eq!(channel.sandbox.messages(&chat.conversation_ref_id).len(), 1);
}

fn outgoing(msgid: &str, ref_id: &Value) -> Value {
    let mut message = text(msgid, "c-1", "our-manager", "from the messenger");
    message["sender"]["ref_id"] = ref_id.clone();
    message["receiver"] = json!({ "id": "u-1", "name": "Anna" });
    message
}

#[tokio::test]
async fn an_outgoing_message_names_a_user_or_the_bot() {
    let channel = Channel::connected(config()).await;
    let manager = json!(channel.sandbox.accounts()[0].users[0].user_ref_id);
    let bot = json!(channel.sandbox.bot_ref_id());
    let unknown = channel.send(&outgoing("m-0", &json!("6cbab3d5-c4c1-46ff-b710-ad59ad10805f"))).await;
    assert!(unknown.refused(400, "user_not_found").starts_with("sender: user not found"));
    assert!(channel.sandbox.chats().is_empty(), "what is refused leaves no trace");

    for (msgid, author, party) in [("m-1", &manager, Party::Manager), ("m-2", &bot, Party::Bot)] {
        let answer = channel.send(&outgoing(msgid, author)).await.ok().json();
        let chat = channel.sandbox.chats().remove(0);
        assert_eq!(answer["new_message"]["sender_id"], *author);
        assert_eq!(answer["new_message"]["receiver_id"], json!(chat.client.user_ref_id));
        assert_eq!(chat.last_message.expect("one").author.party, party);
        assert_eq!((chat.lead, chat.unread), (None, 0));
    }
    // The client of an outgoing message is known from then on.
    let mut other = outgoing("m-4", &bot);
    other["receiver"]["id"] = json!("u-2");
    let receiver = channel.send(&other).await.ok().json()["new_message"]["receiver_id"].clone();
    let mut by_ref = text("m-5", "c-1", "u-2-renamed", "hi");
    by_ref["sender"]["ref_id"] = receiver.clone();
    assert_eq!(channel.send(&by_ref).await.ok().json()["new_message"]["sender_id"], receiver);

    let mut without_receiver = outgoing("m-3", &manager);
    without_receiver.as_object_mut().expect("an object").remove("receiver");
    channel.send(&without_receiver).await.refused(400, "receiver_missing");
}

#[tokio::test]
async fn the_first_answer_to_write_first_pairs_both_ids() {
    let channel = Channel::connected(config()).await;
    let first = amochats_sandbox::Content::text("hello");
    let opened = channel.sandbox.write_first(&ACCOUNT.into(), "+15550100", first).await.expect("known");
    let chat = channel.sandbox.chats().remove(0);
    assert_eq!((&chat.conversation_id, &chat.client.user_id), (&None, &None));

    let mut answer = text("m-1", "c-1", "u-1", "hi");
    answer["conversation_ref_id"] = json!("6cbab3d5-c4c1-46ff-b710-ad59ad10805f");
    channel.send(&answer).await.refused(400, "conversation_not_found");
    answer["conversation_ref_id"] = json!(opened.conversation_ref_id);
    answer["sender"]["ref_id"] = json!("6cbab3d5-c4c1-46ff-b710-ad59ad10805f");
    channel.send(&answer).await.refused(400, "user_not_found");
    answer["sender"]["ref_id"] = json!(chat.client.user_ref_id);
    let taken = channel.send(&answer).await.ok().json();
    assert_eq!(taken["new_message"]["conversation_id"], json!(opened.conversation_ref_id));
    assert_eq!(taken["new_message"]["sender_id"], json!(chat.client.user_ref_id));

    // From now on the integration's ids are enough.
    let plain = channel.send(&text("m-2", "c-1", "u-1", "me again")).await.ok().json();
    assert_eq!(plain["new_message"]["sender_id"], json!(chat.client.user_ref_id));
    let chats = channel.sandbox.chats();
    assert_eq!(chats.len(), 1);
    assert_eq!(chats[0].conversation_id, Some("c-1".into()));
    assert_eq!((&*chats[0].client.name, chats[0].client.phone.as_deref()), ("Anna", Some("+15550100")));

    // An id that belongs to one chat cannot be given to another.
    let other = amochats_sandbox::Content::text("hello");
    let other = channel.sandbox.write_first(&ACCOUNT.into(), "+15550101", other).await.expect("known");
    let mut wrong = text("m-3", "c-1", "u-2", "hi");
    wrong["conversation_ref_id"] = json!(other.conversation_ref_id);
    channel.send(&wrong).await.refused(400, "conversation_taken");
}

#[tokio::test]
async fn types_are_strict_and_the_field_is_named() {
    let channel = Channel::connected(config()).await;
    let cases: [(&str, Value, &str); 5] = [
        ("/msgid", json!(5), "payload.msgid"),
        ("/sender/name", Value::Null, "payload.sender.name"),
        ("/timestamp", json!("1704067200"), "payload.timestamp"),
        ("/message/type", json!("hologram"), "payload.message.type"),
        (
            "/sender",
            json!({ "id": "u-1", "name": "A", "profile": { "phone": 15_550_100 } }),
            "payload.sender.profile.phone",
        ),
    ];
    for (pointer, value, path) in cases {
        let mut message = text("m-1", "c-1", "u-1", "hi");
        *message.pointer_mut(pointer).expect("a field") = value;
        let said = channel.send(&message).await.refused(400, "invalid_field");
        assert!(said.starts_with(path), "{said}");
    }
    let path = format!("/v2/origin/custom/{}", channel.scope);
    let raw = async |body: &str| {
        let headers =
            sign_request(&secret(), "POST", &path, CONTENT_TYPE, D0, body.as_bytes()).expect("valid");
        channel.raw("POST", &path, &headers, body.into()).await
    };
    raw("{").await.refused(400, "invalid_json");
    raw("[]").await.refused(400, "invalid_field");
    raw(r#"{"event_type":"delete_message","payload":{}}"#).await.refused(400, "invalid_field");
    assert!(channel.sandbox.chats().is_empty());
}

#[tokio::test]
async fn the_first_generation_takes_a_numeric_phone_and_answers_briefly() {
    let channel = Channel::start(SandboxConfig { personality: Personality::Gen1, ..config() }).await;
    let connected = channel.connect(&json!({ "account_id": ACCOUNT })).await.ok().json();
    assert_eq!(connected, json!({ "account_id": ACCOUNT, "scope_id": channel.scope }));
    let mut message = text("m-1", "c-1", "u-1", "hi");
    message.as_object_mut().expect("an object").remove("msec_timestamp");
    message["sender"]["profile"] = json!({ "phone": 79_151_112_233_i64 });
    let answer = channel.send(&message).await.ok().json();
    let chat = channel.sandbox.chats().remove(0);
    assert_eq!(answer, json!({ "new_message": { "msgid": chat.last_message.expect("one").message_ref_id } }));
    assert_eq!(chat.client.phone.as_deref(), Some("79151112233"));
    channel.status("m", &json!({ "status_code": 1 })).await.refused(404, "no_such_method");
}

#[tokio::test]
async fn delivery_states_are_shown() {
    let channel = Channel::connected(config()).await;
    let received = channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok().json();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let answered =
        channel.sandbox.answer(&chat, amochats_sandbox::Content::text("hello")).await.expect("known");
    let id = answered.message_ref_id.to_string();
    let state = || channel.sandbox.messages(&chat).pop().expect("the answer").delivery;
    let failed = |code, text: &str| Delivery::Error { code, text: text.into() };
    assert_eq!(state(), Delivery::Sent);

    for (body, expected) in [
        (json!({ "status_code": 1 }), Delivery::Delivered),
        (json!({ "status_code": 2 }), Delivery::Read),
        (json!({ "status_code": 1 }), Delivery::Read),
        (json!({ "status_code": -1, "error_code": 905, "error": "No route" }), failed(905, "No route")),
        // The dialect before 2025, in the vendor's own mix.
        (json!({ "msgid": id, "delivery_status": 2, "error_code": 905, "error": "x" }), Delivery::Read),
        (json!({ "msgid": id, "delivery_status": -1, "error_code": 901, "error": "" }), failed(901, "")),
    ] {
        assert_eq!(channel.status(&id, &body).await.ok().text, "");
        assert_eq!(state(), expected, "{body}");
    }
    for (body, said) in [
        (json!({}), "status_code: is required"),
        (json!({ "status_code": "1" }), "status_code: must be i64"),
        (json!({ "status_code": 3 }), "status_code: must be"),
        (json!({ "status_code": 1, "delivery_status": 1 }), "status_code: goes without"),
        (json!({ "status_code": -1 }), "error_code: is required"),
        (json!({ "status_code": -1, "error_code": 900, "error": "x" }), "error_code: must be"),
        (json!({ "status_code": -1, "error_code": 905, "error": " " }), "error: must say"),
        (json!({ "status_code": 1, "msgid": "other" }), "msgid: must be"),
    ] {
        let description = channel.status(&id, &body).await.refused(400, "invalid_field");
        assert!(description.starts_with(said), "{description}");
    }
    channel.status("m-1", &json!({ "status_code": 1 })).await.refused(404, "no_such_message");
    let incoming = received["new_message"]["msgid"].as_str().expect("an id");
    channel.status(incoming, &json!({ "status_code": 1 })).await.refused(400, "not_outgoing");

    let kommo = Channel::connected(SandboxConfig { personality: Personality::Kommo, ..config() }).await;
    kommo.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = kommo.sandbox.chats().remove(0).conversation_ref_id;
    let answered = kommo.sandbox.answer(&chat, amochats_sandbox::Content::text("a")).await.expect("known");
    let answer = kommo.status(answered.message_ref_id.as_str(), &json!({ "status_code": 2 })).await;
    assert_eq!(answer.ok().text, "{}");
}

#[tokio::test]
async fn a_seed_makes_the_same_ids_and_no_seed_others() {
    let of = async |seed| {
        let sandbox = amochats_sandbox::Sandbox::start(SandboxConfig { seed, ..SandboxConfig::default() })
            .await
            .expect("it starts");
        (sandbox.channel_id(), sandbox.secret(), sandbox.channel_code(), sandbox.accounts())
    };
    let first = of(Some(1)).await;
    assert_eq!(of(Some(1)).await, first);
    assert_ne!(of(Some(2)).await, first);
    assert_ne!(of(None).await.1, of(None).await.1);
    assert!(first.1.len() == 40 && first.1.bytes().all(|b| b.is_ascii_hexdigit()), "{}", first.1);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    for (field, config) in [
        ("secret", SandboxConfig { secret: Some("a b".into()), ..config() }),
        ("channel_id", SandboxConfig { channel_id: Some("a/b".into()), ..config() }),
        ("accounts", SandboxConfig { accounts: vec!["a_b".into()], ..config() }),
        ("accounts", SandboxConfig { accounts: vec!["a".into(), "a".into()], ..config() }),
        ("webhook_url", SandboxConfig { webhook_url: Some("nowhere".into()), ..config() }),
        ("companion_url", SandboxConfig { companion_url: Some("file:///x".into()), ..config() }),
        ("journal_capacity", SandboxConfig { journal_capacity: 0, ..config() }),
        ("hook_timeout_ms", switched(Switches { hook_timeout_ms: 0, ..Switches::default() })),
    ] {
        let error = amochats_sandbox::Sandbox::start(config).await.expect_err(field);
        assert_eq!(error.field(), Some(field));
    }
    assert!(!format!("{:?}", config()).contains(SECRET));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = SandboxConfig { api_addr: taken.local_addr().expect("bound"), ..config() };
    let error = amochats_sandbox::Sandbox::start(config).await.expect_err("the port is taken");
    assert_eq!(error.field(), Some("api_addr"));
}
