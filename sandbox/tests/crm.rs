//! The CRM's side of the sandbox as it stands on the wire: forms, tokens, webhooks, what a person does.

mod support;

use amochats::crm::{
    ClientSecret, CrmEvent, OneTimeTokenRules, parse_crm_webhook, verify_disable_hook, verify_one_time_token,
};
use amochats_sandbox::{Content, IntegrationSettings, Sandbox, SandboxConfig, Switches};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;
use support::{ACCOUNT, Channel, D0_MSEC, Receiver, Turned, config, text};
use url::Url;

struct Crm {
    channel: Channel,
    client_id: String,
    token: String,
}

struct Reply {
    status: u16,
    content_type: String,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!((self.status, self.content_type.as_str()), (200, "application/hal+json"), "{}", self.text);
        self.json()
    }

    /// A problem, of this status; its first path at fault.
    #[track_caller]
    fn problem(&self, status: u16) -> String {
        assert_eq!(
            (self.status, self.content_type.as_str()),
            (status, "application/problem+json"),
            "{}",
            self.text
        );
        let body = self.json();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("https://httpstatus.es/{status}"));
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        body.pointer("/validation-errors/0/errors/0/path")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}

/// As many calls a second as a test likes.
fn unpaced(config: SandboxConfig) -> SandboxConfig {
    let switches = Switches { crm_requests_per_second: None, ..config.switches.clone() };
    SandboxConfig { switches, ..config }
}

impl Crm {
    async fn start(config: SandboxConfig) -> Self {
        let channel = Channel::connected(unpaced(config)).await;
        let crm = channel.sandbox.crm();
        let client_id = crm.integrations()[0].client_id.clone();
        let token = crm.issue_token(&client_id, &channel.account, None, 1).expect("issued");
        Self { channel, client_id, token }
    }

    fn sandbox(&self) -> &Sandbox {
        &self.channel.sandbox
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        self.with(method, path, body, &[("Authorization", &bearer)]).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &Value::Null).await
    }

    async fn with(&self, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        let url = format!("{}{path}", self.sandbox().api_url());
        send(&self.channel.http, method, &url, body, headers).await
    }

    /// The page's own API.
    async fn control(&self, method: &str, path: &str, body: &Value) -> Reply {
        let url = format!("http://{}{path}", self.sandbox().page_addr());
        send(&self.channel.http, method, &url, body, &[]).await
    }

    fn overview(&self, pointer: &str) -> Value {
        let overview = self.sandbox().crm().overview();
        overview.pointer(pointer).cloned().unwrap_or_else(|| panic!("{pointer} in {overview}"))
    }

    fn set(&self, settings: IntegrationSettings) {
        self.sandbox().crm().change_integration(&self.client_id, settings).expect("it is there");
    }
}

