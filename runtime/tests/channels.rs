//! Channels and accounts that come, change and go while everything runs.

#[expect(dead_code, reason = "most of it is for the listener")]
mod support;

use amochats::{ChannelId, ErrorKind, SIGNATURE_HEADER};
use amochats_runtime::config::{AccountConfig, ChannelConfig};
use std::time::Duration;
use support::{ACCOUNT, CHANNEL, OLD_SECRET, SECRET, World, message, request, signature, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const OTHER: &str = "b5590ddd-5d7f-11e7-907b-a6006ad3dba0";

fn other(secret: &str) -> ChannelConfig {
    ChannelConfig { base_url: Some("http://127.0.0.1:9".into()), ..ChannelConfig::new(OTHER, secret) }
}

/// What a webhook of this channel is answered.
async fn hook(world: &World, channel: &str, id: &str, secret: &str) -> u16 {
    let body = message(id, "hello");
    let signature = signature(secret, body.as_bytes());
    let headers = [(SIGNATURE_HEADER, signature.as_str())];
    world.ask(&request(&format!("/webhook/{channel}_{ACCOUNT}"), &headers, body.as_bytes())).await.status
}

#[tokio::test]
async fn a_channel_comes_and_goes() {
    let world = World::new().await;
    assert_eq!(hook(&world, OTHER, "m1", "first").await, 404);
    world.runtime.set_channel(other("first")).expect("added");
    assert_eq!(hook(&world, OTHER, "m1", "first").await, 200);
    assert_eq!(hook(&world, CHANNEL, "m2", SECRET).await, 200, "the other one goes on");
    world.runtime.set_channel(other("second")).expect("replaced");
    assert_eq!(hook(&world, OTHER, "m3", "first").await, 401);
    assert_eq!(hook(&world, OTHER, "m3", "second").await, 200);
    let error = world.runtime.set_channel(other("line\nbreak")).expect_err("refused");
    assert_eq!((error.kind(), error.field()), (ErrorKind::ConfigInvalid, Some("channel.secret")));
    assert_eq!(hook(&world, OTHER, "m4", "second").await, 200, "and nothing has changed");

    world.runtime.remove_channel(&ChannelId::new(OTHER)).expect("removed");
    assert_eq!(hook(&world, OTHER, "m5", "second").await, 404);
    let gone = world.runtime.remove_channel(&ChannelId::new(OTHER)).expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::UnknownChannel);
    let last = world.runtime.remove_channel(&ChannelId::new(CHANNEL)).expect_err("the only one");
    assert_eq!(last.kind(), ErrorKind::ConfigInvalid);
    assert_eq!(hook(&world, CHANNEL, "m6", SECRET).await, 200);
}

#[tokio::test]
async fn a_secret_is_rotated() {
    let world = World::new().await;
    let id = ChannelId::new(CHANNEL);
    // The clock stands at 2023-11-14T22:13:20Z.
    world.runtime.rotate_secret(&id, "new", Some("2023-11-14T22:14:20Z")).expect("rotated");
    for (place, secret) in ["new", SECRET, OLD_SECRET].into_iter().enumerate() {
        assert_eq!(hook(&world, CHANNEL, &format!("m{place}"), secret).await, 200, "{secret}");
    }
    let channel = world.runtime.channels().get(&id).expect("there");
    let signed =
        channel.sign_request("GET", "/v2", "", "Tue, 14 Nov 2023 22:13:20 GMT", b"").expect("signed");
    let alone = amochats::sign_request(
        &amochats::ChannelSecret::new("new").expect("clean"),
        "GET",
        "/v2",
        "",
        "Tue, 14 Nov 2023 22:13:20 GMT",
        b"",
    );
    assert_eq!(signed, alone.expect("signed"), "calls are signed with the new one");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(hook(&world, CHANNEL, "m4", SECRET).await, 401, "its time is over");
    assert_eq!(hook(&world, CHANNEL, "m4", "new").await, 200);
    let error = world.runtime.rotate_secret(&id, "newer", Some("tomorrow")).expect_err("refused");
    assert_eq!((error.kind(), error.field()), (ErrorKind::ConfigInvalid, Some("channel.old_secrets")));
    assert_eq!(hook(&world, CHANNEL, "m5", "newer").await, 401, "and nothing has changed");
}

#[tokio::test]
async fn an_account_that_is_added_is_connected() {
    let service = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut config = support::config();
    config.channels[0].base_url = Some(format!("http://{}", service.local_addr().expect("bound")));
    let world = World::with(config).await;
    let account = || AccountConfig {
        id: "11fa84f7-6b61-4086-98ed-0a9de19ee15c".into(),
        connect: true,
        title: None,
        hook_version: None,
        crm_account_id: None,
    };
    let id = ChannelId::new(CHANNEL);
    world.runtime.set_account(&id, account()).expect("added");
    let (mut called, _) = soon("call", service.accept()).await.expect("a connection");
    let mut head = vec![0; 200];
    let count = called.read(&mut head).await.expect("readable");
    let head = String::from_utf8_lossy(&head[..count]).into_owned();
    assert!(head.starts_with(&format!("POST /v2/origin/custom/{CHANNEL}/connect")), "{head}");
    called.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await.expect("sent");

    let bad = AccountConfig { hook_version: Some("v3".into()), ..account() };
    assert_eq!(world.runtime.set_account(&id, bad).expect_err("refused").kind(), ErrorKind::ConfigInvalid);
    let account_id = account().id.into();
    world.runtime.remove_account(&id, &account_id).expect("removed");
    let gone = world.runtime.remove_account(&id, &account_id).expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
