use super::*;

#[tokio::test]
async fn wrong_logins_and_wrong_passwords_look_the_same() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let mut answers = Vec::new();
    for (login, password) in [
        (LOGIN, "another password"),
        ("nobody", PASSWORD),
        ("", ""),
        (LOGIN, ""),
        (&LOGIN.to_uppercase(), PASSWORD),
        (LOGIN, &"x".repeat(4000)),
        (&"x".repeat(4000), PASSWORD),
    ] {
        let answer = page.ask("POST", "/widget/connect", &page.form(login, password)).await;
        assert_eq!(refusal(&answer), (403, "WRONG_CREDENTIALS".into()));
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(world.peer.count("POST /v2/"), 1, "only the first link");
}

#[tokio::test]
async fn a_login_can_be_changed_under_way() {
    let world = World::new().await;
    world.link(DEMO).await;
    let path = world.folder.path().join("users");
    let kept = std::fs::read_to_string(&path).expect("there");
    std::fs::write(&path, "").expect("written");
    assert_eq!(refusal(&world.page().connect().await).1, "WRONG_CREDENTIALS");
    std::fs::write(&path, "broken").expect("written");
    assert_eq!(refusal(&world.page().connect().await), (503, "SERVER_UNAVAILABLE".into()));
    std::fs::write(&path, kept).expect("written");
    assert_eq!(world.page().connect().await.status, 200);
}

#[tokio::test]
async fn guessing_is_limited_by_account_and_by_address() {
    let world = World::with("attempts = 3\nattempts_per_peer = 5\nattempts_window_s = 300").await;
    world.link(DEMO).await;
    let guess = async |account: Account, peer: &str| {
        let page = world.page_of(account);
        let token = token(&page.origin, account);
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", &token), ("X-Forwarded-For", peer)];
        page.call("POST", "/widget/connect", &headers, &page.form(LOGIN, "guess")).await
    };
    for _ in 0..3 {
        assert_eq!(refusal(&guess(DEMO, "192.0.2.1").await).1, "WRONG_CREDENTIALS");
    }
    let limited = guess(DEMO, "192.0.2.1").await;
    assert_eq!(refusal(&limited), (429, "TOO_MANY_ATTEMPTS".into()));
    assert_eq!(json(&limited)["error"]["retry_after"], 101);
    assert_eq!(refusal(&guess(DEMO, "192.0.2.2").await).0, 429, "the account is limited from everywhere");
    assert_eq!(refusal(&world.page().connect().await).0, 429, "and whoever knows the password waits, too");
    // The address has one left: a refusal for the account counts as well.
    assert_eq!(refusal(&guess(OTHER, "192.0.2.1").await).1, "WRONG_CREDENTIALS");
    assert_eq!(refusal(&guess(OTHER, "192.0.2.1").await).0, 429, "the address is limited in every account");
    assert_eq!(refusal(&guess(OTHER, "192.0.2.3").await).1, "WRONG_CREDENTIALS");
    world.clock.advance(Duration::from_secs(101));
    for _ in 0..10 {
        assert_eq!(world.page().connect().await.status, 200, "what succeeds does not count");
    }
}

/// The operator's own service: tells what it is asked, and answers what it is told.
async fn service(answers: Vec<&'static str>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.ends_with(b"}") {
                let read = stream.read(&mut part).await.expect("readable");
                request.extend_from_slice(&part[..read]);
            }
            let _ = asked.send(String::from_utf8(request).expect("UTF-8"));
            if answer.is_empty() {
                kept.push(stream);
                continue;
            }
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
    });
    (address, requests)
}

#[tokio::test]
async fn the_operators_service_decides_where_it_is_named() {
    let yes = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{\"allow\":true}";
    let no = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"allow\":false}";
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: /yes\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let odd = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntrue";
    let forbidden = "HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (address, mut asked) = service(vec![yes, no, forbidden, elsewhere, odd, ""]).await;
    let world = World::with(&format!(
        "service_url = \"http://{address}/decide\"\nservice_secret = \"shared\"\nservice_timeout_ms = 500"
    ))
    .await;
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    let first = world.connect(DEMO).await;
    assert_eq!(first.status, 200, "{first:?}");
    let request = asked.recv().await.expect("asked");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /decide http/1.1\r\n"), "{head}");
    let signature = sign("shared", &format!("{NOW}.{body}"));
    assert!(head.contains(&format!("x-amochats-timestamp: {NOW}\r\n")), "{head}");
    assert!(head.contains(&format!("x-amochats-signature: v1={signature}")), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let expected = json!({
        "login": LOGIN, "password": PASSWORD, "client_id": INTEGRATION, "crm_account_id": DEMO.0, "crm_user_id": 501,
        "origin": world.peer.origin(), "account_id": DEMO.1, "peer": "127.0.0.1",
    });
    assert_eq!(body, expected);
    assert_eq!(refusal(&world.page().connect().await), (403, "WRONG_CREDENTIALS".into()));
    assert_eq!(refusal(&world.page().connect().await), (403, "WRONG_CREDENTIALS".into()));
    for what in ["a redirect", "another answer", "no answer", "a closed port"] {
        assert_eq!(refusal(&world.page().connect().await), (503, "SERVER_UNAVAILABLE".into()), "{what}");
    }
}

struct Program(mpsc::UnboundedSender<Attempt>);

#[async_trait]
impl Authorizer for Program {
    async fn authorize(&self, attempt: &Attempt) -> amochats::Result<bool> {
        let _ = self.0.send(attempt.clone());
        Ok(attempt.login == LOGIN)
    }
}

#[tokio::test]
async fn a_program_decides_and_serves_the_calls_itself() {
    let world = World::with("# service_url").await;
    let widget = world.runtime().widget().expect("on");
    assert_eq!(refusal(&world.page().connect().await), (503, "SERVER_UNAVAILABLE".into()), "nobody decides");
    let (asked, mut attempts) = mpsc::unbounded_channel();
    widget.set_authorizer(Some(Arc::new(Program(asked))));
    world.link(DEMO).await;
    let attempt = attempts.recv().await.expect("asked");
    assert_eq!((attempt.crm_account_id, attempt.account_id.as_str()), (DEMO.0, DEMO.1));
    assert!(!format!("{attempt:?}").contains("planted"), "{attempt:?}");

    // As another HTTP server hands them over.
    let page = world.page();
    let peer = "192.0.2.1".parse().expect("an address");
    let token = token(&page.origin, DEMO);
    let headers = [("ORIGIN", page.origin.as_str()), ("x-auth-token", token.as_str())];
    let body = page.form(LOGIN, "any");
    let answer = widget.handle("POST", "/widget/connect?x=1", &headers, body.as_bytes(), peer).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let target = format!("/disable?client_uuid={INTEGRATION}&account_id={}&signature=00", DEMO.0);
    assert_eq!(widget.handle("GET", &target, &[], b"", peer).await.status, 401);
    assert_eq!(widget.handle("GET", "/elsewhere", &[], b"", peer).await.status, 404);
    assert!(widget.serves("/oauth/redirect") && widget.serves("/disable") && !widget.serves("/webhook/x"));
}
