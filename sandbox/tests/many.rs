//! Several channels, accounts and users in one sandbox, and lists of many chats by pages.

mod support;

use amochats::{AccountId, ApiRequest, ChannelId, ChannelSecret, ConversationRefId, ScopeId};
use amochats_sandbox::{
    Connection, Content, Features, NewAccount, NewChannel, NewUser, Party, SandboxConfig, Writing,
};
use serde_json::{Value, json};
use support::{ACCOUNT, Answer, CHANNEL, Channel, Receiver, config, hmac_hex_keyed, text};

const OTHER_SECRET: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "7a1f0b8e-1d6b-4b7c-8f6e-2f7c3f5f9a10";

/// A call of another channel than the first.
async fn call(channel: &Channel, secret: &str, path: &str, body: &Value) -> Answer {
    let path = format!("/v2/origin/custom/{path}");
    let request = ApiRequest { method: "POST", path, body: body.to_string().into_bytes() };
    let secret = ChannelSecret::new(secret).expect("clean");
    let headers = request.sign(&secret, &channel.date).expect("valid");
    channel.raw("POST", &request.path, &headers, request.body.clone()).await
}

fn two_channels() -> SandboxConfig {
    let other = NewChannel {
        channel_id: Some(OTHER.into()),
        secret: Some(OTHER_SECRET.into()),
        ..NewChannel::default()
    };
    SandboxConfig { channels: vec![other], ..config() }
}

#[tokio::test]
async fn each_channel_has_its_own_secret_chats_ids_and_webhooks() {
    let (mut first, mut second) = (Receiver::start(Some(200)).await, Receiver::start(Some(200)).await);
    let channel = Channel::connected(two_channels()).await;
    let sandbox = &channel.sandbox;
    sandbox.set_webhook_url(&*first.url).expect("an address");
    let mut other = sandbox.channels().remove(1);
    other.webhook_url = Some(second.url.clone());
    sandbox.update_channel(other).expect("known");
    let connect = json!({ "account_id": ACCOUNT, "hook_api_version": "v2", "title": "Other" });
    let path = format!("{OTHER}/connect");
    call(&channel, support::SECRET, &path, &connect).await.refused(403, "signature_mismatch");
    call(&channel, OTHER_SECRET, &path, &connect).await.ok();
    let scope = ScopeId::of(&OTHER.into(), &ACCOUNT.into());
    let titles: Vec<_> =
        sandbox.accounts()[0].connections.iter().map(|c: &Connection| c.title.clone()).collect();
    assert_eq!(titles, ["Sandbox", "Other"]);

    // The same ids of the integration mean two chats, two people and two messages.
    let message = json!({ "event_type": "new_message", "payload": text("m-1", "c-1", "u-1", "hi") });
    let one = channel.call("POST", channel.scope.as_str(), &message).await.ok().json();
    let two = call(&channel, OTHER_SECRET, scope.as_str(), &message).await.ok().json();
    for field in ["conversation_id", "sender_id", "msgid"] {
        assert_ne!(one["new_message"][field], two["new_message"][field], "{field}");
    }
    call(&channel, OTHER_SECRET, scope.as_str(), &message).await.refused(400, "duplicate_msgid");

    // A channel cannot see the other's chats.
    let foreign = one["new_message"]["conversation_id"].as_str().expect("an id");
    let mut reply = text("m-2", "c-2", "u-2", "hi");
    reply["conversation_ref_id"] = json!(foreign);
    let reply = json!({ "event_type": "new_message", "payload": reply });
    call(&channel, OTHER_SECRET, scope.as_str(), &reply).await.refused(400, "conversation_not_found");

    for (answer, secret, receiver, scope) in
        [(&one, support::SECRET, &mut first, &channel.scope), (&two, OTHER_SECRET, &mut second, &scope)]
    {
        let chat = ConversationRefId::from(answer["new_message"]["conversation_id"].as_str().expect("an id"));
        sandbox.answer(&chat, Content::text("yes")).await.expect("known");
        let hook = receiver.next().await;
        assert_eq!(hook.path, format!("/in/{scope}"));
        let signed = hook.text().strip_suffix('\n').expect("a line feed");
        assert_eq!(
            hook.headers["x-signature"],
            hmac_hex_keyed(secret.as_bytes(), signed.as_bytes()).as_str()
        );
    }

    sandbox.remove_channel(&ChannelId::from(OTHER)).expect("known");
    assert_eq!(sandbox.accounts()[0].connections.len(), 1);
    call(&channel, OTHER_SECRET, scope.as_str(), &message).await.refused(404, "no_such_channel");
    assert_eq!(sandbox.chats().len(), 2, "what was said stays");
    assert!(sandbox.remove_channel(&channel.sandbox.channel_id()).is_err(), "the last one stays");
}

#[tokio::test]
async fn webhooks_v1_may_have_an_address_of_their_own() {
    let (mut old, mut new) = (Receiver::start(Some(200)).await, Receiver::start(Some(200)).await);
    let channel = Channel::start(config()).await;
    let mut registered = channel.sandbox.channels().remove(0);
    registered.webhook_url = Some(new.url.clone());
    registered.webhook_url_v1 = Some(old.url.clone());
    channel.sandbox.update_channel(registered).expect("known");
    channel.connect(&json!({ "account_id": ACCOUNT })).await.ok();
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    channel.sandbox.answer(&chat, Content::text("a")).await.expect("known");
    assert_eq!(old.next().await.json()["receiver"], "u-1");
    // "Write first" is always v2.
    channel.sandbox.write_first(&ACCOUNT.into(), "+15550100", Content::text("a")).await.expect("known");
    assert!(new.next().await.json()["message"].is_object());
}

