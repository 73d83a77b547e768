//! Every call of the client against the sandbox over TCP: success, and each answer that the vendor
//! documents, in both regions' habits. What breaks on the way is in `core/tests/calls.rs`.

use amochats::{
    ChannelSecret, Client, Connect, Content, CreateChat, DeliveryErrorCode, DeliveryStatus, EditMessage,
    ErrorKind, History, MessageRefId, NewMessage, Reaction, Result, ScopeId, Sender, Typing,
};
use amochats_sandbox::{Personality, Sandbox, SandboxConfig, Switches};
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const SCOPE: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0_13fa84f7-6b61-4086-98ed-0a9de19ee15c";
/// A channel that the service does not know.
const OTHER: &str = "b4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const AT: i64 = 1_704_067_200_000;

/// A connected account with the chat `c`, in which the client `u` wrote `m` and a manager answered.
struct Desk {
    sandbox: Sandbox,
    chat: String,
    answer: MessageRefId,
}

impl Desk {
    async fn open(personality: Personality) -> Self {
        let config = SandboxConfig {
            channel_id: Some(CHANNEL.into()),
            secret: Some(SECRET.into()),
            accounts: vec![ACCOUNT.into()],
            personality,
            switches: Switches::strict(),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(config).await.expect("loopback");
        let client = client(&sandbox, CHANNEL, SECRET);
        client.connect(&Connect::new(ACCOUNT).with_title("Shop")).await.expect("connected");
        let receipt = client.send_message(&SCOPE.into(), &message("m")).await.expect("accepted");
        let chat = receipt.conversation_ref_id.expect("named");
        let answer = sandbox.answer(&chat, amochats_sandbox::Content::text("yes")).await.expect("known");
        Self { chat: chat.to_string(), answer: answer.message_ref_id, sandbox }
    }
}

fn client(sandbox: &Sandbox, channel: &str, secret: &str) -> Client {
    let secret = ChannelSecret::new(secret).expect("clean");
    Client::builder(channel, secret).base_url(sandbox.api_url()).build().expect("valid")
}

fn message(id: &str) -> NewMessage {
    NewMessage::incoming("c", id, AT, Sender::new("u", "Anna"), Content::text("Is it still there?"))
}

/// What a call is made with; a case changes one thing.
#[derive(Clone)]
struct With {
    account: String,
    scope: ScopeId,
    chat: String,
    /// The chat, by our id.
    conversation: String,
    message: String,
    message_ref: MessageRefId,
    /// The manager who is named as the author of an outgoing message.
    author: Option<String>,
}

/// How the service refuses, or none where it does not.
type Answer = Option<(ErrorKind, u16)>;

type Ran<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
type Run = for<'a> fn(&'a Client, &'a With) -> Ran<'a>;

const CALLS: [(&str, Run); 10] = [
    ("connect", |client, with| {
        Box::pin(async { client.connect(&Connect::new(&*with.account).with_title("Shop")).await.map(drop) })
    }),
    ("disconnect", |client, with| Box::pin(async { client.disconnect(&with.account.as_str().into()).await })),
    ("send_message", |client, with| {
        Box::pin(async {
            let mut sent =
                NewMessage { conversation_id: with.conversation.as_str().into(), ..message("m-2") };
            if let Some(author) = &with.author {
                let manager = Sender::new("m", "Manager").with_ref_id(author.as_str());
                sent.receiver = Some(std::mem::replace(&mut sent.sender, manager));
            }
            client.send_message(&with.scope, &sent).await.map(drop)
        })
    }),
    ("edit_message", |client, with| {
        Box::pin(async {
            let edit =
                EditMessage::by_id(&*with.conversation, &*with.message, AT, Content::text("Still there?"));
            client.edit_message(&with.scope, &edit).await.map(drop)
        })
    }),
    ("create_chat", |client, with| {
        Box::pin(async {
            let chat = CreateChat::new("c-2", Sender::new("u-2", "Bo").with_phone("+15550100"));
            client.create_chat(&with.scope, &chat).await.map(drop)
        })
    }),
    ("history", |client, with| {
        Box::pin(async { client.history(&with.scope, &History::of(&*with.chat)).await.map(drop) })
    }),
    ("history_all", |client, with| {
        Box::pin(async {
            let all = client.history_all(&with.scope, History::of(&*with.chat).with_limit(1));
            all.try_collect::<Vec<_>>().await.map(drop)
        })
    }),
    ("send_typing", |client, with| {
        Box::pin(async { client.send_typing(&with.scope, &Typing::new(&*with.conversation, "u")).await })
    }),
    ("react", |client, with| {
        Box::pin(async {
            let reaction = Reaction::react(&*with.conversation, &*with.message, "u", "👍");
            client.react(&with.scope, &reaction).await
        })
    }),
    ("set_delivery_status", |client, with| {
        Box::pin(async {
            let status = DeliveryStatus::Failed { code: DeliveryErrorCode::Other, error: "No route".into() };
            client.set_delivery_status(&with.scope, &with.message_ref, &status).await
        })
    }),
];

#[test]
fn every_call_has_a_case() {
    let sources =
        [include_str!("../../core/src/client/mod.rs"), include_str!("../../core/src/client/history.rs")];
    let mut calls: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.lines().map(str::trim_start))
        .filter_map(|line| {
            line.strip_prefix("pub async fn ")
                .or_else(|| line.strip_prefix("pub fn ").filter(|name| name.starts_with("history")))
        })
        .filter_map(|name| name.split(['(', '<']).next())
        .collect();
    // The two that take any request: the others are made of them.
    assert!(calls.remove("call") && calls.remove("call_for"));
    assert_eq!(calls, CALLS.iter().map(|(name, _)| *name).collect());
}

