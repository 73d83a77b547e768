//! The CRM client against the sandbox over TCP: each call, its success and each documented error.
//!
//! What was covered is read from the sandbox's journal, so the table below is the list that a call
//! cannot be missing from.

mod support;

use amochats::crm::{
    ChatLink, ClientSecret, Integration, LinkedTo, NewContact, NewSource, NewSubscription, NewTemplate,
    Request, ReviewStatus, SourceChange, SourceService, SourceServiceParams, TemplateAttachment,
    TemplateButton, TemplateChange, Token,
};
use amochats::{ConversationRefId, CrmClient, Error, ErrorKind, Result};
use amochats_sandbox::{IntegrationSettings, Personality, SandboxConfig, Switches};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::time::Duration;
use support::{Channel, config, text};

/// The calls with the codes that the reference documents (chats API reference, sections 7 and 12).
const TABLE: &[(&str, &[u16])] = &[
    ("GET /api/v4/account", &[200, 401]),
    ("GET /api/v4/users", &[200, 401, 403]),
    ("GET /api/v4/users/{}", &[200, 401, 403]),
    ("GET /private/api/v2/json/accounts/current", &[200, 401]),
    ("POST /api/v4/contacts", &[200, 400, 401]),
    ("POST /api/v4/contacts/chats", &[200, 400, 401, 403]),
    ("GET /api/v4/contacts/chats", &[200, 400, 401, 403]),
    ("GET /api/v4/sources", &[200, 204, 403]),
    ("GET /api/v4/sources/{}", &[200, 204, 403]),
    ("POST /api/v4/sources", &[200, 400, 401]),
    ("PATCH /api/v4/sources", &[200, 400, 401]),
    ("PATCH /api/v4/sources/{}", &[200, 400, 401]),
    ("DELETE /api/v4/sources", &[204, 400, 401]),
    ("DELETE /api/v4/sources/{}", &[204, 401, 404]),
    ("GET /api/v4/chats/templates", &[200, 204, 401]),
    ("GET /api/v4/chats/templates/{}", &[200, 401, 404]),
    ("POST /api/v4/chats/templates", &[200, 400, 401, 422]),
    ("PATCH /api/v4/chats/templates", &[200, 400, 401]),
    ("PATCH /api/v4/chats/templates/{}", &[200, 400, 401]),
    ("POST /api/v4/chats/templates/{}/review", &[200, 401]),
    ("POST /api/v4/chats/templates/{}/review/{}", &[200, 400, 401]),
    ("DELETE /api/v4/chats/templates", &[204, 400, 401, 403]),
    ("DELETE /api/v4/chats/templates/{}", &[204, 400, 401, 403]),
    ("GET /api/v4/talks/{}", &[200, 401, 402, 403, 404]),
    ("POST /api/v4/talks/{}/close", &[202, 401, 402, 403, 404, 422]),
    ("POST /api/v4/webhooks", &[201, 400, 401]),
    ("GET /api/v4/webhooks", &[200, 204, 401]),
    ("DELETE /api/v4/webhooks", &[204, 401]),
    ("POST /oauth2/access_token", &[200, 400]),
    ("POST /oauth2/exchange_api_key", &[202, 400, 401, 429]),
    ("GET /oauth2/account/current/subdomain", &[200, 401]),
];

/// A sandbox with one chat of a client, and a client of its CRM.
struct World {
    channel: Channel,
    client_id: String,
    chat: ConversationRefId,
    crm: CrmClient,
}

fn client(channel: &Channel, token: &str) -> CrmClient {
    CrmClient::builder()
        .base_url(channel.sandbox.api_url())
        .request_interval(Duration::ZERO)
        .retry_delay(Duration::from_millis(1))
        .token(Token::new(token).expect("a token"))
        .build()
        .expect("valid")
}

impl World {
    async fn start(config: SandboxConfig) -> Self {
        let switches = Switches { crm_requests_per_second: None, ..config.switches.clone() };
        let channel = Channel::connected(SandboxConfig { switches, ..config }).await;
        channel.send(&text("m-1", "c-1", "u-1", "hello")).await.ok();
        let crm = channel.sandbox.crm();
        let client_id = crm.integrations()[0].client_id.clone();
        let token = crm.issue_token(&client_id, &channel.account, None, 1).expect("issued");
        let chat = channel.sandbox.chats()[0].conversation_ref_id.clone();
        Self { crm: client(&channel, &token), client_id, chat, channel }
    }