async fn send(
    http: &reqwest::Client,
    method: &str,
    url: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = http.request(method.parse().expect("a method"), url);
    if !body.is_null() {
        request = request.header("Content-Type", "application/json").body(body.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    let content_type =
        response.headers().get("content-type").map_or("", |kind| kind.to_str().expect("ASCII"));
    Reply {
        status: response.status().as_u16(),
        content_type: content_type.to_owned(),
        headers: response.headers().clone(),
        text: response.text().await.expect("UTF-8"),
    }
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

fn query(url: &str) -> HashMap<String, String> {
    Url::parse(url).expect("an address").query_pairs().into_owned().collect()
}

#[tokio::test]
async fn items_name_the_fields_at_fault_and_nothing_is_done_by_half() {
    let crm = Crm::start(config()).await;
    for (path, body, field) in [
        ("/api/v4/sources", json!([{ "name": "n", "external_id": "a" }, { "external_id": "b" }]), "name"),
        ("/api/v4/sources", json!([{ "name": "", "external_id": "b" }]), "name"),
        ("/api/v4/sources", json!([{ "name": 7, "external_id": "b" }]), "name"),
        ("/api/v4/sources", json!([{ "name": "n", "external_id": "я" }]), "external_id"),
        ("/api/v4/sources", json!([{ "name": "n", "external_id": "x".repeat(41) }]), "external_id"),
        ("/api/v4/sources", json!([{ "name": "n", "external_id": "b", "default": 1 }]), "default"),
        ("/api/v4/sources", json!([{ "name": "n", "external_id": "b", "pipeline_id": "1" }]), "pipeline_id"),
        (
            "/api/v4/sources",
            json!([{ "name": "n", "external_id": "b", "origin_code": "123" }]),
            "origin_code",
        ),
        (
            "/api/v4/sources",
            json!([{ "name": "n", "external_id": "b", "services": [{ "type": "sms" }] }]),
            "services.0.type",
        ),
        ("/api/v4/chats/templates", json!([{ "name": "n" }]), "content"),
        (
            "/api/v4/chats/templates",
            json!([{ "name": "n", "content": "c", "waba_header": "x".repeat(61) }]),
            "waba_header",
        ),
        (
            "/api/v4/chats/templates",
            json!([{ "name": "n", "content": "c", "waba_header_type": "media" }]),
            "attachment",
        ),
        (
            "/api/v4/chats/templates",
            json!([{ "name": "n", "content": "c", "attachment": { "id": "i", "name": "n", "type": "x" } }]),
            "attachment.type",
        ),
        (
            "/api/v4/chats/templates",
            json!([{ "name": "n", "content": "c", "buttons": [{ "type": "url", "text": "t" }] }]),
            "buttons.0.url",
        ),
        ("/api/v4/contacts/chats", json!([{ "contact_id": "5", "chat_id": "c" }]), "contact_id"),
        (
            "/api/v4/webhooks",
            json!({ "destination": "ftp://example.test", "settings": ["add_talk"] }),
            "destination",
        ),
        ("/api/v4/webhooks", json!({ "destination": "https://example.test", "settings": [] }), "settings"),
    ] {
        assert_eq!(crm.call("POST", path, &body).await.problem(400), field, "{body}");
    }
    for body in
        [json!({}), json!([]), json!("x"), Value::from(vec![json!({ "name": "n", "external_id": "e" }); 51])]
    {
        crm.call("POST", "/api/v4/sources", &body).await.problem(400);
    }
    let sources = crm.get("/api/v4/sources").await.ok();
    assert_eq!(sources["_total_items"], 1, "only the installation's own: {sources}");
    let many: Vec<_> = (0..50).map(|n| json!({ "name": "n", "external_id": format!("e-{n}") })).collect();
    crm.call("POST", "/api/v4/sources", &many.into()).await.ok();
    let more: Vec<_> = (50..100).map(|n| json!({ "name": "n", "external_id": format!("e-{n}") })).collect();
    crm.call("POST", "/api/v4/sources", &more.into()).await.problem(400);

    let source = sources["_embedded"]["sources"][0]["id"].clone();
    let renamed = json!({ "external_id": "other" });
    assert_eq!(
        crm.call("PATCH", &format!("/api/v4/sources/{source}"), &renamed).await.problem(400),
        "external_id"
    );
}

#[tokio::test]
async fn what_is_not_there_says_what_is() {
    let crm = Crm::start(config()).await;
    assert!(crm.get("/api/v4/leads").await.json()["detail"].as_str().expect("text").contains("/api/v4"));
    crm.call("PUT", "/api/v4/sources", &json!([])).await.problem(404);
    crm.get("/oauth2/other").await.problem(404);
    let journal = crm.sandbox().journal();
    let last = &journal.last().expect("recorded").summary;
    assert_eq!((&*last.kind, &*last.verdict.name, last.verdict.ok), ("unknown", "no_such_call", false));
}

#[tokio::test]
async fn a_session_cookie_spoils_the_linking_and_another_host_the_token() {
    let crm = Crm::start(config()).await;
    let bearer = format!("Bearer {}", crm.token);
    let headers = [("Authorization", &*bearer), ("Cookie", "session_id=1")];
    crm.with("GET", "/api/v4/contacts/chats?contact_id=1", &Value::Null, &headers).await.problem(401);
    crm.with("GET", "/api/v4/account", &Value::Null, &headers).await.ok();

    let subdomain = crm.overview("/accounts/0/subdomain");
    let subdomain = subdomain.as_str().expect("text");
    for (host, status) in [
        (format!("{subdomain}.amocrm.ru"), 200),
        ("localhost".to_owned(), 200),
        ("unknown.amocrm.ru".to_owned(), 200),
    ] {
        let reply = crm
            .with("GET", "/api/v4/account", &Value::Null, &[("Authorization", &bearer), ("Host", &host)])
            .await;
        assert_eq!(reply.status, status, "{host}: {}", reply.text);
    }
    crm.with("GET", "/api/v4/account", &Value::Null, &[]).await.problem(401);
}

#[tokio::test]
async fn the_host_of_another_account_is_refused() {
    let other = "99999999-6b61-4086-98ed-0a9de19ee15c";
    let crm = Crm::start(SandboxConfig { accounts: vec![ACCOUNT.into(), other.into()], ..config() }).await;
    let accounts = crm.overview("/accounts");
    let other = accounts
        .as_array()
        .expect("all")
        .iter()
        .find(|account| account["account_id"] == other)
        .expect("there");
    let host = format!("{}.kommo.com", other["subdomain"].as_str().expect("text"));
    let bearer = format!("Bearer {}", crm.token);
    let reply = crm
        .with("GET", "/api/v4/account", &Value::Null, &[("Authorization", &bearer), ("Host", &host)])
        .await;
    assert!(reply.json()["detail"].as_str().expect("text").contains("the Host is of"), "{}", reply.text);
    reply.problem(401);
}

#[tokio::test]
async fn consent_leads_to_a_code_and_a_code_to_tokens_that_end() {
    let turned = Turned::at(D0_MSEC);
    let crm = Crm::start(SandboxConfig { clock: turned.clock(), ..config() }).await;
    crm.set(IntegrationSettings {
        redirect_uri: Some("https://example.test/in?x=1".into()),
        ..IntegrationSettings::default()
    });
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(
            rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(
                rustls::crypto::ring::default_provider(),
            ))
            .with_safe_default_protocol_versions()
            .expect("ring")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
        )
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("valid");
    let consent = |decision: &str| {
        let url = format!(
            "{}/oauth?client_id={}&state=s%26t&mode=popup{decision}",
            crm.sandbox().api_url(),
            crm.client_id
        );
        let http = http.clone();
        async move { send(&http, "GET", &url, &Value::Null, &[]).await }
    };
    let page = consent("").await;
    assert!(
        page.status == 200 && page.text.contains("Allow") && page.text.contains("s&amp;t"),
        "{}",
        page.text
    );
    let denied = consent("&decision=deny").await;
    let location = |reply: &Reply| reply.headers["location"].to_str().expect("ASCII").to_owned();
    assert_eq!((denied.status, query(&location(&denied))["error"].as_str()), (302, "access_denied"));
    let allowed = consent("&decision=allow").await;
    let given = query(&location(&allowed));
    assert!(location(&allowed).starts_with("https://example.test/in?x=1&code="), "{}", location(&allowed));
    assert_eq!((&*given["state"], &*given["platform"]), ("s&t", "1"));
    assert_eq!(given["referer"], crm.sandbox().api_addr().to_string());

    let secret = crm.sandbox().crm().integrations()[0].client_secret.clone();
    let grant = |kind: &'static str, field: &'static str, value: &str| {
        let body = json!({
            "client_id": crm.client_id, "client_secret": secret, "grant_type": kind, field: value,
            "redirect_uri": "https://example.test/in?x=1",
        });
        let crm = &crm;
        async move { crm.with("POST", "/oauth2/access_token", &body, &[]).await }
    };
    let first = grant("authorization_code", "code", &given["code"]).await.json();
    let claims = claims(first["access_token"].as_str().expect("a token"));
    assert_eq!(claims["account_id"], crm.overview("/accounts/0/id"));
    assert_eq!((&claims["base_domain"], &claims["aud"]), (&json!("amocrm.ru"), &json!(crm.client_id)));
    assert_eq!(claims["api_domain"], crm.sandbox().api_addr().to_string());
    assert_eq!(claims["exp"], D0_MSEC / 1000 + 86_400);
    grant("authorization_code", "code", &given["code"]).await.problem(400);

    let account = |token: &Value| {
        let bearer = format!("Bearer {}", token["access_token"].as_str().expect("a token"));
        let crm = &crm;
        async move { crm.with("GET", "/api/v4/account", &Value::Null, &[("Authorization", &bearer)]).await }
    };
    account(&first).await.ok();
    turned.advance(Duration::from_secs(86_400));
    account(&first).await.problem(401);
    let refresh = first["refresh_token"].as_str().expect("a token");
    let second = grant("refresh_token", "refresh_token", refresh).await.json();
    account(&second).await.ok();
    grant("refresh_token", "refresh_token", refresh).await.problem(400);
    turned.advance(Duration::from_secs(90 * 86_400));
    let late = second["refresh_token"].as_str().expect("a token");
    grant("refresh_token", "refresh_token", late).await.problem(400);

    let code = crm.sandbox().crm().issue_code(&crm.client_id, &crm.channel.account, None).expect("issued");
    turned.advance(Duration::from_secs(20 * 60));
    grant("authorization_code", "code", &code).await.problem(400);
}

#[tokio::test]
async fn installing_calls_the_redirect_uri_and_disabling_ends_everything() {
    let mut receiver = Receiver::start(Some(200)).await;
    let crm = Crm::start(config()).await;
    let address = receiver.url.replace(":scope_id", "oauth");
    crm.set(IntegrationSettings {
        redirect_uri: Some(address.clone()),
        disable_url: Some(address.replace("oauth", "disabled")),
        ..IntegrationSettings::default()
    });
    let to = crm.sandbox().crm().install(&crm.client_id, &crm.channel.account).expect("installed");
    let called = receiver.next().await;
    assert_eq!((called.path.as_str(), query(&to)["from_widget"].as_str()), ("/in/oauth", "1"));
    assert_eq!(called.headers["user-agent"], "amoService-oAuth-Code-Sender/1.0");
    assert!(crm.sandbox().accounts()[0].connections.len() == 1);

    crm.control("POST", &format!("/api/crm/integrations/{}/disable", crm.client_id), &json!({})).await;
    let told = receiver.next().await;
    assert_eq!(told.path, "/in/disabled");
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(told.query.as_deref().expect("a query").as_bytes())
            .into_owned()
            .collect();
    let integration = crm.sandbox().crm().integrations().remove(0);
    let secret = ClientSecret::new(integration.client_secret.clone()).expect("clean");
    verify_disable_hook(&secret, &crm.client_id, &query["account_id"], Some(&query["signature"]))
        .expect("genuine");
    let mut mac = Hmac::<Sha256>::new_from_slice(integration.client_secret.as_bytes()).expect("any length");
    mac.update(format!("{}|{}", query["client_uuid"], query["account_id"]).as_bytes());
    let expected = mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all");
        hex
    });
    assert_eq!(query["signature"], expected);

    crm.get("/api/v4/account").await.problem(401);
    assert!(crm.sandbox().accounts()[0].connections.is_empty(), "the channel is disconnected");
    let chats = crm.channel.send(&text("m-1", "c-1", "u-1", "hello")).await;
    assert_eq!(chats.status, 403);
}

