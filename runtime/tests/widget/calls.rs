use super::*;

#[tokio::test]
async fn only_tokens_of_the_crm_for_this_page_count() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims(&page.origin, DEMO);
        claims[name] = value;
        jwt(header, &claims, INTEGRATION_SECRET)
    };
    let plain = || claims(&page.origin, DEMO);
    let unsigned = jwt(r#"{"alg":"none"}"#, &plain(), INTEGRATION_SECRET);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').expect("three parts").0);
    for (what, token, code) in [
        ("expired", with("exp", json!(NOW - 11)), "TOKEN_EXPIRED"),
        ("still to come", with("nbf", json!(NOW + 60)), "TOKEN_INVALID"),
        ("made later", with("iat", json!(NOW + 60)), "TOKEN_INVALID"),
        ("wrong aud", with("aud", json!("https://other.example.org")), "TOKEN_INVALID"),
        ("foreign iss", with("iss", json!("https://evil.example.org")), "TOKEN_INVALID"),
        ("iss of another page", with("iss", json!("https://other.amocrm.ru")), "TOKEN_INVALID"),
        ("iss of the inside", with("iss", json!("http://169.254.169.254")), "TOKEN_INVALID"),
        ("other integration", with("client_uuid", json!("another")), "TOKEN_INVALID"),
        ("no jti", with("jti", json!("")), "TOKEN_INVALID"),
        ("no account", with("account_id", json!(null)), "TOKEN_INVALID"),
        ("wrong key", jwt(header, &plain(), "another secret"), "TOKEN_INVALID"),
        ("the channel's key", jwt(header, &plain(), support::SECRET), "TOKEN_INVALID"),
        ("alg none", jwt(r#"{"alg":"none"}"#, &plain(), INTEGRATION_SECRET), "TOKEN_INVALID"),
        ("alg none, unsigned", unsigned, "TOKEN_INVALID"),
        ("alg HS512", jwt(r#"{"alg":"HS512"}"#, &plain(), INTEGRATION_SECRET), "TOKEN_INVALID"),
        ("no token", "x".into(), "TOKEN_INVALID"),
    ] {
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", token.as_str())];
        let state = format!("/widget/state?amojo_id={}", DEMO.1);
        for (method, target) in
            [("POST", "/widget/connect"), ("POST", "/widget/disconnect"), ("GET", state.as_str())]
        {
            let answer = page.call(method, target, &headers, &page.form(LOGIN, PASSWORD)).await;
            assert_eq!(refusal(&answer), (401, code.into()), "{what} {target}");
            assert!(
                answer.header("access-control-allow-origin").is_some(),
                "the page must be able to read it"
            );
        }
    }
    let without = page.call("POST", "/widget/connect", &[("Origin", &page.origin)], "{}").await;
    assert_eq!(refusal(&without), (400, "BAD_REQUEST".into()));
    let form = page.form(LOGIN, PASSWORD);
    let without = page.call("POST", "/widget/connect", &[("Origin", &page.origin)], &form).await;
    assert_eq!(refusal(&without), (401, "TOKEN_INVALID".into()));
    assert!(world.peer.is_connected(DEMO), "nothing was disconnected");
    assert_eq!(page.connect().await.status, 200);
}

#[tokio::test]
async fn a_token_counts_once_also_over_a_restart() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    let token = token(&world.peer.origin(), DEMO);
    let ask = async |world: &World| {
        let page = world.page();
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", &token)];
        page.call("POST", "/widget/connect", &headers, &page.form(LOGIN, PASSWORD)).await
    };
    assert_eq!(ask(&world).await.status, 200);
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_INVALID".into()));
    world.restart().await;
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_INVALID".into()));
    // To the last moment in which it would be taken.
    world.clock.advance(Duration::from_secs(1809));
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_INVALID".into()));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_EXPIRED".into()));
}

#[tokio::test]
async fn pages_that_keep_a_token_can_be_allowed_for() {
    let world = World::with("token_uses = 2").await;
    let token = token(&world.peer.origin(), DEMO);
    let page = world.page();
    let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", token.as_str())];
    for status in [403, 403, 401] {
        let answer = page.call("POST", "/widget/connect", &headers, &page.form(LOGIN, "wrong")).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn only_pages_of_the_crm_may_call() {
    let world = World::new().await;
    let page = world.page();
    let token = token(&page.origin, DEMO);
    for origin in
        ["https://evil.example", "null", "https://demo.amocrm.ru.evil.example", "http://demo.amocrm.ru"]
    {
        for method in ["OPTIONS", "POST"] {
            let headers = [("Origin", origin), ("X-Auth-Token", token.as_str())];
            let answer = page.call(method, "/widget/connect", &headers, &page.form(LOGIN, PASSWORD)).await;
            assert_eq!(refusal(&answer), (403, "ORIGIN_NOT_ALLOWED".into()), "{method} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {origin}");
        }
    }
    let without = page.call("POST", "/widget/connect", &[("X-Auth-Token", &token)], "{}").await;
    assert_eq!(refusal(&without), (403, "ORIGIN_NOT_ALLOWED".into()));

    for origin in
        ["https://demo.amocrm.ru", "https://demo.amocrm.com", "https://demo.kommo.com", &page.origin]
    {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type,x-auth-token"),
        ];
        let answer = page.call("OPTIONS", "/widget/connect", &headers, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(origin)));
        let allowed =
            |name: &str, value: &str| answer.header(name).is_some_and(|header| header.contains(value));
        assert!(
            allowed("access-control-allow-methods", "POST") && allowed("access-control-allow-methods", "GET")
        );
        assert!(allowed("access-control-allow-headers", "x-auth-token"));
        assert!(allowed("access-control-allow-headers", "content-type"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn bad_calls_are_named() {
    let world = World::new().await;
    let page = world.page();
    let large = page.form(LOGIN, &"x".repeat(20_000));
    let answer = page.ask("POST", "/widget/connect", &large).await;
    assert_eq!(refusal(&answer), (413, "BAD_REQUEST".into()));
    assert_eq!(answer.header("access-control-allow-origin"), Some(page.origin.as_str()));
    for body in [
        "",
        "{",
        "[]",
        "{\"login\":\"a\",\"password\":\"b\"}",
        "{\"login\":1,\"password\":\"b\",\"amojo_id\":\"c\"}",
        "{\"login\":\"a\",\"password\":\"b\",\"amojo_id\":\"../x\"}",
        "login=a&password=b",
    ] {
        assert_eq!(
            refusal(&page.ask("POST", "/widget/connect", body).await),
            (400, "BAD_REQUEST".into()),
            "{body}"
        );
    }
    assert_eq!(refusal(&page.ask("POST", "/widget/disconnect", "{}").await).0, 400);
    assert_eq!(refusal(&page.ask("GET", "/widget/state", "").await).0, 400);
    for (method, target, allow) in [
        ("GET", "/widget/connect", "POST, OPTIONS"),
        ("DELETE", "/widget/disconnect", "POST, OPTIONS"),
        ("POST", "/widget/state", "GET, OPTIONS"),
        ("POST", "/oauth/redirect", "GET"),
    ] {
        let answer = page.ask(method, target, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
    assert_eq!(page.ask("POST", "/widget/other", "").await.status, 404);
}
