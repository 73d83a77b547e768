//! The client of the CRM against a hand-written peer that records what it gets and answers anything.

mod peer;

use amochats::crm::{
    ChatLink, ClientSecret, Integration, LinkedTo, NewContact, NewSource, NewSubscription, NewTemplate,
    ReviewStatus, SourceChange, TemplateChange, Token, Tokens,
};
use amochats::{ANSWER_MAX, CrmClient, CrmClientBuilder, Error, ErrorKind, Region, TokenStore};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use peer::{Recorded, Then, answer, peer, peer_with};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

const CHAT: &str = "6cbab3d5-c4c1-46ff-b710-ad59ad10805f";
const ACCOUNT: &str =
    r#"{"id":1231414,"amojo_id":"f3c6340d-410e-4ad1-9f7e-c5e663599909","amojo_rights":null}"#;
/// Text that must not show in an error.
const PRIVATE: &str = "call me at +15550100";

fn token(text: &str) -> Token {
    Token::new(text).expect("a token")
}

/// As fast as the machine allows.
fn unpaced(base_url: &str) -> CrmClientBuilder {
    CrmClient::builder()
        .base_url(base_url)
        .request_interval(Duration::ZERO)
        .retry_delay(Duration::from_millis(1))
}

fn client(base_url: &str) -> CrmClient {
    unpaced(base_url).token(token("access-1")).build().expect("valid settings")
}

fn drain(requests: &mut mpsc::UnboundedReceiver<Recorded>) -> Vec<Recorded> {
    std::iter::from_fn(|| requests.try_recv().ok()).collect()
}

fn assert_silent(error: &Error) {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        for text in [error.to_string(), format!("{error:?}")] {
            for private in ["access-", "refresh-", "secret", "api-key", PRIVATE, "\n"] {
                assert!(!text.contains(private), "{text}");
            }
        }
        cause = error.source();
    }
}

#[tokio::test]
async fn a_call_carries_the_token_and_nothing_of_a_session() {
    let (url, mut requests) = peer(answer("200 OK", "Set-Cookie: session=1\r\n", ACCOUNT)).await;
    let client = client(&url);
    for _ in 0..2 {
        let account = client.account().await.expect("accepted");
        assert_eq!(account.amojo_id, Some("f3c6340d-410e-4ad1-9f7e-c5e663599909".into()));
    }
    for request in drain(&mut requests) {
        assert_eq!(request.line, "GET /api/v4/account?with=amojo_id,amojo_rights,drive_url,version HTTP/1.1");
        assert_eq!(request.header("Authorization"), Some("Bearer access-1"));
        assert_eq!(request.header("User-Agent"), Some(concat!("amochats/", env!("CARGO_PKG_VERSION"))));
        for unwanted in ["Cookie", "X-Signature", "Content-Type"] {
            assert_eq!(request.header(unwanted), None);
        }
    }
}

#[tokio::test]
async fn the_legacy_look_up_carries_login_and_key_alone() {
    let body = r#"{"response":{"account":{"id":"8","amojo_id":"A","subdomain":"shop"}}}"#;
    let (url, mut requests) = peer(answer("200 OK", "", body)).await;
    let client = unpaced(&url).build().expect("valid");
    let account = client.legacy_account("a+b@example.com", "api-key&1").await.expect("accepted");
    assert_eq!((account.id, account.amojo_id), (Some(8), Some("A".into())));
    let request = requests.recv().await.expect("the request arrived");
    assert_eq!(
        request.line,
        "GET /private/api/v2/json/accounts/current?amojo=Y&USER_LOGIN=a%2Bb%40example.com&USER_HASH=api-key%261 HTTP/1.1"
    );
    assert_eq!(request.header("Authorization"), None);
    assert_eq!(client.account().await.expect_err("no token").field(), Some("token"));
}

/// Makes one call to a peer that answers `status` and `body`, and gives its request.
macro_rules! sent {
    ($status:literal, $body:expr, |$client:ident| $call:expr) => {{
        let (url, mut requests) = peer(answer($status, "", $body)).await;
        let $client = client(&url);
        let answered = $call.await.expect("accepted");
        let mut all = drain(&mut requests);
        let request = all.pop().expect("the request arrived");
        assert!(all.is_empty(), "a call is sent once");
        assert_eq!(request.header("Authorization"), Some("Bearer access-1"));
        let line = request.line.strip_suffix(" HTTP/1.1").expect("a request line").to_owned();
        let json = (!request.body.is_empty()).then_some("application/json");
        assert_eq!(request.header("Content-Type"), json);
        (answered, line, String::from_utf8(request.body).expect("JSON"))
    }};
}