#[tokio::test]
async fn a_one_time_token_is_what_the_core_takes() {
    let turned = Turned::at(D0_MSEC);
    let crm = Crm::start(SandboxConfig { clock: turned.clock(), ..config() }).await;
    let path = format!("/api/crm/integrations/{}/one_time_token", crm.client_id);
    let by_hand =
        crm.control("POST", &path, &json!({})).await.json()["token"].as_str().expect("a token").to_owned();
    let page = format!("/ajax/v2/integrations/{}/disposable_token", crm.client_id);
    crm.with("GET", &page, &Value::Null, &[]).await.problem(403);
    let by_page =
        crm.with("GET", &page, &Value::Null, &[("X-Requested-With", "XMLHttpRequest")]).await.json();
    let integration = crm.sandbox().crm().integrations().remove(0);
    let secret = ClientSecret::new(integration.client_secret).expect("clean");
    let rules = OneTimeTokenRules {
        issuers: vec![crm.sandbox().api_url()],
        ..OneTimeTokenRules::new(crm.client_id.as_str(), integration.redirect_uri)
    };
    for token in [by_hand.as_str(), by_page["token"].as_str().expect("a token")] {
        let genuine = verify_one_time_token(&secret, token, &rules, turned.now()).expect("genuine");
        assert_eq!(genuine.account_id, crm.overview("/accounts/0/id"));
        assert_eq!((genuine.exp - genuine.iat, genuine.is_admin), (1800, Some(true)));
    }
    turned.advance(Duration::from_secs(1800));
    let late = verify_one_time_token(&secret, &by_hand, &rules, turned.now()).expect_err("30 minutes");
    assert_eq!(late.field(), Some("exp"));
}

