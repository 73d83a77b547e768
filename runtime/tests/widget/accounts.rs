use super::*;

#[tokio::test]
async fn an_installed_account_is_connected_by_whoever_knows_the_password() {
    let world = World::new().await;
    let page = world.page();
    assert_eq!(page.state().await, "disconnected");
    let code = world.peer.install(DEMO);
    let told = page.redirect(&code).await;
    assert_eq!((told.status, told.header("location")), (200, None), "{told:?}");
    let answer = world.connect(DEMO).await;
    let expected =
        json!({ "state": "connected", "scope_id": format!("{CHANNEL}_{}", DEMO.1), "title": "Shop" });
    assert_eq!((answer.status, json(&answer)), (200, expected));
    assert_eq!(answer.header("access-control-allow-origin"), Some(page.origin.as_str()));
    assert_eq!((answer.header("vary"), answer.header("cache-control")), (Some("Origin"), Some("no-store")));
    assert!(world.peer.is_connected(DEMO));

    let shown = page.ask("GET", &format!("/widget/state?amojo_id={}", DEMO.1), "").await;
    assert_eq!(json(&shown), json!({ "state": "connected", "title": "Shop", "since": NOW }));
    let again = page.connect().await;
    assert_eq!(again.status, 200, "once more changes nothing: {again:?}");

    let done = page.disconnect().await;
    assert_eq!((done.status, json(&done)), (200, json!({ "state": "disconnected" })));
    assert!(!world.peer.is_connected(DEMO));
    assert_eq!(page.state().await, "disconnected");
    assert_eq!(page.disconnect().await.status, 200, "idempotent");
    assert_eq!(world.peer.count("DELETE "), 1);
    assert_eq!(page.connect().await.status, 200);
    assert!(world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn the_account_itself_says_which_one_it_is() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let form = |more: serde_json::Value| {
        let mut form = json!({ "login": LOGIN, "password": PASSWORD, "amojo_id": DEMO.1 });
        form.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        form.to_string()
    };
    for wrong in
        [json!({ "amojo_id": OTHER.1 }), json!({ "account_id": OTHER.0 }), json!({ "subdomain": "other" })]
    {
        let answer = page.ask("POST", "/widget/connect", &form(wrong)).await;
        assert_eq!(refusal(&answer), (403, "ACCOUNT_MISMATCH".into()));
    }
    let state = page.ask("GET", &format!("/widget/state?amojo_id={}", OTHER.1), "").await;
    assert_eq!(refusal(&state), (403, "ACCOUNT_MISMATCH".into()));
    let other = json!({ "amojo_id": OTHER.1 }).to_string();
    assert_eq!(refusal(&page.ask("POST", "/widget/disconnect", &other).await).1, "ACCOUNT_MISMATCH");
    assert!(!world.peer.is_connected(OTHER));
    let right = json!({ "account_id": DEMO.0.to_string(), "subdomain": "demo" });
    assert_eq!(page.ask("POST", "/widget/connect", &form(right)).await.status, 200);

    // A wish for another account is not fulfilled either.
    let page = world.page_of(OTHER);
    let wish = json!({ "login": LOGIN, "password": PASSWORD, "amojo_id": "99999999-aaaa" }).to_string();
    assert_eq!(refusal(&page.ask("POST", "/widget/connect", &wish).await).1, "NOT_INSTALLED");
    let code = world.peer.install(OTHER);
    page.redirect(&code).await;
    // To see who it is, and to look again whether it is the one that was wished for.
    let before = world.peer.count("GET /api/v4/account");
    world.peer.reached("GET /api/v4/account", before.max(2) + 1).await;
    assert_eq!(world.connect(OTHER).await.status, 200);
    assert_eq!(world.peer.count("POST /v2/origin"), 3, "one for each that was right");
}

#[tokio::test]
async fn switched_off_and_installed_again() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    assert_eq!(page.disable("another secret").await.status, 401, "forged");
    assert_eq!(page.call("GET", "/disable", &[], "").await.status, 400);
    let for_other = sign(INTEGRATION_SECRET, &format!("{INTEGRATION}|{}", OTHER.0));
    let query = format!("client_uuid={INTEGRATION}&account_id={}&signature={for_other}", DEMO.0);
    assert_eq!(page.call("POST", &format!("/disable?{query}"), &[], "").await.status, 405);
    assert_eq!(
        page.call("GET", &format!("/disable?{query}"), &[], "").await.status,
        401,
        "of another account"
    );
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("connected", Some("connected")));

    world.peer.revoke(DEMO);
    assert_eq!(page.disable(INTEGRATION_SECRET).await.status, 200);
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("disconnected", Some("disabled")));
    assert_eq!(page.disable(INTEGRATION_SECRET).await.status, 200, "idempotent");
    assert!(world.runtime().widget().expect("on").crm(INTEGRATION, DEMO.0).await.is_err(), "no tokens");
    world.restart().await;
    let page = world.page();
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("disconnected", Some("disabled")));
    assert_eq!(refusal(&page.connect().await).1, "NOT_INSTALLED");

    world.link(DEMO).await;
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("connected", Some("connected")));
    assert!(world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn a_lost_disable_hook_is_noticed() {
    let world = World::new().await;
    world.link(DEMO).await;
    world.peer.revoke(DEMO);
    assert_eq!(refusal(&world.page().connect().await).1, "NOT_INSTALLED");
    assert!(!world.peer.is_connected(DEMO));
    world.link(DEMO).await;
}

#[tokio::test]
async fn tokens_are_refreshed_and_the_new_ones_are_kept() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    for _ in 0..2 {
        world.peer.expire();
        assert_eq!(world.page().connect().await.status, 200);
        world.restart().await;
        assert_eq!(world.page().connect().await.status, 200);
    }
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 3, "a code, and two refreshes");
}