#[tokio::test]
async fn chats_are_linked_to_contacts() {
    let chats = r#"{"_total_items":1,"_embedded":{"chats":[{"chat_id":"C","contact_id":5,"id":9,"request_id":"0"}]}}"#;
    let (linked, line, body) = sent!("200 OK", chats, |c| c.link_chats(&[ChatLink::new(5, CHAT)]));
    assert_eq!((linked[0].id, linked[0].contact_id), (9, 5));
    assert_eq!(line, "POST /api/v4/contacts/chats");
    assert_eq!(body, format!(r#"[{{"contact_id":5,"chat_id":"{CHAT}"}}]"#));

    let (linked, line, _) = sent!("200 OK", chats, |c| c.linked_chats(LinkedTo::Contacts(&[5])));
    assert_eq!((linked.len(), &*line), (1, "GET /api/v4/contacts/chats?contact_id=5"));
    let two = ["a".into(), "b".into()];
    let (linked, line, _) = sent!("204 No Content", "", |c| c.linked_chats(LinkedTo::Chats(&two)));
    assert_eq!((linked.len(), &*line), (0, "GET /api/v4/contacts/chats?chat_id%5B%5D=a&chat_id%5B%5D=b"));

    let contacts = r#"{"_embedded":{"contacts":[{"id":3,"request_id":"0"}]}}"#;
    let contact = NewContact { name: Some("Anna".into()), ..NewContact::default() };
    let (made, line, body) = sent!("200 OK", contacts, |c| c.add_contacts(&[contact]));
    assert_eq!((made[0].id, &*line, &*body), (3, "POST /api/v4/contacts", r#"[{"name":"Anna"}]"#));
}

#[tokio::test]
async fn users_have_ids_on_both_sides() {
    let users = r#"{"_links":{"next":{"href":"x"}},"_embedded":{"users":[{"id":1,"amojo_id":null},{"id":2,"amojo_id":"U"}]}}"#;
    let (page, line, _) = sent!("200 OK", users, |c| c.users(3));
    assert_eq!(
        page.items.iter().map(|user| user.amojo_id.clone()).collect::<Vec<_>>(),
        [None, Some("U".into())]
    );
    assert!(page.has_next);
    assert_eq!(line, "GET /api/v4/users?with=amojo_id&page=3&limit=250");
    let (user, line, _) = sent!("200 OK", r#"{"id":7,"amojo_id":"V"}"#, |c| c.user(7));
    assert_eq!((user.id, &*line), (7, "GET /api/v4/users/7?with=amojo_id"));
}

#[tokio::test]
async fn sources_are_kept_in_order() {
    let sources = r#"{"_embedded":{"sources":[{"id":9,"name":"n","external_id":"e","services":[]}]}}"#;
    let (listed, line, _) = sent!("200 OK", sources, |c| c.sources(&[]));
    assert_eq!((listed[0].id, &*line), (9, "GET /api/v4/sources"));
    let (none, ..) = sent!("204 No Content", "", |c| c.sources(&["e"]));
    assert!(none.is_empty());
    let (one, line, _) = sent!("200 OK", r#"{"id":9}"#, |c| c.source(9));
    assert_eq!((one.map(|source| source.id), &*line), (Some(9), "GET /api/v4/sources/9"));
    let (none, ..) = sent!("204 No Content", "", |c| c.source(8));
    assert_eq!(none, None);

    let new = [NewSource::new("n", "e")];
    let (made, line, body) = sent!("200 OK", sources, |c| c.add_sources(&new));
    assert_eq!((made.len(), &*line), (1, "POST /api/v4/sources"));
    assert_eq!(body, r#"[{"name":"n","external_id":"e"}]"#);
    let change = [SourceChange { id: 9, name: Some("m".into()), ..SourceChange::default() }];
    let (_, line, body) = sent!("200 OK", sources, |c| c.update_sources(&change));
    assert_eq!((&*line, &*body), ("PATCH /api/v4/sources", r#"[{"id":9,"name":"m"}]"#));
    let ((), line, body) = sent!("204 No Content", "", |c| c.delete_sources(&[9, 4]));
    assert_eq!((&*line, &*body), ("DELETE /api/v4/sources", r#"[{"id":9},{"id":4}]"#));
}

#[tokio::test]
async fn templates_go_through_their_reviews() {
    let templates =
        r#"{"_links":{"next":{"href":"x"}},"_embedded":{"chat_templates":[{"id":7,"waba_examples":[]}]}}"#;
    let (page, line, _) = sent!("200 OK", templates, |c| c.templates(2, Some("e 1")));
    assert_eq!((page.items[0].id, page.has_next), (7, true));
    assert_eq!(line, "GET /api/v4/chats/templates?with=reviews&page=2&limit=50&filter%5Bexternal_id%5D=e+1");
    let (one, line, _) = sent!("200 OK", r#"{"id":7}"#, |c| c.template(7));
    assert_eq!((one.id, &*line), (7, "GET /api/v4/chats/templates/7?with=reviews"));

    let new = [NewTemplate::new("n", "c")];
    let (made, line, body) = sent!("200 OK", templates, |c| c.add_templates(&new));
    assert_eq!((made.len(), &*line), (1, "POST /api/v4/chats/templates"));
    assert_eq!(body, r#"[{"name":"n","content":"c"}]"#);
    let change = [TemplateChange { id: 7, content: Some("d".into()), ..TemplateChange::default() }];
    let (_, line, body) = sent!("200 OK", templates, |c| c.update_templates(&change));
    assert_eq!((&*line, &*body), ("PATCH /api/v4/chats/templates", r#"[{"id":7,"content":"d"}]"#));
    let ((), line, body) = sent!("204 No Content", "", |c| c.delete_templates(&[7]));
    assert_eq!((&*line, &*body), ("DELETE /api/v4/chats/templates", r#"[{"id":7}]"#));

    let reviews = r#"{"_embedded":{"reviews":[{"id":367,"status":"review"}]}}"#;
    let (handed_in, line, body) = sent!("200 OK", reviews, |c| c.submit_template(7));
    assert_eq!((handed_in[0].id, &*line, &*body), (367, "POST /api/v4/chats/templates/7/review", "{}"));
    let rejected = ReviewStatus::Rejected { reject_reason: "no".into() };
    let (review, line, body) =
        sent!("200 OK", r#"{"id":367,"status":"rejected"}"#, |c| c.set_review_status(7, 367, &rejected));
    assert_eq!(
        (review.status.as_deref(), &*line),
        (Some("rejected"), "POST /api/v4/chats/templates/7/review/367")
    );
    assert_eq!(body, r#"{"status":"rejected","reject_reason":"no"}"#);
}

#[tokio::test]
async fn talks_and_subscriptions() {
    let (talk, line, _) = sent!("200 OK", r#"{"talk_id":117,"is_read":true}"#, |c| c.talk(117));
    assert_eq!((talk.talk_id, talk.is_read, &*line), (117, Some(true), "GET /api/v4/talks/117"));
    let ((), line, body) = sent!("202 Accepted", "", |c| c.close_talk(117, true));
    assert_eq!((&*line, &*body), ("POST /api/v4/talks/117/close", r#"{"force_close":true}"#));

    let new = NewSubscription {
        destination: "https://example.test".into(),
        settings: vec!["add_talk".into()],
        sort: None,
    };
    let answer = r#"{"id":5,"destination":"https://example.test","settings":["add_talk"],"disabled":false}"#;
    let (made, line, body) = sent!("201 Created", answer, |c| c.subscribe(&new));
    assert_eq!((made.id, made.disabled, &*line), (Some(5), Some(false), "POST /api/v4/webhooks"));
    assert_eq!(body, r#"{"destination":"https://example.test","settings":["add_talk"]}"#);
    let list = format!(r#"{{"_embedded":{{"webhooks":[{answer}]}}}}"#);
    let (listed, line, _) = sent!("200 OK", &list, |c| c.subscriptions());
    assert_eq!((listed, &*line), (vec![made], "GET /api/v4/webhooks"));
    let ((), line, body) = sent!("204 No Content", "", |c| c.unsubscribe("https://example.test"));
    assert_eq!((&*line, &*body), ("DELETE /api/v4/webhooks", r#"{"destination":"https://example.test"}"#));
}

#[tokio::test]
async fn one_object_is_changed_and_deleted_by_its_path() {
    let change = SourceChange { id: 9, name: Some("m".into()), ..SourceChange::default() };
    let (made, line, body) = sent!("200 OK", r#"{"id":9,"name":"m"}"#, |c| c.update_source(&change));
    assert_eq!((made.id, &*line, &*body), (9, "PATCH /api/v4/sources/9", r#"{"name":"m"}"#));
    let ((), line, body) = sent!("204 No Content", "", |c| c.delete_source(9));
    assert_eq!((&*line, &*body), ("DELETE /api/v4/sources/9", ""));
    let change = TemplateChange { id: 7, content: Some("d".into()), ..TemplateChange::default() };
    let (made, line, body) = sent!("200 OK", r#"{"id":7}"#, |c| c.update_template(&change));
    assert_eq!((made.id, &*line, &*body), (7, "PATCH /api/v4/chats/templates/7", r#"{"content":"d"}"#));
    let ((), line, body) = sent!("204 No Content", "", |c| c.delete_template(7));
    assert_eq!((&*line, &*body), ("DELETE /api/v4/chats/templates/7", ""));
}

#[tokio::test]
async fn a_call_can_be_made_in_the_name_of_another_user() {
    let (url, mut requests) = peer(answer("200 OK", "", ACCOUNT)).await;
    let client = client(&url);
    client.as_user(501).as_user(502).account().await.expect("accepted");
    client.account().await.expect("accepted");
    client.as_user(501).legacy_account("a", "b").await.expect_err("another form");
    let users: Vec<_> = drain(&mut requests)
        .iter()
        .map(|request| request.header("X-Context-User-ID").map(str::to_owned))
        .collect();
    assert_eq!(users, [Some("502".to_owned()), None, None]);
}

#[tokio::test]
async fn a_domain_and_a_code_are_asked_for_without_an_access_token() {
    let (url, mut requests) =
        peer(answer("200 OK", "", r#"{"subdomain":"shop","domain":"shop.kommo.com"}"#)).await;
    let client = unpaced(&url).build().expect("valid");
    let domain = client.current_domain(&token("refresh-1")).await.expect("accepted");
    assert_eq!(domain.domain.as_deref(), Some("shop.kommo.com"));
    let request = requests.recv().await.expect("the request arrived");
    assert_eq!(request.line, "GET /oauth2/account/current/subdomain HTTP/1.1");
    assert_eq!(
        (request.header("X-Refresh-Token"), request.header("Authorization")),
        (Some("refresh-1"), None)
    );

    let (url, mut requests) = peer(answer("202 Accepted", "", "")).await;
    let client = unpaced(&url).build().expect("valid");
    client.exchange_api_key(&integration(), "a@example.com", "api-key", Some("s")).await.expect("accepted");
    let request = requests.recv().await.expect("the request arrived");
    assert_eq!(request.line, "POST /oauth2/exchange_api_key HTTP/1.1");
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        r#"{"login":"a@example.com","api_key":"api-key","client_uuid":"client","client_secret":"secret-of-integration","state":"s"}"#
    );
}

#[tokio::test]
async fn a_list_is_read_page_by_page_to_its_end_or_its_first_error() {
    let page = |request: &Recorded| {
        let number = |n: u32| request.line.contains(&format!("page={n}&"));
        let of = |id: u32, next: &str| {
            answer(
                "200 OK",
                "",
                &format!(
                    r#"{{"_links":{{{next}}},"_embedded":{{"users":[{{"id":{id}}},{{"id":{}}}]}}}}"#,
                    id + 1
                ),
            )
        };
        let more = r#""next":{"href":"x"}"#;
        if number(1) {
            of(1, more)
        } else if number(2) {
            of(3, "")
        } else {
            answer("400 Bad Request", "", "")
        }
    };
    let (url, mut requests) = peer_with(page).await;
    let users = client(&url).users_all();
    assert!(drain(&mut requests).is_empty(), "nothing is read ahead");
    let ids: Vec<i64> = users.map_ok(|user| user.id).try_collect().await.expect("two pages");
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(drain(&mut requests).len(), 2);

    let empty = r#"{"_links":{"next":{"href":"x"}},"_embedded":{"chat_templates":[]}}"#;
    let (url, mut requests) = peer(answer("200 OK", "", empty)).await;
    let none: Vec<_> =
        client(&url).templates_all(Some("e")).try_collect().await.expect("an empty page is the last");
    assert!(none.is_empty());
    let request = drain(&mut requests).pop().expect("one");
    assert!(request.line.contains("filter%5Bexternal_id%5D=e"), "{}", request.line);
    let (url, _requests) = peer(answer("403 Forbidden", "", "")).await;
    let refused: Result<Vec<_>, _> = client(&url).users_all().try_collect().await;
    assert_eq!(refused.expect_err("a no").kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn http_2_over_tls_is_spoken_where_offered() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], own.signing_key.into())
        .expect("a matching key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    let (recorded, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let stream = acceptor.accept(stream).await.expect("a handshake");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request.expect("a request");
            recorded.send(request.into_parts().0).ok();
            let mut body = respond.send_response(http::Response::new(()), false).expect("answered");
            body.send_data(ACCOUNT.into(), true).expect("answered");
        }
    });
    let client =
        unpaced(&url).token(token("access-1")).add_root_certificate(own.cert.pem()).build().expect("valid");
    // One connection carries both calls: the peer takes no other.
    for _ in 0..2 {
        client.account().await.expect("accepted");
        let request = requests.recv().await.expect("the request arrived");
        assert_eq!(request.version, http::Version::HTTP_2);
        assert_eq!(request.headers["authorization"], "Bearer access-1");
    }
}

/// Links a chat at a peer that does `then`; a call that writes, so it is sent once.
async fn failure(then: Then) -> Error {
    let (url, mut requests) = peer(then).await;
    let error = client(&url).link_chats(&[ChatLink::new(5, CHAT)]).await.expect_err("it cannot succeed");
    assert_eq!(drain(&mut requests).len(), 1, "a call that writes is sent once");
    assert_silent(&error);
    error
}

#[tokio::test]
async fn the_status_decides_the_kind() {
    for (status, kind, applied) in [
        ("301 Moved Permanently", ErrorKind::UnexpectedResponse, false),
        ("400 Bad Request", ErrorKind::Rejected, false),
        ("401 Unauthorized", ErrorKind::Forbidden, false),
        ("402 Payment Required", ErrorKind::Forbidden, false),
        ("403 Forbidden", ErrorKind::Forbidden, false),
        ("404 Not Found", ErrorKind::NotFound, false),
        ("413 Content Too Large", ErrorKind::Rejected, false),
        ("422 Unprocessable Content", ErrorKind::Rejected, false),
        ("429 Too Many Requests", ErrorKind::RateLimited, false),
        ("500 Internal Server Error", ErrorKind::Unavailable, true),
        ("503 Service Unavailable", ErrorKind::Unavailable, false),
        ("504 Gateway Timeout", ErrorKind::Unavailable, true),
    ] {
        let error = failure(answer(status, "Retry-After: 3\r\n", "")).await;
        let code: u16 = status[..3].parse().expect("a number");
        assert_eq!((error.kind(), error.http_status()), (kind, Some(code)), "{status}");
        assert_eq!(error.may_have_been_applied(), applied, "{status}");
        let delay = matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable);
        assert_eq!(error.retry_after(), delay.then_some(Duration::from_secs(3)), "{status}");
    }
}

#[tokio::test]
async fn a_problem_names_its_fields() {
    let body = format!(
        r#"{{"validation-errors":[{{"request_id":"1","errors":[{{"code":"NotSupportedChoice","path":"custom_fields_values.0.field_id","detail":"{PRIVATE}"}}]}}],"title":"Bad Request","status":400,"detail":"Request validation failed"}}"#
    );
    let problem_json = "Content-Type: application/problem+json\r\n";
    let error = failure(answer("400 Bad Request", problem_json, &body)).await;
    assert_eq!(error.field(), Some("custom_fields_values.0.field_id"));
    let vendor = error.vendor().expect("the CRM's words");
    assert_eq!(vendor.description.as_deref(), Some("Request validation failed"));
    let problem = vendor.problem.as_deref().expect("a problem");
    assert_eq!(problem.errors.len(), 1);
    assert_eq!(problem.errors[0].request_id.as_deref(), Some("1"));
    assert_eq!(problem.errors[0].detail.as_deref(), Some(PRIVATE));

    let linked = r#"{"code":"AlreadyExists","detail":"Chat already linked to another entity","entity_id":5}"#;
    let error = failure(answer("400 Bad Request", problem_json, linked)).await;
    let vendor = error.vendor().expect("the CRM's words");
    assert_eq!(vendor.error_type.as_deref(), Some("AlreadyExists"));
    assert_eq!(vendor.problem.as_deref().expect("a problem").extra["entity_id"], 5);

    let error = failure(answer("400 Bad Request", "", &format!("<html>{PRIVATE}"))).await;
    assert_eq!(error.vendor().expect("the beginning").problem, None);
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_an_error() {
    let ten = format!(r#"{{"_embedded":{{"chats":[]}},"x":"{}"}}"#, "x".repeat(10_000_000));
    assert!(ten.len() > ANSWER_MAX);
    for (then, kind) in [
        (answer("200 OK", "", "garbage"), ErrorKind::UnexpectedResponse),
        (answer("200 OK", "", r#"{"_embedded":{"chats":[{"id":"x"}]}}"#), ErrorKind::UnexpectedResponse),
        (answer("200 OK", "", &ten), ErrorKind::UnexpectedResponse),
        (Then::AnswerForever, ErrorKind::UnexpectedResponse),
        (Then::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()), ErrorKind::Transport),
        (Then::Answer(b"\0\0garbage\r\n\r\n".to_vec()), ErrorKind::Transport),
        (Then::Cut, ErrorKind::Transport),
    ] {
        let error = failure(then).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.may_have_been_applied(), "{error}");
    }
}

#[tokio::test]
async fn reading_is_repeated_and_ends() {
    for (then, kind) in [
        (answer("503 Service Unavailable", "", ""), ErrorKind::Unavailable),
        (answer("429 Too Many Requests", "Retry-After: 0\r\n", ""), ErrorKind::RateLimited),
        (Then::Cut, ErrorKind::Transport),
    ] {
        let (url, mut requests) = peer(then).await;
        assert_eq!(client(&url).account().await.expect_err("no answer").kind(), kind);
        assert_eq!(drain(&mut requests).len(), 5, "{kind:?}");
    }
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let (url, mut requests) = peer(answer(status, "", "")).await;
        client(&url).account().await.expect_err("a no");
        assert_eq!(drain(&mut requests).len(), 1, "{status}");
    }

    let seen = AtomicUsize::new(0);
    let (url, mut requests) = peer_with(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        0 => Then::Cut,
        1 => answer("502 Bad Gateway", "", ""),
        _ => answer("200 OK", "", ACCOUNT),
    })
    .await;
    client(&url).account().await.expect("the third time");
    assert_eq!(drain(&mut requests).len(), 3);
}

#[tokio::test]
async fn the_deadline_bounds_waiting_and_repeats() {
    let minute = answer("503 Service Unavailable", "Retry-After: 60\r\n", "");
    let (url, mut requests) = peer(minute).await;
    let error = client(&url).account().await.expect_err("the delay is longer than the deadline");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(60))));
    assert_eq!(drain(&mut requests).len(), 1);

    let (url, _requests) = peer(Then::Stall("")).await;
    let hasty = client(&url).with_deadline(Duration::from_millis(50));
    assert_eq!(hasty.account().await.expect_err("silence").kind(), ErrorKind::Timeout);
    let error = hasty.link_chats(&[ChatLink::new(5, CHAT)]).await.expect_err("silence");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Timeout, true));

    let (url, mut requests) = peer(answer("200 OK", "", ACCOUNT)).await;
    let slow = unpaced(&url).token(token("access-1")).request_interval(Duration::from_hours(1));
    let slow = slow.build().expect("valid");
    slow.account().await.expect("the first turn");
    let error = slow.clone().account().await.expect_err("the next turn is in an hour");
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::RateLimited, None));
    assert!(!error.may_have_been_applied());
    assert_eq!(drain(&mut requests).len(), 1);
}

/// Keeps a pair, unless it is told to fail.
struct Store {
    pair: Mutex<Tokens>,
    failures: AtomicUsize,
    stored: AtomicUsize,
}

#[async_trait]
impl TokenStore for Store {
    async fn load(&self) -> amochats::Result<Tokens> {
        Ok(self.pair.lock().expect("unpoisoned").clone())
    }

    async fn store(&self, tokens: &Tokens) -> amochats::Result<()> {
        let fails = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(Error::new(ErrorKind::StoreFailed, "the disk is full"));
        }
        self.stored.fetch_add(1, Ordering::SeqCst);
        *self.pair.lock().expect("unpoisoned") = tokens.clone();
        Ok(())
    }
}

fn pair(generation: usize) -> String {
    format!(
        r#"{{"token_type":"Bearer","expires_in":86400,"access_token":"access-{generation}","refresh_token":"refresh-{generation}"}}"#
    )
}

fn store(generation: usize) -> Arc<Store> {
    let tokens = Tokens::from_json(pair(generation).as_bytes()).expect("tokens");
    Arc::new(Store { pair: Mutex::new(tokens), failures: AtomicUsize::new(0), stored: AtomicUsize::new(0) })
}

fn integration() -> Integration {
    Integration {
        client_id: "client".into(),
        client_secret: ClientSecret::new("secret-of-integration").expect("clean"),
        redirect_uri: "https://example.test/oauth".into(),
    }
}

fn with_store(url: &str, store: &Arc<Store>) -> CrmClient {
    let store: Arc<dyn TokenStore> = store.clone();
    unpaced(url).token_store(store, integration()).build().expect("valid")
}

/// Takes the token `access-2` alone, and gives it for `refresh-1`, once.
async fn renewing() -> (String, mpsc::UnboundedReceiver<Recorded>) {
    let used = AtomicUsize::new(0);
    peer_with(move |request| {
        if request.line.starts_with("POST /oauth2/access_token ") {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let first = body.contains("refresh-1") && used.fetch_add(1, Ordering::SeqCst) == 0;
            return if first { answer("200 OK", "", &pair(2)) } else { answer("400 Bad Request", "", "") };
        }
        match request.header("Authorization") {
            Some("Bearer access-2") => answer("200 OK", "", ACCOUNT),
            _ => answer("401 Unauthorized", "", ""),
        }
    })
    .await
}

fn lines(requests: &mut mpsc::UnboundedReceiver<Recorded>) -> (usize, usize) {
    let all = drain(requests);
    let refreshes = all.iter().filter(|request| request.line.starts_with("POST /oauth2/")).count();
    (all.len() - refreshes, refreshes)
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_and_kept_before_it_is_used() {
    let (url, mut requests) = renewing().await;
    let store = store(1);
    let client = with_store(&url, &store);
    client.account().await.expect("renewed");
    let all = drain(&mut requests);
    let [refused, refresh, again] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(refused.header("Authorization"), Some("Bearer access-1"));
    assert_eq!(refresh.header("Authorization"), None);
    assert_eq!(
        String::from_utf8_lossy(&refresh.body),
        r#"{"client_id":"client","client_secret":"secret-of-integration","grant_type":"refresh_token","refresh_token":"refresh-1","redirect_uri":"https://example.test/oauth"}"#
    );
    assert_eq!(again.header("Authorization"), Some("Bearer access-2"));
    assert_eq!(store.load().await.expect("kept").refresh_token, Some(token("refresh-2")));

    client.account().await.expect("the new one is used at once");
    assert_eq!(lines(&mut requests), (1, 0));
}

#[tokio::test]
async fn many_calls_that_fail_together_renew_once() {
    let (url, mut requests) = renewing().await;
    let store = store(1);
    let client = with_store(&url, &store);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { client.account().await }
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("renewed");
    }
    assert_eq!(lines(&mut requests).1, 1);
    assert_eq!(store.stored.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_pair_that_another_process_got_is_taken() {
    let (url, mut requests) = renewing().await;
    let store = store(1);
    let client = with_store(&url, &store);
    assert_eq!(
        client.subscriptions().await.map(drop).expect_err("not a list").kind(),
        ErrorKind::UnexpectedResponse
    );
    assert_eq!(lines(&mut requests), (2, 1));

    // Both have loaded the first pair; the other one renews it.
    let other = with_store(&url, &store);
    other.account().await.expect("loads the pair that was kept");
    assert_eq!(lines(&mut requests), (1, 0));
}

#[tokio::test]
async fn what_the_store_does_not_take_is_kept_and_tried_again() {
    let (url, mut requests) = renewing().await;
    let store = store(1);
    store.failures.store(2, Ordering::SeqCst);
    let client = with_store(&url, &store);
    for refreshes in [1, 0] {
        let error = client.account().await.expect_err("the store fails");
        assert_eq!(error.kind(), ErrorKind::StoreFailed);
        assert_silent(&error);
        let all = drain(&mut requests);
        assert_eq!(all.iter().filter(|request| request.line.starts_with("POST /oauth2/")).count(), refreshes);
        assert!(
            all.iter().all(|request| request.header("Authorization") != Some("Bearer access-2")),
            "unkept, unused"
        );
    }
    client.account().await.expect("the store works again, and the pair was not lost");
    assert_eq!(lines(&mut requests), (1, 0));
    assert_eq!(store.load().await.expect("kept").access_token, token("access-2"));
}

#[tokio::test]
async fn a_refresh_goes_on_without_its_caller() {
    let (arrived, arrival) = oneshot::channel();
    let arrived = Mutex::new(Some(arrived));
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    // The peer answers in a thread of its own runtime, so that it may block.
    let (address, address_of) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let (url, mut requests) = peer_with(move |request| {
                if !request.line.starts_with("POST /oauth2/") {
                    return answer("401 Unauthorized", "", "");
                }
                if let Some(arrived) = arrived.lock().expect("unpoisoned").take() {
                    arrived.send(()).expect("the test waits");
                }
                gate.lock().expect("unpoisoned").recv().ok();
                answer("200 OK", "", &pair(2))
            })
            .await;
            address.send(url).expect("the test waits");
            while requests.recv().await.is_some() {}
        });
    });
    let url = address_of.await.expect("the peer listens");
    let store = store(1);
    let client = with_store(&url, &store);
    let caller = tokio::spawn({
        let client = client.clone();
        async move { client.account().await }
    });
    arrival.await.expect("the refresh is under way");
    caller.abort();
    assert!(caller.await.expect_err("aborted").is_cancelled());
    drop(go_on);
    // It waits for the refresh to end.
    client.close().await;
    assert_eq!(store.load().await.expect("kept").access_token, token("access-2"));
    // This peer refuses the new token, too, and a refresh does not begin any more.
    let error = client.account().await.expect_err("refused");
    assert_eq!((error.kind(), store.stored.load(Ordering::SeqCst)), (ErrorKind::Closed, 1));
}

#[tokio::test]
async fn a_refresh_that_is_refused_says_so() {
    let (url, mut requests) = peer_with(|request| {
        if request.line.starts_with("POST /oauth2/") {
            answer("400 Bad Request", "", r#"{"title":"Refresh token revoked","status":400,"detail":"x"}"#)
        } else {
            answer("401 Unauthorized", "", "")
        }
    })
    .await;
    let error = with_store(&url, &store(1)).account().await.expect_err("revoked");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Rejected, false));
    assert_silent(&error);
    assert_eq!(lines(&mut requests), (1, 1));

    // A token of a long life has no refresh token.
    let long = store(1);
    *long.pair.lock().expect("unpoisoned") = Tokens::long_lived("access-9").expect("a token");
    let error = with_store(&url, &long).account().await.expect_err("revoked");
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::Forbidden, Some(401)));
    assert_eq!(lines(&mut requests), (1, 0));
}

#[tokio::test]
async fn a_code_is_traded_without_a_token_and_never_twice() {
    let (url, mut requests) = peer(answer("200 OK", "", &pair(1))).await;
    let client = unpaced(&url).build().expect("valid");
    let tokens = client.exchange_code(&integration(), "code-1").await.expect("accepted");
    assert_eq!(tokens.access_token, token("access-1"));
    let request = requests.recv().await.expect("the request arrived");
    assert_eq!(request.line, "POST /oauth2/access_token HTTP/1.1");
    assert_eq!(request.header("Authorization"), None);
    assert!(
        String::from_utf8_lossy(&request.body)
            .contains(r#""grant_type":"authorization_code","code":"code-1""#)
    );

    let (url, mut requests) = peer(answer("500 Internal Server Error", "", "")).await;
    let client = unpaced(&url).build().expect("valid");
    client.exchange_code(&integration(), "code-1").await.expect_err("out of order");
    assert_eq!(drain(&mut requests).len(), 1);
}

#[test]
fn accounts_live_under_their_regions() {
    for (region, url) in [
        (Region::Ru, "https://shop.amocrm.ru"),
        (Region::Kommo, "https://shop.kommo.com"),
        (Region::Com, "https://shop.amocrm.com"),
    ] {
        let client = CrmClient::builder().account(region, "shop").expect("a label").build().expect("valid");
        assert_eq!(client.base_url(), url);
    }
    for subdomain in ["", "a.b", "shop.example.com/", "shop@x", "магазин", &"x".repeat(64)] {
        let error = CrmClient::builder().account(Region::Ru, subdomain).expect_err("no label");
        assert_eq!(error.field(), Some("subdomain"));
    }
    assert_eq!(CrmClient::builder().build().expect_err("nowhere").field(), Some("base_url"));
}