#[tokio::test]
async fn an_incoming_message_makes_a_contact_a_talk_and_a_lead_that_can_be_read() {
    let crm = Crm::start(config()).await;
    let mut message = text("m-1", "c-1", "u-1", "hello");
    message["sender"]["profile"] = json!({ "phone": "+15550100" });
    crm.channel.send(&message).await.ok();
    let unsorted = crm.get("/api/v4/leads/unsorted?filter[category][]=chats").await.ok();
    let lead = &unsorted["_embedded"]["unsorted"][0];
    let chat = crm.sandbox().chats().remove(0);
    assert_eq!(lead["metadata"]["origin"]["chat_id"], json!(chat.conversation_ref_id));
    assert_eq!(
        (&lead["category"], &lead["metadata"]["last_message_text"]),
        (&json!("chats"), &json!("hello"))
    );
    let contact = &lead["_embedded"]["contacts"][0]["id"];
    let shown = crm.get(&format!("/api/v4/contacts/{contact}")).await.ok();
    assert_eq!(shown["custom_fields_values"][0]["values"][0]["value"], "+15550100");
    let found = crm.get("/api/v4/contacts?query=5550100").await.ok();
    assert_eq!(&found["_embedded"]["contacts"][0]["id"], contact);
    assert_eq!(crm.get("/api/v4/contacts?query=nobody").await.status, 204);
    assert_eq!(crm.get("/api/v4/leads/unsorted?filter[category]=forms").await.status, 204);
    assert_eq!(crm.get("/api/v4/contacts/5").await.status, 204);

    let mut silent = text("m-2", "c-2", "u-2", "imported");
    silent["silent"] = json!(true);
    crm.channel.send(&silent).await.ok();
    assert_eq!(
        crm.overview("/accounts/0/talks").as_array().map(Vec::len),
        Some(1),
        "an import begins no talk"
    );
}

