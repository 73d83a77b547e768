//! What was allowed and did not work is tried again, without anybody.

use super::*;

impl World {
    /// The account's state, once the server has tried so often.
    async fn tried(&self, tries: u64) -> serde_json::Value {
        let looking = async {
            loop {
                let state = self.state().await;
                if state["tries"] == tries {
                    break state;
                }
            }
        };
        soon("attempt", looking).await
    }

    /// What the page of the account is told, at whatever time it is.
    async fn state(&self) -> serde_json::Value {
        let now = self.clock.now().duration_since(UNIX_EPOCH).expect("later").as_secs();
        let mut claims = claims(&self.peer.origin(), DEMO);
        (claims["iat"], claims["nbf"], claims["exp"]) = (json!(now), json!(now), json!(now + 1800));
        let token = jwt(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, INTEGRATION_SECRET);
        let page = self.page();
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", token.as_str())];
        json(&page.call("GET", &format!("/widget/state?amojo_id={}", DEMO.1), &headers, "").await)
    }

    /// Installed, and allowed to connect while a part of the CRM does not work.
    async fn linked_in_vain(&self, broken: &str, status: u16) {
        let code = self.peer.install(DEMO);
        self.page().redirect(&code).await;
        self.installed(DEMO).await;
        self.peer.fail(broken, status);
        assert_eq!(refusal(&self.page().connect().await), (503, "CRM_UNAVAILABLE".into()));
    }

    fn known(&self) -> (&'static str, Option<String>) {
        let scope = format!("{CHANNEL}_{}", DEMO.1).into();
        let known = self.runtime().channels().accounts().get(&scope).expect("in the list");
        (known.state.name(), known.problem)
    }
}

#[tokio::test]
async fn a_connection_that_failed_is_made_when_the_vendor_is_back() {
    for (broken, status) in [("/v2/", 502), ("/v2/", 429), ("/api/v4/account", 503)] {
        let mut world = World::new().await;
        world.linked_in_vain(broken, status).await;
        let shown = world.tried(1).await;
        let expected =
            json!({ "state": "connecting", "problem": "CRM_UNAVAILABLE", "tries": 1, "retry_after": 2 });
        assert_eq!(shown, expected);
        let (state, problem) = world.known();
        assert_eq!(state, "discovered");
        assert_eq!(problem.as_deref(), Some(if status == 429 { "RATE_LIMITED" } else { "UNAVAILABLE" }));
        world.restart().await;
        assert_eq!(world.tried(1).await, expected, "the turn is kept");
        world.clock.advance(Duration::from_secs(2));
        assert_eq!(world.tried(2).await["retry_after"], 4);
        world.peer.work_again();
        world.clock.advance(Duration::from_secs(4));
        world.peer.connected(DEMO).await;
        let showing = async { while world.page().state().await != "connected" {} };
        soon("state", showing).await;
        assert_eq!(world.known(), ("connected", None));
    }
}

#[tokio::test]
async fn a_time_out_is_tried_again_as_well() {
    let world = World::with("crm_timeout_ms = 300").await;
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.installed(DEMO).await;
    world.peer.hold("/api/v4/account");
    assert_eq!(refusal(&world.page().connect().await).1, "CRM_UNAVAILABLE");
    assert_eq!(world.known().1.as_deref(), Some("TIMEOUT"));
    world.peer.work_again();
    world.clock.advance(Duration::from_secs(2));
    world.peer.connected(DEMO).await;
}

#[tokio::test]
async fn the_delay_grows_and_the_attempts_end() {
    let log = Log::hear();
    let world = World::new().await;
    world.linked_in_vain("/v2/", 500).await;
    for (tries, delay) in (1..).zip([2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]) {
        assert_eq!(world.tried(tries).await["retry_after"], delay);
        // A moment before its time nothing happens, which the next count would tell.
        world.clock.advance(Duration::from_millis(delay * 1000 - 1));
        assert_eq!(world.tried(tries).await["retry_after"], 1);
        world.clock.advance(Duration::from_millis(1));
    }
    world.tried(12).await;
    let asked = world.peer.count("POST /v2/");
    assert_eq!(asked, 12);
    world.clock.advance(Duration::from_hours(24));
    let showing = async { while world.state().await["state"] != "failed" {} };
    soon("the end", showing).await;
    let given_up = async {
        while !log.said().contains("is not tried any more") {
            tokio::task::yield_now().await;
        }
    };
    soon("the end", given_up).await;
    assert_eq!(world.peer.count("POST /v2/"), asked);
    assert!(log.said().contains("again_in_s=900") && !log.said().contains("planted"), "{}", log.said());
}

#[tokio::test]
async fn what_the_vendor_refuses_is_not_tried_again() {
    for status in [400, 403, 404] {
        let world = World::new().await;
        let code = world.peer.install(DEMO);
        world.page().redirect(&code).await;
        world.installed(DEMO).await;
        world.peer.fail("/v2/", status);
        assert_eq!(refusal(&world.page().connect().await), (502, "CHANNEL_REFUSED".into()));
        assert_eq!(world.page().state().await, "failed");
    }
}

#[tokio::test]
async fn whoever_disconnects_or_switches_off_meanwhile_stays_disconnected() {
    for switched_off in [false, true] {
        let world = World::new().await;
        world.linked_in_vain("/api/v4/account", 500).await;
        world.tried(1).await;
        let page = world.page();
        let done =
            if switched_off { page.disable(INTEGRATION_SECRET).await } else { page.disconnect().await };
        assert_eq!(done.status, 200, "{done:?}");
        world.peer.work_again();
        world.clock.advance(Duration::from_mins(10));
        // The worker has been round: another account was installed and connected by it.
        assert_eq!(refusal(&world.page_of(OTHER).connect().await).1, "NOT_INSTALLED");
        let code = world.peer.install(OTHER);
        world.page_of(OTHER).redirect(&code).await;
        world.peer.connected(OTHER).await;
        assert!(!world.peer.is_connected(DEMO), "switched off: {switched_off}");
    }
}

#[tokio::test]
async fn an_attempt_under_way_does_not_outlive_the_wish() {
    let world = World::with("crm_timeout_ms = 60000").await;
    world.linked_in_vain("/v2/", 500).await;
    world.tried(1).await;
    world.peer.work_again();
    world.peer.hold("/v2/");
    world.clock.advance(Duration::from_secs(2));
    // The server's own attempt and then the page's, which waits for its turn.
    world.peer.reached("POST /v2/", 2).await;
    let page = world.page();
    let release = async {
        world.peer.work_again();
    };
    let (done, ()) = tokio::join!(page.disconnect(), release);
    assert_eq!(done.status, 200);
    assert_eq!(page.state().await, "disconnected");
    assert!(!world.peer.is_connected(DEMO));
}
