//! A state in a file: what the next start knows, and which files are refused.

mod support;

use amochats::{ErrorKind, UserRefId};
use amochats_sandbox::{Change, Content, Delivery, HookOutcome, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{ACCOUNT, CHANNEL, Channel, Receiver, SECRET, config, text, wait_for};

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sandbox.json");
    (folder, path)
}

fn kept_in(path: &Path) -> SandboxConfig {
    SandboxConfig { state: Some(path.to_owned()), ..config() }
}

/// As somebody starts it who has nothing but the file.
fn only(path: &Path) -> SandboxConfig {
    let SandboxConfig { clock, .. } = config();
    SandboxConfig { state: Some(path.to_owned()), clock, ..SandboxConfig::default() }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON")
}

/// Waits until the file is as expected; a look at it never sees a part.
async fn until(path: &Path, mut expected: impl FnMut(&Value) -> bool) -> Value {
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let seen = read(path);
            if expected(&seen) {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the file is written")
}

#[tokio::test]
async fn a_restart_keeps_what_was_said_and_agreed() {
    let (_folder, path) = folder();
    let receiver = Receiver::start(Some(200)).await;
    let webhook_url = Some(receiver.url.clone());
    let before = Channel::connected(SandboxConfig { webhook_url, ..kept_in(&path) }).await;
    let first = before.send(&text("m-1", "c-1", "u-1", "hi")).await.ok().json();
    let chat = before.sandbox.chats().remove(0).conversation_ref_id;
    let said = before.sandbox.messages(&chat).remove(0).message_ref_id;
    before.sandbox.react(&chat, &said, Some("🔥")).await.expect("known");
    let answer = before.sandbox.answer(&chat, Content::file("https://example.org/a.pdf", "a.pdf", 7)).await;
    let answer = answer.expect("known").message_ref_id;
    let unread = before.sandbox.answer(&chat, Content::text("and more")).await.expect("known").message_ref_id;
    before.status(answer.as_str(), &json!({ "status_code": 2 })).await.ok();
    let failed = json!({ "status_code": -1, "error_code": 905, "error": "no such person" });
    before.status(unread.as_str(), &failed).await.ok();
    let first_contact = before
        .sandbox
        .write_first(&ACCOUNT.into(), "+15550100", Content::text("hello"))
        .await
        .expect("known");
    let create = json!({ "conversation_id": "c-3", "user": { "id": "u-3", "name": "Boris" } });
    let created = before.call("POST", &format!("{}/chats", before.scope), &create).await.ok().json();
    let known = |sandbox: &Sandbox| {
        let chats = sandbox.chats();
        let messages: Vec<_> = chats.iter().map(|chat| sandbox.messages(&chat.conversation_ref_id)).collect();
        let channel = (sandbox.channel_id(), sandbox.secret(), sandbox.channel_code(), sandbox.bot_ref_id());
        (channel, sandbox.accounts(), chats, messages)
    };
    let kept = known(&before.sandbox);
    assert_eq!((kept.0.0.as_str(), kept.0.1.as_str(), kept.2.len()), (CHANNEL, SECRET, 2));
    before.sandbox.shutdown().await;

    // A seed would draw the same ids again.
    let after = Channel::start(SandboxConfig { seed: Some(7), ..only(&path) }).await;
    assert_eq!(known(&after.sandbox), kept);
    let messages = after.sandbox.messages(&chat);
    assert_eq!(messages[0].reactions[0].emoji, "🔥");
    assert_eq!(messages[1].delivery, Delivery::Read);
    assert_eq!(messages[2].delivery, Delivery::Error { code: 905, text: "no such person".to_owned() });

    // Connected, and what was taken is known.
    after.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(400, "duplicate_msgid");
    after.status(unread.as_str(), &json!({ "status_code": 1 })).await.ok();
    assert_eq!(after.sandbox.messages(&chat)[2].delivery, Delivery::Delivered);
    let again = after.call("POST", &format!("{}/chats", after.scope), &create).await.ok().json();
    assert_eq!(again, created);
    let second = after.send(&text("m-2", "c-1", "u-1", "me again")).await.ok().json();
    assert_eq!(second["new_message"]["conversation_id"], first["new_message"]["conversation_id"]);
    assert_eq!(second["new_message"]["sender_id"], first["new_message"]["sender_id"]);

    // The client answers the manager who wrote first.
    let opened = &first_contact.conversation_ref_id;
    let client = |sandbox: &Sandbox| -> UserRefId {
        let chats = sandbox.chats();
        let chat = chats.iter().find(|chat| chat.conversation_ref_id == *opened);
        chat.expect("it is kept").client.user_ref_id.clone()
    };
    let mut reply = text("m-3", "c-2", "u-2", "who is this?");
    reply["conversation_ref_id"] = json!(opened);
    reply["sender"]["ref_id"] = json!(client(&after.sandbox));
    let paired = after.send(&reply).await.ok().json();
    assert_eq!(paired["new_message"]["conversation_id"], json!(opened));

    // Ids and leads go on.
    let new = after.send(&text("m-4", "c-4", "u-4", "hi")).await.ok().json();
    let mut ids: Vec<_> = [&first, &second, &paired, &new]
        .map(|taken| taken["new_message"]["msgid"].as_str().expect("an id"))
        .into_iter()
        .chain([answer.as_str(), unread.as_str(), first_contact.message_ref_id.as_str()])
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7, "no id comes twice");
    let mut leads: Vec<_> =
        after.sandbox.chats().iter().filter_map(|chat| Some(chat.lead.as_ref()?.id)).collect();
    leads.sort_unstable();
    assert_eq!(leads, [1, 2, 3]);

    // The webhook's address was kept, too.
    let hook = after.sandbox.answer(&chat, Content::text("still here")).await.expect("known").hook;
    assert_eq!(hook, HookOutcome::Accepted);
    after.sandbox.shutdown().await;

    // Pairs are kept: the integration's ids lead to the chat.
    let third = Channel::start(only(&path)).await;
    let plain = third.send(&text("m-5", "c-2", "u-2", "hm")).await.ok().json();
    assert_eq!(plain["new_message"]["conversation_id"], json!(opened));
}