    fn integration(&self) -> Integration {
        let registered = self.channel.sandbox.crm().integrations().remove(0);
        Integration {
            client_id: registered.client_id,
            client_secret: ClientSecret::new(registered.client_secret).expect("clean"),
            redirect_uri: registered.redirect_uri,
        }
    }

    fn number(&self, pointer: &str) -> i64 {
        let overview = self.channel.sandbox.crm().overview();
        overview
            .pointer(pointer)
            .and_then(serde_json::Value::as_i64)
            .unwrap_or_else(|| panic!("{pointer}: {overview}"))
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answered: Result<T>, status: u16, kind: ErrorKind) -> Error {
    let error = answered.expect_err("refused");
    assert_eq!((error.http_status(), error.kind()), (Some(status), kind), "{error}: {:?}", error.field());
    assert!(!error.may_have_been_applied());
    error
}

#[track_caller]
fn code_of(error: &Error) -> String {
    let problem = error.vendor().and_then(|vendor| vendor.problem.as_deref()).expect("a problem");
    problem.errors.first().and_then(|first| first.code.clone()).or(problem.code.clone()).expect("a code")
}

fn subscription(address: &str) -> NewSubscription {
    NewSubscription { destination: address.into(), settings: vec!["add_talk".into()], sort: None }
}

fn change(id: i64) -> SourceChange {
    SourceChange { id, name: Some("renamed".into()), ..SourceChange::default() }
}

fn edit(id: i64) -> TemplateChange {
    TemplateChange { id, content: Some("changed".into()), ..TemplateChange::default() }
}

/// Every call that goes with a token, none of which changes anything where it is refused.
fn every_call<'a>(crm: &'a CrmClient, world: &'a World) -> Vec<(&'static str, BoxFuture<'a, Result<()>>)> {
    macro_rules! calls {
        ($($name:literal => $call:expr;)*) => {
            vec![$(($name, Box::pin(async move { $call.await.map(drop) }) as BoxFuture<'a, Result<()>>),)*]
        };
    }
    calls! {
        "account" => crm.account();
        "users" => crm.users(1);
        "user" => crm.user(1);
        "add_contacts" => crm.add_contacts(&[NewContact::default()]);
        "link_chats" => crm.link_chats(&[ChatLink::new(1, world.chat.clone())]);
        "linked_chats" => crm.linked_chats(LinkedTo::Contacts(&[1]));
        "sources" => crm.sources(&[]);
        "source" => crm.source(1);
        "add_sources" => crm.add_sources(&[NewSource::new("n", "e")]);
        "update_sources" => crm.update_sources(&[change(1)]);
        "update_source" => crm.update_source(&change(1));
        "delete_sources" => crm.delete_sources(&[1]);
        "delete_source" => crm.delete_source(1);
        "templates" => crm.templates(1, None);
        "template" => crm.template(1);
        "add_templates" => crm.add_templates(&[NewTemplate::new("n", "c")]);
        "update_templates" => crm.update_templates(&[edit(1)]);
        "update_template" => crm.update_template(&edit(1));
        "submit_template" => crm.submit_template(1);
        "set_review_status" => crm.set_review_status(1, 1, &ReviewStatus::Paused);
        "delete_templates" => crm.delete_templates(&[1]);
        "delete_template" => crm.delete_template(1);
        "talk" => crm.talk(1);
        "close_talk" => crm.close_talk(1, false);
        "subscribe" => crm.subscribe(&subscription("https://example.test"));
        "subscriptions" => crm.subscriptions();
        "unsubscribe" => crm.unsubscribe("https://example.test");
    }
}

#[tokio::test]
async fn every_call_of_the_tables_is_answered_as_documented() {
    let world = World::start(SandboxConfig { journal_capacity: 10_000, ..config() }).await;
    who_may_not_call(&world).await;
    account_and_users(&world).await;
    links(&world).await;
    sources(&world).await;
    templates(&world).await;
    talks(&world).await;
    subscriptions(&world).await;
    oauth(&world).await;

    let covered: BTreeSet<(String, u16)> = world
        .channel
        .sandbox
        .journal()
        .into_iter()
        .filter_map(|entry| {
            let path = entry.summary.target.split('?').next().unwrap_or_default();
            let segments = path.split('/').map(|part| if part.parse::<i64>().is_ok() { "{}" } else { part });
            let path = segments.collect::<Vec<_>>().join("/");
            Some((format!("{} {path}", entry.summary.method), entry.summary.status?))
        })
        .collect();
    let missing: Vec<(&str, u16)> = TABLE
        .iter()
        .flat_map(|(call, codes)| codes.iter().map(|code| (*call, *code)))
        .filter(|(call, code)| !covered.contains(&((*call).to_owned(), *code)))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    let listed = |call: &str| TABLE.iter().any(|(known, _)| *known == call) || call.contains("/v2/origin/");
    let unlisted: Vec<_> = covered.iter().filter(|(call, _)| !listed(call)).collect();
    assert!(unlisted.is_empty(), "not in the table: {unlisted:?}");
}

async fn who_may_not_call(world: &World) {
    let sandbox = &world.channel.sandbox;
    let account = &world.channel.account;
    let stranger = client(&world.channel, "unknown");
    for (name, call) in every_call(&stranger, world) {
        let error = refused(call.await, 401, ErrorKind::Forbidden);
        assert!(error.to_string().contains("token"), "{name}: {error}");
    }
    sandbox.crm().set_paid(account, false).expect("there");
    for (_, call) in every_call(&world.crm, world) {
        refused(call.await, 402, ErrorKind::Forbidden);
    }
    sandbox.crm().set_paid(account, true).expect("there");
    let admin = sandbox.crm().users(account).expect("there")[0].id;
    sandbox.crm().set_admin(account, admin, false).expect("there");
    for (name, call) in every_call(&world.crm, world) {
        if name != "account" && name != "add_contacts" {
            refused(call.await, 403, ErrorKind::Forbidden);
        }
    }
    sandbox.crm().set_admin(account, admin, true).expect("there");
}

async fn account_and_users(world: &World) {
    let account = world.crm.account().await.expect("accepted");
    assert_eq!(account.amojo_id.as_ref(), Some(&world.channel.account));
    assert_eq!(
        account.embedded.and_then(|embedded| embedded.amojo_rights).and_then(|r| r.can_direct),
        Some(true)
    );
    assert!(account.drive_url.is_some() && account.version.is_some());
    let users: Vec<_> = world.crm.users_all().try_collect().await.expect("accepted");
    assert_eq!(Some(users[0].id), account.current_user_id);
    let user = world.crm.as_user(users[0].id).user(users[0].id).await.expect("accepted");
    assert!(user.amojo_id.is_some() && user == users[0]);
    refused(world.crm.as_user(5).users(1).await, 403, ErrorKind::Forbidden);
    refused(world.crm.user(5).await, 404, ErrorKind::NotFound);

    let known = world.channel.sandbox.crm().users(&world.channel.account).expect("there").remove(0);
    let legacy = world.crm.legacy_account(&known.login, &known.api_key).await.expect("accepted");
    assert_eq!((legacy.id, legacy.amojo_id), (Some(account.id), account.amojo_id));
    refused(world.crm.legacy_account(&known.login, "wrong").await, 401, ErrorKind::Forbidden);
}

async fn links(world: &World) {
    let crm = &world.crm;
    let linked =
        crm.linked_chats(LinkedTo::Chats(std::slice::from_ref(&world.chat))).await.expect("accepted");
    let [first] = linked.as_slice() else { panic!("the contact of the incoming lead: {linked:?}") };
    let contact = NewContact { name: Some("Anna".into()), ..NewContact::default() };
    let other = crm.add_contacts(&[contact]).await.expect("accepted")[0].id;
    let bad = NewContact {
        extra: [("custom_fields_values".to_owned(), "x".into())].into_iter().collect(),
        ..NewContact::default()
    };
    assert_eq!(
        refused(crm.add_contacts(&[bad]).await, 400, ErrorKind::Rejected).field(),
        Some("custom_fields_values")
    );

    let link = ChatLink { request_id: Some("r".into()), ..ChatLink::new(other, world.chat.clone()) };
    let moved = crm.link_chats(&[link]).await.expect("accepted").remove(0);
    assert_eq!((moved.contact_id, moved.request_id.as_deref()), (other, Some("r")));
    assert_ne!(moved.id, first.id, "another link");
    assert!(crm.linked_chats(LinkedTo::Contacts(&[first.contact_id])).await.expect("accepted").is_empty());

    let none =
        crm.link_chats(&[ChatLink::new(other, "00000000"), ChatLink::new(5, world.chat.clone())]).await;
    let error = refused(none, 400, ErrorKind::Rejected);
    assert_eq!((error.field(), &*code_of(&error)), (Some("chat_id"), "EntityNotFound"));
    let problem = error.vendor().and_then(|vendor| vendor.problem.as_deref()).expect("a problem");
    assert_eq!(problem.errors[1].request_id.as_deref(), Some("1"));
    assert_eq!(problem.errors[1].path.as_deref(), Some("contact_id"));
    let no_filter = Request {
        method: "GET",
        path: "/api/v4/contacts/chats".into(),
        body: Vec::new(),
        needs_token: true,
        headers: Vec::new(),
    };
    refused(crm.call(&no_filter).await, 400, ErrorKind::Rejected);
}

async fn sources(world: &World) {
    let crm = &world.crm;
    let own = crm.sources(&[]).await.expect("accepted");
    assert_eq!((own.len(), own[0].default), (1, Some(true)), "the one that the installation made");
    let waba = SourceService {
        kind: "whatsapp".into(),
        params: Some(SourceServiceParams { waba: Some(true), ..SourceServiceParams::default() }),
        pages: Vec::new(),
        extra: serde_json::Map::new(),
    };
    let sales = NewSource { services: vec![waba], ..NewSource::new("Sales", "7900") };
    let made = crm.add_sources(&[sales, NewSource::new("Other", "o-1")]).await.expect("accepted");
    assert_eq!(made.iter().map(|s| s.request_id.as_deref()).collect::<Vec<_>>(), [Some("0"), Some("1")]);
    let id = made[0].id;
    assert_eq!(
        crm.source(id).await.expect("accepted").and_then(|source| source.external_id),
        Some("7900".into())
    );
    assert_eq!(crm.source(5).await.expect("accepted"), None);
    assert!(crm.sources(&["none"]).await.expect("accepted").is_empty());
    assert_eq!(crm.sources(&["7900", "o-1"]).await.expect("accepted").len(), 2);

    let error = refused(crm.add_sources(&[NewSource::new("n", "7900")]).await, 400, ErrorKind::Rejected);
    assert_eq!((error.field(), &*code_of(&error)), (Some("external_id"), "NotUnique"));
    let default = SourceChange { default: Some(true), ..change(id) };
    let changed = crm.update_sources(&[default]).await.expect("accepted").remove(0);
    assert_eq!((changed.name.as_deref(), changed.default), (Some("renamed"), Some(true)));
    let defaults =
        crm.sources(&[]).await.expect("accepted").iter().filter(|s| s.default == Some(true)).count();
    assert_eq!(defaults, 1, "setting one clears the former");
    assert_eq!(
        code_of(&refused(crm.update_sources(&[change(5)]).await, 400, ErrorKind::Rejected)),
        "EntityNotFound"
    );
    let one = SourceChange { origin_code: Some("amo.ext.1".into()), ..change(id) };
    assert_eq!(crm.update_source(&one).await.expect("accepted").origin_code, Some("amo.ext.1".into()));
    refused(crm.update_source(&change(5)).await, 400, ErrorKind::Rejected);

    let error = refused(crm.delete_sources(&[made[1].id, 5]).await, 400, ErrorKind::Rejected);
    assert_eq!((error.field(), &*code_of(&error)), (Some("id"), "EntityNotFound"));
    crm.delete_sources(&[made[1].id]).await.expect("none of them was deleted before");
    crm.delete_source(own[0].id).await.expect("accepted");
    refused(crm.delete_source(own[0].id).await, 404, ErrorKind::NotFound);
}

async fn templates(world: &World) {
    let crm = &world.crm;
    assert!(crm.templates(1, None).await.expect("accepted").items.is_empty());
    let waba = NewTemplate {
        kind: Some("waba".into()),
        external_id: Some("hello".into()),
        buttons: vec![TemplateButton::inline("Yes"), TemplateButton::url("Open", "https://example.test")],
        attachment: Some(TemplateAttachment {
            id: "c2b77f70-d0d6-484a-8f6e-583f70a08cce".into(),
            name: Some("a.png".into()),
            kind: Some("picture".into()),
            is_external: None,
            extra: serde_json::Map::new(),
        }),
        waba_header_type: Some("media".into()),
        waba_category: Some("UTILITY".into()),
        ..NewTemplate::new("Hello", "Hello {{contact.name}}")
    };
    let made = crm.add_templates(&[waba.clone(), NewTemplate::new("n", "c")]).await.expect("accepted");
    let (id, plain) = (made[0].id, made[1].id);
    assert_eq!(made[0].attachment.as_ref().and_then(|attachment| attachment.is_external), Some(true));
    assert_eq!(made[0].buttons, waba.buttons);
    assert_eq!(crm.template(id).await.expect("accepted").external_id.as_deref(), Some("hello"));
    assert_eq!(crm.templates(1, Some("hello")).await.expect("accepted").items.len(), 1);
    refused(crm.template(5).await, 404, ErrorKind::NotFound);
    let bad = NewTemplate { waba_category: Some("SPAM".into()), ..waba.clone() };
    let error = refused(crm.add_templates(&[bad]).await, 400, ErrorKind::Rejected);
    assert_eq!((error.field(), &*code_of(&error)), (Some("waba_category"), "NotSupportedChoice"));

    let changed = crm.update_templates(&[edit(plain)]).await.expect("accepted").remove(0);
    assert_eq!(changed.content.as_deref(), Some("changed"));
    refused(crm.update_templates(&[edit(5)]).await, 400, ErrorKind::Rejected);
    crm.update_template(&edit(plain)).await.expect("accepted");
    refused(crm.update_template(&edit(5)).await, 400, ErrorKind::Rejected);

    let reviews = crm.submit_template(id).await.expect("accepted");
    assert_eq!(reviews[0].status.as_deref(), Some("review"));
    assert_eq!(crm.template(id).await.expect("accepted").is_on_review, Some(true));
    let error = refused(crm.update_template(&edit(id)).await, 400, ErrorKind::Rejected);
    assert_eq!(code_of(&error), "NotEditable", "only a draft of WhatsApp can be changed");
    let rejected = ReviewStatus::Rejected { reject_reason: "no".into() };
    let review = crm.set_review_status(id, reviews[0].id, &rejected).await.expect("accepted");
    assert_eq!((review.status.as_deref(), review.reject_reason.as_deref()), (Some("rejected"), Some("no")));
    let shown = crm.template(id).await.expect("accepted");
    assert_eq!((shown.review_status.as_deref(), shown.reviews()), (Some("rejected"), &[review][..]));
    refused(crm.set_review_status(id, 5, &ReviewStatus::Approved).await, 400, ErrorKind::Rejected);

    let many: Vec<_> = (0..148).map(|n| NewTemplate::new(format!("n{n}"), "c")).collect();
    crm.add_templates(&many).await.expect("150 fit");
    let all: Vec<_> = crm.templates_all(None).try_collect().await.expect("accepted");
    assert_eq!(all.len(), 150);
    assert_eq!(all.iter().map(|template| template.id).collect::<BTreeSet<_>>().len(), 150, "each once");
    refused(crm.add_templates(&[NewTemplate::new("n", "c")]).await, 422, ErrorKind::Rejected);
    refused(crm.delete_templates(&[id, 5]).await, 400, ErrorKind::Rejected);
    crm.delete_templates(&[id]).await.expect("accepted");
    crm.delete_template(plain).await.expect("accepted");
    refused(crm.delete_template(plain).await, 400, ErrorKind::Rejected);
}

async fn talks(world: &World) {
    let crm = &world.crm;
    let id = world.number("/accounts/0/talks/0/id");
    let talk = crm.talk(id).await.expect("accepted");
    assert_eq!((talk.chat_id.as_ref(), talk.is_in_work), (Some(&world.chat), Some(true)));
    assert_eq!(talk.entity_type.as_deref(), Some("lead"));
    crm.close_talk(id, false).await.expect("accepted");
    assert_eq!(crm.talk(id).await.expect("accepted").is_in_work, Some(false));
    refused(crm.close_talk(id, true).await, 422, ErrorKind::Rejected);
    refused(crm.talk(5).await, 404, ErrorKind::NotFound);
    refused(crm.close_talk(5, false).await, 404, ErrorKind::NotFound);
}

async fn subscriptions(world: &World) {
    let crm = &world.crm;
    assert!(crm.subscriptions().await.expect("accepted").is_empty());
    let address = |n: u32| format!("https://example.test/{n}");
    for n in 0..100 {
        let made = crm.subscribe(&subscription(&address(n))).await.expect("100 fit");
        assert_eq!((made.destination, made.disabled), (address(n), Some(false)));
    }
    refused(crm.subscribe(&subscription(&address(100))).await, 400, ErrorKind::Rejected);
    crm.subscribe(&subscription(&address(7))).await.expect("an address has one, which is renewed");
    assert_eq!(crm.subscriptions().await.expect("accepted").len(), 100);
    crm.unsubscribe(&address(7)).await.expect("accepted");
    refused(crm.unsubscribe(&address(7)).await, 404, ErrorKind::NotFound);
}

async fn oauth(world: &World) {
    let sandbox = &world.channel.sandbox;
    let (crm, integration) = (&world.crm, world.integration());
    let code = sandbox.crm().issue_code(&world.client_id, &world.channel.account, None).expect("issued");
    let other = Integration { redirect_uri: "https://example.test".into(), ..integration.clone() };
    refused(crm.exchange_code(&other, &code).await, 400, ErrorKind::Rejected);
    let tokens = crm.exchange_code(&integration, &code).await.expect("the code was not used up");
    assert_eq!(tokens.expires_in, Some(86_400));
    refused(crm.exchange_code(&integration, &code).await, 400, ErrorKind::Rejected);
    client(&world.channel, tokens.access_token.expose()).account().await.expect("it opens the account");

    let refresh = tokens.refresh_token.expect("a pair");
    let domain = crm.current_domain(&refresh).await.expect("accepted");
    assert_eq!(domain.domain, Some(sandbox.api_addr().to_string()));
    refused(crm.current_domain(&Token::new("unknown").expect("a token")).await, 401, ErrorKind::Forbidden);

    let user = sandbox.crm().users(&world.channel.account).expect("there").remove(0);
    let trade = |key: String| {
        let (integration, login) = (integration.clone(), user.login.clone());
        async move { crm.exchange_api_key(&integration, &login, &key, Some("s")).await }
    };
    refused(trade("wrong".into()).await, 401, ErrorKind::Forbidden);
    trade(user.api_key.clone()).await.expect("accepted");
    let error = refused(trade(user.api_key.clone()).await, 429, ErrorKind::RateLimited);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(300)));
    let stranger = Integration { client_id: "unknown".into(), ..integration };
    refused(
        crm.exchange_api_key(&stranger, &user.login, &user.api_key, None).await,
        400,
        ErrorKind::Rejected,
    );
}

#[tokio::test]
async fn kommo_does_not_move_a_chat_to_another_contact() {
    let world = World::start(SandboxConfig { personality: Personality::Kommo, ..config() }).await;
    let linked = world.number("/accounts/0/links/0/contact_id");
    let other = world.crm.add_contacts(&[NewContact::default()]).await.expect("accepted")[0].id;
    let again =
        world.crm.link_chats(&[ChatLink::new(linked, world.chat.clone())]).await.expect("the same one");
    assert_eq!(again[0].contact_id, linked);
    let error = refused(
        world.crm.link_chats(&[ChatLink::new(other, world.chat.clone())]).await,
        400,
        ErrorKind::Rejected,
    );
    let problem = error.vendor().and_then(|vendor| vendor.problem.as_deref()).expect("a problem");
    assert_eq!(
        (problem.code.as_deref(), problem.extra["entity_id"].as_i64()),
        (Some("AlreadyExists"), Some(linked))
    );
}

#[tokio::test]
async fn an_external_integration_has_no_sources_and_no_users() {
    let world = World::start(config()).await;
    let external = IntegrationSettings { is_external: Some(true), ..IntegrationSettings::default() };
    world.channel.sandbox.crm().change_integration(&world.client_id, external).expect("there");
    refused(world.crm.sources(&[]).await, 403, ErrorKind::Forbidden);
    refused(world.crm.users(1).await, 403, ErrorKind::Forbidden);
    world.crm.account().await.expect("the account is open to all");
}

#[tokio::test]
async fn too_many_calls_are_told_to_wait_and_then_locked_out() {
    let channel = Channel::connected(config()).await;
    let crm = channel.sandbox.crm();
    let client_id = crm.integrations()[0].client_id.clone();
    let token = crm.issue_token(&client_id, &channel.account, None, 1).expect("issued");
    // The clock stands: the whole test is one second.
    let hasty = client(&channel, &token).with_deadline(Duration::from_millis(900));
    for _ in 0..7 {
        hasty.account().await.expect("seven in a second");
    }
    for _ in 0..7 {
        let error = refused(hasty.account().await, 429, ErrorKind::RateLimited);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }
    refused(hasty.account().await, 403, ErrorKind::Forbidden);
}