#[tokio::test]
async fn the_default_source_stands_in_until_a_message_names_one() {
    let mut receiver = Receiver::start(Some(200)).await;
    let crm = Crm::start(SandboxConfig { webhook_url: Some(receiver.url.clone()), ..config() }).await;
    crm.channel.send(&text("m-1", "c-1", "u-1", "hello")).await.ok();
    let chat = crm.sandbox().chats().remove(0).conversation_ref_id;
    let mut answered = async || {
        crm.sandbox().answer(&chat, Content::text("hi")).await.expect("sent");
        receiver.next().await.json()["message"].get("source").cloned()
    };
    assert_eq!(
        answered().await,
        Some(json!({ "external_id": "sandbox_widget" })),
        "the one of the installation"
    );
    let sales = json!([{ "name": "Sales", "external_id": "sales", "default": true }]);
    let made = crm.call("POST", "/api/v4/sources", &sales).await.ok();
    assert_eq!(answered().await, Some(json!({ "external_id": "sales" })), "it changes with the default");
    let id = &made["_embedded"]["sources"][0]["id"];
    assert_eq!(crm.call("DELETE", &format!("/api/v4/sources/{id}"), &Value::Null).await.status, 204);
    assert_eq!(answered().await, None, "deleting the default promotes nobody");
    let mut pinned = text("m-2", "c-1", "u-1", "again");
    pinned["source"] = json!({ "external_id": "line-1" });
    crm.channel.send(&pinned).await.ok();
    crm.call("POST", "/api/v4/sources", &sales).await.ok();
    assert_eq!(answered().await, Some(json!({ "external_id": "line-1" })), "pinned for good");
}