#[tokio::test]
async fn a_double_click_connects_one_after_the_other() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let answers = futures_util::future::join_all((0..4).map(|_| page.connect())).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(world.peer.most_at_once(), 1, "one account is one at a time");
}

#[tokio::test]
async fn a_slow_account_does_not_hold_up_another_one() {
    let world = World::with("crm_timeout_ms = 60000").await;
    world.link(DEMO).await;
    world.link(OTHER).await;
    world.peer.hold("/api/v4/account");
    let asked = world.peer.count("GET /api/v4/account");
    let (one, other) = (world.page_of(DEMO), world.page_of(OTHER));
    let both = async { tokio::join!(one.connect(), other.connect()) };
    let release = async {
        // Both wait for the CRM at the same time.
        world.peer.reached("GET /api/v4/account", asked + 2).await;
        world.peer.work_again();
    };
    let ((one, other), ()) = soon("both", async { tokio::join!(both, release) }).await;
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(json(&one)["scope_id"], format!("{CHANNEL}_{}", DEMO.1));
    assert_eq!(json(&other)["scope_id"], format!("{CHANNEL}_{}", OTHER.1));
}

#[tokio::test]
async fn a_crm_that_is_down_or_slow_is_told_of() {
    let world = World::with("crm_timeout_ms = 400").await;
    world.link(DEMO).await;
    world.peer.fail("/api/v4/account", 502);
    let down = world.page().connect().await;
    assert_eq!(refusal(&down), (503, "CRM_UNAVAILABLE".into()));
    assert_eq!(json(&down)["error"]["retry_after"], 10);
    world.peer.work_again();
    world.peer.hold("/api/v4/account");
    assert_eq!(refusal(&world.page().connect().await), (503, "CRM_UNAVAILABLE".into()));
    world.peer.work_again();
    for (status, expected) in
        [(403, (502, "CHANNEL_REFUSED")), (404, (502, "CHANNEL_REFUSED")), (500, (503, "CRM_UNAVAILABLE"))]
    {
        world.peer.fail("/v2/", status);
        let answer = world.page().connect().await;
        assert_eq!(refusal(&answer), (expected.0, expected.1.into()), "{status}");
        world.peer.work_again();
    }
    assert_eq!(world.page().connect().await.status, 200, "and it works again");
}

#[tokio::test]
async fn tokens_that_come_with_the_end_are_kept() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    world.peer.expire();
    world.peer.hold("/oauth2/access_token");
    let crm = world.runtime().widget().expect("on").crm(INTEGRATION, DEMO.0).await.expect("installed");
    let asking = tokio::spawn(async move { crm.account().await.map(drop) });
    world.peer.reached("POST /oauth2/access_token", 2).await;
    let runtime = world.runtime.take().expect("it runs");
    let admin = runtime.admin_address();
    let ending = tokio::spawn(runtime.shutdown(Duration::from_secs(20)));
    soon("end", async { while TcpStream::connect(admin).await.is_ok() {} }).await;
    world.peer.work_again();
    soon("end", ending).await.expect("no panic");
    soon("answer", asking).await.expect("no panic").expect("with the new token");

    world.start().await;
    assert_eq!(world.connect(DEMO).await.status, 200);
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 2, "a code, and one refresh");
}