#[tokio::test]
async fn accounts_have_users_who_answer_in_their_name() {
    let mut receiver = Receiver::start(Some(200)).await;
    let config = SandboxConfig { webhook_url: Some(receiver.url.clone()), ..config() };
    let channel = Channel::connected(config).await;
    let sandbox = &channel.sandbox;
    let account = sandbox
        .add_account(NewAccount { subdomain: Some("second".into()), ..NewAccount::default() })
        .expect("new");
    let boris = NewUser { name: Some("Boris".into()), ..NewUser::default() };
    let boris = sandbox.add_user(&account.account_id, boris).expect("new");
    assert_ne!((boris.id, account.id), (account.users[0].id, sandbox.accounts()[0].id));
    channel.connect(&json!({ "account_id": account.account_id, "hook_api_version": "v2" })).await.ok();
    let scope = ScopeId::of(&CHANNEL.into(), &account.account_id);
    let message = json!({ "event_type": "new_message", "payload": text("m-1", "c-1", "u-1", "hi") });
    channel.call("POST", scope.as_str(), &message).await.ok();
    let chat = sandbox.chats().remove(0);
    assert_eq!(chat.account_id, account.account_id);
    let writing =
        Writing { user_ref_id: Some(boris.user_ref_id.clone()), ..Writing::of(Content::text("yes")) };
    sandbox.write(&chat.conversation_ref_id, writing).await.expect("known");
    let hook = receiver.next().await.json();
    assert_eq!(hook["account_id"], json!(account.account_id));
    assert_eq!(hook["message"]["sender"], json!({ "id": boris.user_ref_id, "name": "Boris" }));
    // A user of one account is nobody in another.
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let elsewhere =
        sandbox.chats().into_iter().find(|chat| chat.account_id == AccountId::from(ACCOUNT)).expect("one");
    let writing =
        Writing { user_ref_id: Some(boris.user_ref_id.clone()), ..Writing::of(Content::text("yes")) };
    let error = sandbox.write(&elsewhere.conversation_ref_id, writing).await.expect_err("nobody");
    assert_eq!(error.field(), Some("user_ref_id"));
    let mut outgoing = text("m-2", "c-1", "b", "from the messenger");
    outgoing["sender"]["ref_id"] = json!(boris.user_ref_id);
    outgoing["receiver"] = json!({ "id": "u-1", "name": "Anna" });
    channel.send(&outgoing).await.refused(400, "user_not_found");
    let outgoing = json!({ "event_type": "new_message", "payload": outgoing });
    channel.call("POST", scope.as_str(), &outgoing).await.ok();
    let last =
        sandbox.messages(&chat.conversation_ref_id).into_iter().find(|m| m.message_id == Some("m-2".into()));
    assert_eq!(last.expect("taken").author.party, Party::Manager);

    for new in [
        NewAccount { account_id: Some(ACCOUNT.into()), ..NewAccount::default() },
        NewAccount { subdomain: Some("SECOND".into()), ..NewAccount::default() },
        NewAccount { subdomain: Some("a.b".into()), ..NewAccount::default() },
        NewAccount { id: Some(account.id), ..NewAccount::default() },
    ] {
        sandbox.add_account(new.clone()).expect_err(&format!("{new:?}"));
    }
}

#[tokio::test]
async fn a_client_of_several_chats_is_one_contact() {
    let channel = Channel::connected(config()).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    channel.send(&text("m-2", "c-2", "u-1", "hi")).await.ok();
    channel.send(&text("m-3", "c-3", "u-2", "hi")).await.ok();
    let mut ids: Vec<_> = channel
        .sandbox
        .chats()
        .into_iter()
        .map(|chat| {
            (chat.conversation_id.expect("own").to_string(), chat.contact_id, chat.lead.map(|l| l.id))
        })
        .collect();
    ids.sort();
    let expected = [("c-1", 1, 1), ("c-2", 1, 2), ("c-3", 2, 3)];
    assert_eq!(ids, expected.map(|(own, contact, lead)| (own.to_owned(), Some(contact), Some(lead))));
}

#[tokio::test]
async fn what_a_channel_was_registered_without_cannot_be_done() {
    let features =
        Features { typing: false, quoting: false, reactions: false, write_first: false, time_window_s: None };
    let channel = Channel::connected(config()).await;
    let mut registered = channel.sandbox.channels().remove(0);
    registered.features = features;
    channel.sandbox.update_channel(registered).expect("known");
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let message = channel.sandbox.messages(&chat).remove(0).message_ref_id;
    assert_eq!(channel.sandbox.typing(&chat).await.expect("known"), None);
    channel.sandbox.reply(&chat, &message, Content::text("a")).await.expect_err("no quoting");
    channel.sandbox.react(&chat, &message, Some("👍")).await.expect_err("no reactions");
    let first = channel.sandbox.write_first(&ACCOUNT.into(), "+15550100", Content::text("a")).await;
    assert_eq!(first.expect_err("not first").field(), Some("channel_id"));
}

#[tokio::test]
async fn a_sandbox_that_is_full_says_so_and_a_reset_makes_room() {
    let channel = Channel::connected(SandboxConfig { memory_max: 10_000, ..config() }).await;
    let mut sent = 0;
    loop {
        let answer = channel.send(&text(&format!("m-{sent}"), "c-1", "u-1", "hi")).await;
        if answer.status != 200 {
            answer.refused(507, "sandbox_full");
            break;
        }
        sent += 1;
    }
    assert!((3..12).contains(&sent), "{sent}");
    channel.sandbox.reset();
    assert!(channel.sandbox.chats().is_empty());
    channel.send(&text("m-0", "c-1", "u-1", "hi")).await.ok();
}