#[tokio::test]
async fn multiple_sources_leave_an_installation_without_one() {
    let crm = Crm::start(config()).await;
    let settings = IntegrationSettings { multiple_sources: Some(true), ..IntegrationSettings::default() };
    let made = crm.sandbox().crm().add_integration(settings).expect("registered");
    let token =
        crm.sandbox().crm().issue_token(&made.client_id, &crm.channel.account, None, 1).expect("issued");
    let bearer = format!("Bearer {token}");
    let sources = crm.with("GET", "/api/v4/sources", &Value::Null, &[("Authorization", &bearer)]).await;
    assert_eq!(sources.status, 204, "none was made, and those of others are not seen");
}

async fn subscribed(crm: &Crm, receiver: &Receiver) {
    let events = ["add_message", "add_talk", "update_talk", "add_chat_template_review"];
    let body = json!({ "destination": receiver.url.replace(":scope_id", "crm"), "settings": events });
    let made = crm.call("POST", "/api/v4/webhooks", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn who_subscribed_hears_of_messages_talks_and_reviews() {
    let mut receiver = Receiver::start(Some(204)).await;
    let crm = Crm::start(config()).await;
    subscribed(&crm, &receiver).await;
    let mut message = text("m-1", "c-1", "u-1", "a&b я");
    message["message"] = json!({ "type": "picture", "text": "a&b я", "media": "https://example.test/a.png", "file_name": "a.png", "file_size": 7 });
    crm.channel.send(&message).await.ok();
    let mut events = HashMap::new();
    let mut next = async || {
        let received = receiver.next().await;
        assert_eq!(received.headers["content-type"], "application/x-www-form-urlencoded");
        assert!(received.headers.get("x-signature").is_none(), "nobody signs them");
        parse_crm_webhook(&received.body).expect("a webhook of the CRM")
    };
    for _ in 0..2 {
        let mut webhook = next().await;
        assert_eq!(webhook.extra["account"]["subdomain"], crm.overview("/accounts/0/subdomain"));
        let event = webhook.events.remove(0);
        let name = if matches!(event, CrmEvent::MessageAdded(_)) { "message" } else { "talk" };
        events.insert(name, event);
    }
    let chat = crm.sandbox().chats().remove(0).conversation_ref_id;
    let CrmEvent::MessageAdded(message) = &events["message"] else { panic!("{events:?}") };
    assert_eq!((message.text.as_deref(), message.chat_id.as_ref()), (Some("a&b я"), Some(&chat)));
    assert_eq!(message.attachment.as_ref().and_then(|file| file.kind.as_deref()), Some("picture"));
    let CrmEvent::TalkAdded(talk) = &events["talk"] else { panic!("{events:?}") };
    assert_eq!(
        (talk.is_in_work, talk.is_read, Some(talk.talk_id)),
        (Some(true), Some(false), message.talk_id)
    );

    crm.sandbox().mark_read(&chat).expect("there");
    let CrmEvent::TalkUpdated(talk) = next().await.events.remove(0) else { panic!("an update") };
    assert_eq!(talk.is_read, Some(true));
    crm.call("POST", &format!("/api/v4/talks/{}/close", talk.talk_id), &json!({})).await;
    let CrmEvent::TalkUpdated(talk) = next().await.events.remove(0) else { panic!("an update") };
    assert_eq!(talk.is_in_work, Some(false));

    let source = json!([{ "name": "w", "external_id": "w", "services": [{ "type": "whatsapp", "params": { "waba": true }, "pages": [{ "id": "1", "name": "n", "link": "+7900" }] }] }]);
    let source = crm.call("POST", "/api/v4/sources", &source).await.ok();
    assert_eq!(
        source.pointer("/_embedded/sources/0/services/0/pages/0/link"),
        Some(&json!("https://wa.me/7900"))
    );
    let template = json!([{ "name": "n", "content": "c", "type": "waba" }]);
    let template = crm.call("POST", "/api/v4/chats/templates", &template).await.ok();
    let template = template["_embedded"]["chat_templates"][0]["id"].clone();
    crm.call("POST", &format!("/api/v4/chats/templates/{template}/review"), &json!({})).await.ok();
    let CrmEvent::TemplateReview(told) = next().await.events.remove(0) else { panic!("a review") };
    assert_eq!((json!(told.id), told.reviews().len()), (template.clone(), 1));

    let path = format!("/api/crm/accounts/{ACCOUNT}/templates/{template}/reviews/{}", told.reviews()[0].id);
    assert_eq!(crm.control("POST", &path, &json!({ "status": "sent" })).await.status, 400);
    assert_eq!(crm.control("POST", &path, &json!({ "status": "approved" })).await.status, 200);
    let shown = crm.get(&format!("/api/v4/chats/templates/{template}?with=reviews")).await.ok();
    assert_eq!(shown["review_status"], "approved");
}

/// Turns the clock and waits for the next delivery.
async fn after(turned: &Turned, minutes: u64, receiver: &mut Receiver) {
    turned.advance(Duration::from_secs(minutes * 60));
    receiver.next().await;
}

/// Waits until so many deliveries are in the journal, and gives the last one's sentence.
async fn delivered(crm: &Crm, count: usize) -> String {
    let mut changes = crm.sandbox().subscribe();
    loop {
        let journal = crm.sandbox().journal();
        let sent: Vec<_> = journal.iter().filter(|entry| entry.summary.kind == "add_talk").collect();
        if sent.len() >= count {
            return sent[count - 1].summary.verdict.sentence.clone();
        }
        changes.recv().await.expect("the sandbox runs");
    }
}

#[tokio::test]
async fn a_delivery_that_fails_comes_again_as_documented() {
    for (status, delays) in [(500, &[5, 15, 15, 60][..]), (499, &[5, 15, 15, 60]), (404, &[5, 15])] {
        let turned = Turned::at(D0_MSEC);
        let mut receiver = Receiver::start(Some(status)).await;
        let crm = Crm::start(SandboxConfig {
            clock: turned.clock(),
            switches: Switches { date_window_s: None, ..Switches::default() },
            ..config()
        })
        .await;
        let body =
            json!({ "destination": receiver.url.replace(":scope_id", "crm"), "settings": ["add_talk"] });
        crm.call("POST", "/api/v4/webhooks", &body).await;
        crm.channel.send(&text("m-1", "c-1", "u-1", "hello")).await.ok();
        receiver.next().await;
        for (at, minutes) in delays.iter().enumerate() {
            let sentence = delivered(&crm, at + 1).await;
            assert!(sentence.ends_with(&format!("it comes again in {minutes} min")), "{sentence}");
            after(&turned, *minutes, &mut receiver).await;
        }
        let sentence = delivered(&crm, delays.len() + 1).await;
        assert!(sentence.ends_with("it is given up"), "{status}: {sentence}");
    }
}

#[tokio::test]
async fn a_subscription_that_fails_too_often_is_switched_off() {
    let mut receiver = Receiver::start(Some(404)).await;
    let crm = Crm::start(config()).await;
    let body = json!({ "destination": receiver.url.replace(":scope_id", "crm"), "settings": ["add_talk"] });
    crm.call("POST", "/api/v4/webhooks", &body).await;
    for n in 0..101 {
        crm.channel.send(&text(&format!("m-{n}"), &format!("c-{n}"), "u-1", "hello")).await.ok();
        receiver.next().await;
    }
    let sentence = delivered(&crm, 101).await;
    let off = |sentence: &str| sentence.contains("switched off");
    let journal = crm.sandbox().journal();
    assert!(off(&sentence) || journal.iter().any(|entry| off(&entry.summary.verdict.sentence)), "{sentence}");
    assert_eq!(crm.get("/api/v4/webhooks").await.ok()["_embedded"]["webhooks"][0]["disabled"], true);
}

#[tokio::test]
async fn the_control_api_says_in_json_what_is_wrong() {
    let crm = Crm::start(config()).await;
    let shown = crm.control("GET", "/api/crm", &Value::Null).await.json();
    assert_eq!(shown["integrations"][0]["client_id"], crm.client_id);
    assert_eq!(shown["accounts"][0]["account_id"], ACCOUNT);
    let state = crm.control("GET", "/api/state", &Value::Null).await.json();
    assert_eq!(state["integrations"], shown["integrations"]);
    let one = format!("/api/crm/integrations/{}", crm.client_id);
    for (method, path, body, said) in [
        ("POST", "/api/crm/integrations".to_owned(), json!({ "redirect_uri": "x" }), "redirect_uri"),
        ("POST", "/api/crm/integrations".to_owned(), json!({ "client_id": crm.client_id }), "client_id"),
        ("PATCH", one.clone(), json!({ "client_id": "other" }), "client_id"),
        ("PATCH", one.clone(), json!({ "colour": "red" }), "colour"),
        ("PATCH", "/api/crm/integrations/unknown".to_owned(), json!({}), "client_id"),
        ("POST", format!("{one}/token"), json!({ "days": 0 }), "days"),
        ("POST", format!("{one}/code"), json!({ "account_id": "unknown" }), "account_id"),
        ("POST", format!("{one}/code"), json!({ "user_id": 5 }), "user_id"),
        ("PATCH", "/api/crm/accounts/unknown".to_owned(), json!({ "is_paid": false }), "account_id"),
    ] {
        let refused = crm.control(method, &path, &body).await;
        let error = refused.json()["error"].as_str().expect("a sentence").to_owned();
        assert!((400..500).contains(&refused.status) && error.contains(said), "{path}: {error}");
    }
    let made = crm.control("POST", "/api/crm/integrations", &json!({ "name": "Second" })).await.json();
    let token = crm
        .control(
            "POST",
            &format!("/api/crm/integrations/{}/token", made["client_id"].as_str().expect("an id")),
            &json!({}),
        )
        .await
        .json();
    let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
    crm.with("GET", "/api/v4/account", &Value::Null, &[("Authorization", &bearer)]).await.ok();
}

#[tokio::test]
async fn a_restart_keeps_tokens_and_sources() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = SandboxConfig { state: Some(folder.path().join("state.json")), ..config() };
    let crm = Crm::start(kept.clone()).await;
    let made = json!([{ "name": "Sales", "external_id": "sales" }]);
    crm.call("POST", "/api/v4/sources", &made).await.ok();
    let before = crm.sandbox().crm().overview();
    let Crm { channel, client_id, token } = crm;
    channel.sandbox.shutdown().await;
    let channel = Channel::start(unpaced(kept)).await;
    let crm = Crm { channel, client_id, token };
    assert_eq!(crm.sandbox().crm().overview(), before);
    assert_eq!(crm.get("/api/v4/sources").await.ok()["_total_items"], 2);
}