#[tokio::test]
async fn every_call_is_answered_as_documented() {
    for personality in [Personality::Ru, Personality::Kommo] {
        let kommo = personality == Personality::Kommo;
        for (name, run) in CALLS {
            let desk = Desk::open(personality).await;
            let right = With {
                account: ACCOUNT.into(),
                scope: SCOPE.into(),
                chat: desk.chat.clone(),
                conversation: "c".into(),
                message: "m".into(),
                message_ref: desk.answer.clone(),
                author: None,
            };
            let nobody = "00000000-0000-4000-8000-000000000000";
            // Wrong in one way each: what it is called, and what the service answers, by its pages.
            let with = |change: fn(&mut With, &str)| {
                let mut with = right.clone();
                change(&mut with, nobody);
                with
            };
            let account = with(|with, nobody| with.account = nobody.into());
            let message = with(|with, nobody| {
                with.message = nobody.into();
                with.message_ref = nobody.into();
            });
            let cases: Vec<(&str, With, Answer)> = match name {
                "connect" | "disconnect" => {
                    vec![("account", account, Some((ErrorKind::Rejected, 400)))]
                }
                "send_message" => {
                    let author = with(|with, nobody| with.author = Some(nobody.into()));
                    vec![("author", author, Some((ErrorKind::Rejected, 400)))]
                }
                // The error is said to be in the data.
                "edit_message" => vec![("message", message, Some((ErrorKind::Rejected, 400)))],
                "create_chat" => vec![],
                // 204: no such chat.
                "history" | "history_all" => {
                    vec![("chat", with(|with, nobody| with.chat = nobody.into()), None)]
                }
                "send_typing" => {
                    let chat = with(|with, nobody| with.conversation = nobody.into());
                    let answer = if kommo { (ErrorKind::NotFound, 404) } else { (ErrorKind::Rejected, 400) };
                    vec![("chat", chat, Some(answer))]
                }
                "react" | "set_delivery_status" => {
                    vec![("message", message, Some((ErrorKind::NotFound, 404)))]
                }
                other => panic!("{other} has no case"),
            };
            for (what, with, expected) in cases {
                let ended = run(&client(&desk.sandbox, CHANNEL, SECRET), &with).await;
                let told = ended.err().map(|error| (error.kind(), error.http_status().unwrap_or_default()));
                assert_eq!(told, expected, "{personality:?} {name} with another {what}");
            }

            let error = run(&client(&desk.sandbox, CHANNEL, "another-secret"), &right).await;
            let error = error.expect_err("another secret");
            assert_eq!((error.kind(), error.http_status()), (ErrorKind::Forbidden, Some(403)), "{name}");
            let vendor = error.vendor().and_then(|vendor| vendor.error_type.as_deref());
            assert_eq!(vendor, Some("signature_mismatch"), "{name}");

            let elsewhere = With { scope: format!("{OTHER}_{ACCOUNT}").into(), ..right.clone() };
            let error = run(&client(&desk.sandbox, OTHER, SECRET), &elsewhere).await.expect_err(OTHER);
            assert_eq!((error.kind(), error.http_status()), (ErrorKind::NotFound, Some(404)), "{name}");

            run(&client(&desk.sandbox, CHANNEL, SECRET), &right)
                .await
                .unwrap_or_else(|error| panic!("{personality:?} {name}: {error} {:?}", error.vendor()));
            desk.sandbox.shutdown().await;
        }
    }
}
