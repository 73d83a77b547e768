use super::*;

#[tokio::test]
async fn keys_are_changed_and_none_is_forgotten() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    world.stop().await;
    let old = std::mem::replace(&mut world.key, new_key());
    let refused = world.try_start().await.expect_err("the tokens cannot be read");
    assert_eq!(
        (refused.kind(), refused.field()),
        (ErrorKind::ConfigInvalid, Some("widget.key")),
        "{refused}"
    );
    let more = std::mem::take(&mut world.more);
    world.more = format!("{more}\nold_keys = [\"{old}\"]");
    world.start().await;
    assert_eq!(world.page().connect().await.status, 200);
    world.stop().await;
    // Everything is sealed with the new one by now.
    world.more = more;
    world.start().await;
    assert_eq!(world.page().connect().await.status, 200);
}

#[tokio::test]
async fn neither_the_log_nor_the_file_tells_a_secret() {
    let log = Log::hear();
    let mut world = World::new().await;
    let page = world.page();
    page.ask("POST", "/widget/connect", &page.form(LOGIN, "planted guess")).await;
    page.ask("POST", "/widget/connect", "{\"login\":\"planted body\"").await;
    page.redirect_with("code=planted-odd&referer=planted.example&client_id=planted").await;
    page.disable("planted forgery").await;
    world.link(DEMO).await;
    world.peer.expire();
    assert_eq!(page.connect().await.status, 200);
    world.peer.fail("/oauth2/", 503);
    let code = world.peer.install(OTHER);
    world.page_of(OTHER).redirect(&code).await;
    let asked = world.peer.count("POST /oauth2/access_token");
    world.peer.reached("POST /oauth2/access_token", asked.max(3)).await;
    let shown = format!("{:?}", world.config());
    world.stop().await;

    let log = log.said();
    for told in
        ["denied", "allowed", "crm_account_id=12345678", "amochats::audit", "a disable hook was refused"]
    {
        assert!(log.contains(told), "{told} is not told: {log}");
    }
    assert!(!log.contains("planted"), "{log}");
    assert!(!shown.contains("planted-integration") && !shown.contains(&world.key), "{shown}");
    let mut readable = false;
    for entry in std::fs::read_dir(world.folder.path()).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.ends_with("users") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        for secret in
            ["planted-access", "planted-refresh", "planted-code", "planted password", "planted-login"]
        {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
        readable |= bytes.windows(INTEGRATION.len()).any(|window| window == INTEGRATION.as_bytes());
    }
    assert!(readable, "what is no secret is there to be read");
}

#[test]
fn a_configuration_that_cannot_link_is_refused() {
    let base = |widget: &str, channel: &str| {
        format!(
            "[widget]\nredirect_uri = \"https://chat.example.org/oauth\"\n{widget}\n\
             [[channel]]\nid = \"a\"\nsecret = \"s\"\nregion = \"ru\"\n{channel}\n"
        )
    };
    let integration = "client_id = \"c\"\nclient_secret = \"cs\"";
    let key = format!("key = \"{}\"", new_key());
    let refused = |widget: &str, channel: &str| {
        let error = Config::load(&base(widget, channel), []).err().unwrap_or_else(|| panic!("{widget}"));
        (error.field().unwrap_or_default().to_owned(), error.to_string())
    };
    let (field, said) = refused("", integration);
    assert!(field == "widget.key" && said.contains("amochats widget key"), "{said}");
    assert_eq!(refused("key = \"short\"", integration).0, "widget.key");
    assert_eq!(refused(&format!("{key}\nkey_file = \"x\""), integration).0, "widget.key");
    assert_eq!(refused(&key, "").0, "channel.client_id");
    assert_eq!(refused(&format!("{key}\norigins = [\"http://a/b\"]"), integration).0, "widget.origins");
    assert_eq!(refused(&format!("{key}\nattempts = 0"), integration).0, "widget.attempts");
    assert_eq!(refused(&format!("{key}\ntoken_uses = 0"), integration).0, "widget.token_uses");
    assert_eq!(refused("redirect_uri = \"x\"", integration).0, "", "given twice");
    Config::load(&base(&key, integration), []).expect("valid");
    let environment = [("AMOCHATS_WIDGET_KEY".to_owned(), new_key())];
    Config::load(&base("", integration), environment).expect("valid");
}