#[tokio::test]
async fn the_same_state_makes_the_same_file() {
    let (_folder, path) = folder();
    let channel = Channel::connected(kept_in(&path)).await;
    for i in 0..20 {
        channel
            .send(&text(&format!("m-{i}"), &format!("c-{}", i % 7), &format!("u-{}", i % 7), "hi"))
            .await
            .ok();
    }
    channel.sandbox.set_webhook_url("http://127.0.0.1:9/").expect("an address");
    channel.sandbox.shutdown().await;
    let (kept, file) =
        (fs::read(&path).expect("it is there"), fs::metadata(&path).expect("it is there").ino());

    // Nothing new, nothing written.
    Sandbox::start(only(&path)).await.expect("loaded").shutdown().await;
    assert_eq!(fs::metadata(&path).expect("it is there").ino(), file);

    let sandbox = Sandbox::start(only(&path)).await.expect("loaded");
    sandbox.set_webhook_url("http://127.0.0.1:9/").expect("an address");
    sandbox.shutdown().await;
    assert_ne!(fs::metadata(&path).expect("it is there").ino(), file, "it was written anew");
    assert_eq!(fs::read(&path).expect("it is there"), kept);

    let other = Some("http://127.0.0.1:10/".to_owned());
    let config = SandboxConfig { webhook_url: other.clone(), ..only(&path) };
    Sandbox::start(config).await.expect("loaded").shutdown().await;
    assert_eq!(
        read(&path)["channels"][0]["webhook_url"],
        json!(other),
        "the address that is given is the new one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_whole_at_any_time_and_follows_without_a_shutdown() {
    let (_folder, path) = folder();
    // What a crash left; anybody may read it.
    fs::write(path.with_extension("json.new"), "{").expect("writable");
    let channel = Channel::connected(kept_in(&path)).await;
    let mode = || fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let (seen, count) =
        (path.clone(), |file: &Value| file["chats"][0]["messages"].as_array().map_or(0, Vec::len));
    let reader = tokio::spawn(async move {
        let mut last = 0;
        until(&seen, |file| {
            let now = count(file);
            assert!(now >= last, "an older file came back");
            last = now;
            now == 60
        })
        .await
    });
    for i in 0..60 {
        channel.send(&text(&format!("m-{i}"), "c-1", "u-1", "hi")).await.ok();
    }
    let whole = reader.await.expect("always whole");
    assert_eq!(whole["accounts"][0]["connections"][0]["hook_version"], "v2");
    assert_eq!(mode(), 0o600);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_and_left_alone() {
    let (folder, path) = folder();
    let channel = Channel::connected(kept_in(&path)).await;
    channel.send(&text("m-1", "c-1", "u-1", "private words")).await.ok();
    channel.send(&text("m-2", "c-1", "u-1", "more")).await.ok();

    let taken = Sandbox::start(only(&path)).await.expect_err("in use");
    assert_eq!((taken.kind(), taken.field()), (ErrorKind::ConfigInvalid, Some("state")));
    assert!(taken.message().contains("in use by another sandbox"), "{taken}");
    channel.sandbox.shutdown().await;
    let good = fs::read_to_string(&path).expect("it is there");

    let with = |pointer: &str, value: Value| {
        let mut file: Value = serde_json::from_str(&good).expect("JSON");
        *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        file.to_string()
    };
    let twice = |pointer: &str| {
        let mut file: Value = serde_json::from_str(&good).expect("JSON");
        let list = file.pointer_mut(pointer).and_then(Value::as_array_mut).expect("a list");
        list.push(list[0].clone());
        file.to_string()
    };
    for (file, said) in [
        (String::new(), "is not a state that a sandbox kept"),
        (good[..good.len() / 2].to_owned(), "is not a state that a sandbox kept"),
        ("{}".to_owned(), "is not a state that a sandbox kept"),
        (with("/format", json!("else")), "is not a state that a sandbox kept"),
        (with("/version", json!(3)), "has the form 3 and this version knows 2"),
        (with("/chats/0/chat/unread", json!("private words")), "chats[0].chat.unread cannot be read"),
        (with("/channels/0/secret", json!("")), "channels: secret: must not be empty"),
        (with("/channels/0/channel_id", json!("../x")), "channels: channel_id: must be letters"),
        (with("/channels/0/webhook_url", json!("file:///")), "webhook_url: must be an address"),
        (with("/accounts", json!([])), "there is no account"),
        (with("/accounts/0/users", json!([])), "an account has no user"),
        (twice("/accounts"), "an account is there twice"),
        (with("/chats/0/chat/account_id", json!("else")), "a chat is of no account"),
        (twice("/chats"), "two chats have the same id"),
        (twice("/chats/0/messages"), "two messages have the same id"),
        (with("/chats/0/chat/unread", json!(3)), "more messages are unread than there are"),
        (with("/chats/0/chat/lead/id", json!(u64::MAX)), "a lead has a number that was not given yet"),
        (with("/chats/0/messages/0/sent_at_msec", json!(i64::MAX)), "not in the order of their times"),
        (with("/chats/0/messages/0/conversation_ref_id", json!("else")), "a message is in another chat"),
    ] {
        fs::write(&path, &file).expect("writable");
        let error = Sandbox::start(only(&path)).await.expect_err(said);
        assert_eq!((error.kind(), error.field()), (ErrorKind::ConfigInvalid, Some("state")), "{error}");
        assert!(error.message().contains(said), "{said}: {error}");
        assert!(
            error.message().contains("sandbox.json") && !error.message().contains("private words"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).expect("it is there"), file);
    }

    fs::write(&path, &good).expect("writable");
    for (config, field) in [
        (SandboxConfig { channel_id: Some("else".into()), ..only(&path) }, "channel_id"),
        (SandboxConfig { secret: Some("else".into()), ..only(&path) }, "secret"),
        (SandboxConfig { channel_code: Some("else".into()), ..only(&path) }, "channel_code"),
        (SandboxConfig { accounts: vec![ACCOUNT.into(), "else".into()], ..only(&path) }, "accounts"),
    ] {
        let error = Sandbox::start(config).await.expect_err(field);
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some(field)));
        assert!(
            error.message().contains("choose another file") && !error.message().contains(SECRET),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&path).expect("it is there"), good);
    Sandbox::start(kept_in(&path)).await.expect("the same ids are no contradiction").shutdown().await;

    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("writable");
    for unusable in [folder.path().join("missing/sandbox.json"), inner, "/".into()] {
        let error = Sandbox::start(only(&unusable)).await.expect_err("unusable");
        assert_eq!((error.kind(), error.field()), (ErrorKind::ConfigInvalid, Some("state")), "{error}");
    }
}

#[tokio::test]
async fn without_its_folder_it_goes_on_and_writes_when_it_can() {
    let (folder, _) = folder();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("writable");
    let path = inner.join("sandbox.json");
    let channel = Channel::connected(kept_in(&path)).await;
    until(&path, |file| !file["accounts"][0]["connections"][0].is_null()).await;
    fs::remove_dir_all(&inner).expect("writable");

    let mut changes = channel.sandbox.subscribe();
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    wait_for(&mut changes, |change| matches!(change, Change::Message { .. })).await;
    assert_eq!(channel.sandbox.chats().len(), 1);
    fs::create_dir(&inner).expect("writable");
    channel.send(&text("m-2", "c-1", "u-1", "hi")).await.ok();
    channel.sandbox.shutdown().await;
    assert_eq!(read(&path)["chats"][0]["messages"].as_array().map(Vec::len), Some(2));
}
