use super::*;

#[tokio::test]
async fn a_page_may_come_before_the_installation() {
    let world = World::new().await;
    let page = world.page();
    let early = page.connect().await;
    assert_eq!(refusal(&early), (409, "NOT_INSTALLED".into()));
    assert_eq!(
        (json(&early)["error"]["retry_after"].as_u64(), early.header("retry-after")),
        (Some(3), Some("3"))
    );
    assert_eq!(page.state().await, "connecting");
    let code = world.peer.install(DEMO);
    page.redirect(&code).await;
    // Without another call of the page.
    world.peer.connected(DEMO).await;
    let showing = async { while page.state().await != "connected" {} };
    soon("state", showing).await;
    assert_eq!(page.connect().await.status, 200);
}

#[tokio::test]
async fn what_was_wished_for_long_ago_is_not_done() {
    let world = World::new().await;
    assert_eq!(world.page().connect().await.status, 409);
    world.clock.advance(Duration::from_secs(20 * 60 + 1));
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.peer.reached("GET /api/v4/account", 1).await;
    // The worker has been round since: what it does next is seen by the peer.
    let other = world.peer.install(OTHER);
    world.page().redirect(&other).await;
    world.peer.reached("GET /api/v4/account", 2).await;
    assert!(!world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn a_code_is_traded_once_whatever_is_sent() {
    let world = World::new().await;
    let code = world.peer.install(DEMO);
    let page = world.page();
    for _ in 0..3 {
        assert_eq!(page.redirect(&code).await.status, 200);
    }
    assert_eq!(world.connect(DEMO).await.status, 200);
    assert_eq!(page.redirect(&code).await.status, 200);
    assert_eq!(page.connect().await.status, 200);
    let other = world.peer.install(OTHER);
    page.redirect(&other).await;
    assert_eq!(world.connect(OTHER).await.status, 200);
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 2, "one for each account");
}

#[tokio::test]
async fn a_code_survives_a_restart_and_a_crm_that_is_down() {
    let mut world = World::new().await;
    world.peer.fail("/oauth2/", 503);
    let code = world.peer.install(DEMO);
    assert_eq!(world.page().redirect(&code).await.status, 200);
    world.peer.reached("POST /oauth2/access_token", 1).await;
    world.restart().await;
    world.peer.reached("POST /oauth2/access_token", 2).await;
    world.peer.work_again();
    // It waits a second after its first failure, from when that was noticed.
    let widget = world.runtime().widget().expect("on");
    let turning = async {
        while widget.crm(INTEGRATION, DEMO.0).await.is_err() {
            world.clock.advance(Duration::from_millis(100));
        }
    };
    soon("installation", turning).await;
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 3);
}

#[tokio::test]
async fn tokens_that_were_traded_survive_a_crm_that_does_not_say_whose_they_are() {
    let mut world = World::new().await;
    world.peer.fail("/api/v4/account", 503);
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.peer.reached("GET /api/v4/account", 1).await;
    world.stop().await;
    world.peer.work_again();
    // A code would be of no more use.
    world.clock.advance(Duration::from_secs(3600));
    world.start().await;
    world.peer.reached("GET /api/v4/account", 2).await;
    world.installed(DEMO).await;
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 1);
}

#[tokio::test]
async fn a_code_is_not_traded_after_its_life() {
    let world = World::new().await;
    world.peer.fail("/oauth2/", 503);
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.peer.reached("POST /oauth2/access_token", 1).await;
    world.peer.work_again();
    world.clock.advance(Duration::from_secs(20 * 60));
    // Another one is traded after it.
    let other = world.peer.install(OTHER);
    world.page().redirect(&other).await;
    world.peer.reached("GET /api/v4/account", 1).await;
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 2);
}

#[tokio::test]
async fn nobody_makes_the_server_call_another_host() {
    let world = World::new().await;
    let foreign = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = foreign.local_addr().expect("bound").to_string();
    let page = world.page();
    let code = world.peer.install(DEMO);
    let own = world.peer.address.to_string();
    for referer in [
        address.as_str(),
        &format!("{own}@{address}"),
        &format!("{address}#{own}"),
        &format!("{address}/?{own}"),
        "169.254.169.254",
        "localhost",
        "[::1]",
        "evil.example",
        "demo.amocrm.ru.evil.example",
        "amocrm.ru@evil.example",
        "",
    ] {
        let encoded: String = form_urlencoded::byte_serialize(referer.as_bytes()).collect();
        let query = format!("code={code}&referer={encoded}&client_id={INTEGRATION}");
        let answer = page.redirect_with(&query).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{referer}");
        assert!(referer.is_empty() || !answer.body.contains(referer), "nothing is repeated");
    }
    for query in [
        format!("code={code}&referer={own}&client_id=another"),
        format!("code={code}&referer={own}"),
        format!("referer={own}&client_id={INTEGRATION}"),
        format!("code=&referer={own}&client_id={INTEGRATION}"),
        format!("code={code}&code=other&referer={own}&client_id={INTEGRATION}"),
        format!("code={}&referer={own}&client_id={INTEGRATION}", "x".repeat(9000)),
        format!("code={code}&referer={own}&client_id={INTEGRATION}&state=made-up"),
        String::new(),
    ] {
        assert_eq!(page.redirect_with(&query).await.status, 400, "{query}");
    }
    let denied = page.redirect_with("error=access_denied%3Cscript%3E").await;
    assert!(denied.status == 200 && !denied.body.contains("script"), "{denied:?}");
    // The worker has been round: a genuine one came through after all of those.
    page.redirect(&code).await;
    assert_eq!(world.connect(DEMO).await.status, 200);
    let silent = std::future::poll_fn(|cx| std::task::Poll::Ready(foreign.poll_accept(cx).is_pending()));
    assert!(silent.await, "somebody called the foreign host");
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 1);
}

#[tokio::test]
async fn a_state_counts_for_an_hour_and_its_integration() {
    let world = World::new().await;
    let widget = world.runtime().widget().expect("on").clone();
    let page = world.page();
    let code = world.peer.install(DEMO);
    let with = async |state: String| {
        let query =
            format!("code={code}&referer={}&client_id={INTEGRATION}&state={state}", world.peer.address);
        page.redirect_with(&query).await.status
    };
    assert_eq!(with(widget.oauth_state("another")).await, 400);
    let late = widget.oauth_state(INTEGRATION);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(with(late).await, 400);
    assert_eq!(with(widget.oauth_state(INTEGRATION)).await, 200);
    world.peer.reached("POST /oauth2/access_token", 1).await;
}

#[tokio::test]
async fn one_address_cannot_flood_the_redirect_uri() {
    let world = World::new().await;
    world.peer.fail("/oauth2/", 503);
    let send = async |number: usize, peer: &str| {
        let query = format!("code=bogus-{number}&referer={}&client_id={INTEGRATION}", world.peer.address);
        let headers = [("X-Forwarded-For", peer)];
        world.page().call("GET", &format!("/oauth/redirect?{query}"), &headers, "").await.status
    };
    for number in 0..60 {
        assert_eq!(send(number, "192.0.2.1").await, 200);
    }
    assert_eq!(send(60, "192.0.2.1").await, 429);
    assert_eq!(send(61, "192.0.2.2").await, 200, "another one has its own");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(send(62, "192.0.2.1").await, 200);
}
