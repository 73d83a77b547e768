//! The server's side of the page of integrations: archives, files, tokens, the proxy.

mod support;

use amochats_sandbox::SandboxConfig;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::{Cursor, Write as _};
use std::path::Path;
use support::{ACCOUNT, Channel, Receiver, config};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const MANIFEST: &str = r#"{"widget":{"version":"1.0.0"}}"#;
const CODE: &str = "sandbox_widget";

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).expect("a new file");
        archive.write_all(content.as_bytes()).expect("in memory");
    }
    archive.finish().expect("in memory").into_inner()
}

struct Page {
    channel: Channel,
    client_id: String,
    client_secret: String,
}

impl Page {
    async fn start(widget: Option<&Path>) -> Self {
        let widget = widget.map(Path::to_path_buf);
        Self::with(SandboxConfig { widget, ..config() }).await
    }

    async fn with(config: SandboxConfig) -> Self {
        let channel = Channel::start(config).await;
        let integration = channel.sandbox.crm().integrations().remove(0);
        Self { channel, client_id: integration.client_id, client_secret: integration.client_secret }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.channel.sandbox.page_addr())
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.channel.http.get(self.origin() + path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("UTF-8"))
    }

    async fn put(&self, client_id: &str, archive: Vec<u8>) -> (u16, Value) {
        let url = format!("{}/api/widgets/{client_id}", self.origin());
        let request =
            self.channel.http.put(url).header("Content-Type", "application/octet-stream").body(archive);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("UTF-8")).expect("JSON"))
    }

    async fn post(&self, act: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/api/widgets/{}/accounts/{ACCOUNT}/{act}", self.origin(), self.client_id);
        let request = self.channel.http.post(url).header("Content-Type", "application/json");
        let response = request.body(body.to_string()).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("UTF-8")).expect("JSON"))
    }

    /// The parts of a one-time token, and whether the integration's secret signed it.
    async fn token(&self, flaw: &str) -> (Value, Value, bool) {
        let path =
            format!("/ajax/v2/integrations/{}/disposable_token?account_id={ACCOUNT}{flaw}", self.client_id);
        let (status, body) = self.get(&path, &[("X-Requested-With", "XMLHttpRequest")]).await;
        assert_eq!(status, 200, "{body}");
        let token = serde_json::from_str::<Value>(&body).expect("JSON")["token"].take();
        let parts: Vec<&str> = token.as_str().expect("text").split('.').collect();
        let read = |part: &str| {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(self.client_secret.as_bytes()).expect("any length");
        mac.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
        let signed =
            URL_SAFE_NO_PAD.decode(parts[2]).is_ok_and(|signature| mac.verify_slice(&signature).is_ok());
        (read(parts[0]), read(parts[1]), signed)
    }
}

#[tokio::test]
async fn an_archive_is_taken_or_refused_with_the_reason() {
    let page = Page::start(None).await;
    let files = [("manifest.json", MANIFEST), ("script.js", "define([], 1);"), ("i18n/en.json", "{}")];
    for (archive, says) in [
        (b"no archive".to_vec(), "cannot be read"),
        (archive(&[("script.js", "")]), "no manifest.json"),
        (archive(&[("widget/manifest.json", MANIFEST)]), "not in a folder"),
        (archive(&[("manifest.json", "{ // \n}"), ("script.js", "")]), "strict JSON"),
        (archive(&[("manifest.json", MANIFEST)]), "no script.js"),
    ] {
        let (status, answer) = page.put(&page.client_id, archive).await;
        assert_eq!((status, &answer["field"]), (400, &json!("widget")));
        assert!(answer["error"].as_str().is_some_and(|said| said.contains(says)), "{answer}");
    }
    assert_eq!(page.put("none", archive(&files)).await.1["field"], "client_id");
    assert_eq!(page.get(&format!("/widgets/{CODE}/script.js"), &[]).await.0, 404);
    assert_eq!(page.put(&page.client_id, archive(&files)).await.0, 200);
    assert_eq!(page.get(&format!("/widgets/{CODE}/script.js"), &[]).await, (200, "define([], 1);".into()));
    assert_eq!(page.get(&format!("/widgets/{CODE}/i18n/en.json"), &[]).await.0, 200);
    assert_eq!(page.get("/widgets/other/script.js", &[]).await.0, 404);
}

#[tokio::test]
async fn a_folder_is_read_anew_and_nothing_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let widget = folder.path().join("widget");
    std::fs::create_dir(&widget).expect("made");
    let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).expect("written");
    write("secret.txt", "secret");
    write("widget/manifest.json", MANIFEST);
    write("widget/script.js", "one");
    std::os::unix::fs::symlink(folder.path().join("secret.txt"), widget.join("link.txt")).expect("linked");
    let page = Page::start(Some(&widget)).await;
    let script = format!("/widgets/{CODE}/script.js");
    assert_eq!(page.get(&script, &[]).await.1, "one");
    write("widget/script.js", "two");
    assert_eq!(page.get(&script, &[]).await.1, "two");
    for path in ["link.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "%2fetc%2fpasswd"] {
        assert_eq!(page.get(&format!("/widgets/{CODE}/{path}"), &[]).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_token_is_of_the_page_and_has_the_flaw_that_is_asked_for() {
    let page = Page::start(None).await;
    let (header, good, signed) = page.token("").await;
    assert_eq!((&header["alg"], signed), (&json!("HS256"), true));
    assert_eq!((&good["iss"], &good["client_uuid"]), (&json!(page.origin()), &json!(page.client_id)));
    let (_, expired, signed) = page.token("&flaw=expired").await;
    assert!(signed && expired["exp"].as_i64() < good["iat"].as_i64(), "{expired}");
    assert!(!page.token("&flaw=foreign").await.2);
    assert_eq!(page.token("&flaw=alg_none").await.0["alg"], "none");
    let (_, elsewhere, signed) = page.token("&flaw=wrong_audience").await;
    assert!(signed && elsewhere["aud"] != good["aud"], "{elsewhere}");
    let path = format!("/ajax/v2/integrations/{}/disposable_token?account_id={ACCOUNT}", page.client_id);
    assert_eq!(page.get(&path, &[]).await.0, 400, "no page asks");
    let foreign = [("X-Requested-With", "XMLHttpRequest"), ("Origin", "http://127.0.0.1:1")];
    assert_eq!(page.get(&path, &foreign).await.0, 403, "another page asks");
}

#[tokio::test]
async fn fields_are_kept_until_the_widget_is_switched_off() {
    let page = Page::start(None).await;
    page.put(&page.client_id, archive(&[("manifest.json", MANIFEST), ("script.js", "")])).await;
    let saved = async || {
        let (_, body) = page.get("/api/widgets", &[]).await;
        serde_json::from_str::<Value>(&body).expect("JSON")["widgets"][0]["saved"].take()
    };
    assert!(
        page.post("install", json!({})).await.1["redirect"].as_str().is_some_and(|to| to.contains("code="))
    );
    assert_eq!(saved().await, json!([]));
    page.post("settings", json!({ "fields": { "link_state": "{}" } })).await;
    assert_eq!(saved().await, json!([{ "account_id": ACCOUNT, "fields": { "link_state": "{}" } }]));
    assert_eq!(page.post("disable", json!({})).await.0, 200);
    assert_eq!(saved().await, json!([]));
}

#[tokio::test]
async fn the_proxy_brings_a_form_and_the_answer_back() {
    let mut receiver = Receiver::start(Some(418)).await;
    let page = Page::start(None).await;
    let url = receiver.url.replace(":scope_id", "form");
    let (status, answer) =
        page.post("proxy", json!({ "url": url, "data": { "login": "a&b", "n": 1 } })).await;
    assert_eq!((status, &answer["status"]), (200, &json!(418)));
    assert_eq!(receiver.next().await.text(), "login=a%26b&n=1");
    assert_eq!(page.post("proxy", json!({ "url": "file:///etc/passwd" })).await.1["field"], "url");
}

#[tokio::test]
async fn what_was_loaded_and_saved_outlives_the_sandbox() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = || SandboxConfig { state: Some(folder.path().join("sandbox.json")), ..config() };
    let files = [("manifest.json", MANIFEST), ("script.js", "define([], 1);")];
    let before = Page::with(kept()).await;
    assert_eq!(before.put(&before.client_id, archive(&files)).await.0, 200);
    before.post("install", json!({})).await;
    before.post("settings", json!({ "fields": { "link_state": "{}" } })).await;
    let (_, widgets) = before.get("/api/widgets", &[]).await;
    assert!(widgets.contains("link_state"), "{widgets}");
    let snapshot = before.channel.sandbox.snapshot();
    before.channel.sandbox.shutdown().await;

    let after = Page::with(kept()).await;
    let script = format!("/widgets/{CODE}/script.js");
    assert_eq!(after.get(&script, &[]).await, (200, "define([], 1);".into()));
    assert_eq!(after.get("/api/widgets", &[]).await.1, widgets);
    after.channel.sandbox.reset();
    assert_eq!(after.get(&script, &[]).await.0, 200, "a reset leaves it");
    after.channel.sandbox.shutdown().await;

    // A folder that is given counts, and a snapshot brings its widgets along.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("manifest.json"), MANIFEST).expect("written");
    std::fs::write(folder.path().join("script.js"), "another").expect("written");
    let other = Page::with(SandboxConfig { widget: Some(folder.path().to_owned()), ..kept() }).await;
    assert_eq!(other.get(&script, &[]).await.1, "another");
    other.channel.sandbox.restore(&snapshot).expect("its own");
    assert_eq!(other.get(&script, &[]).await.1, "another");
    let third = Page::start(None).await;
    third.channel.sandbox.restore(&snapshot).expect("a snapshot");
    assert_eq!(third.get(&script, &[]).await.1, "define([], 1);");
    let mut damaged: Value = serde_json::from_slice(&snapshot).expect("JSON");
    let archives = damaged["widgets"]["archives"].as_object_mut().expect("there");
    archives.values_mut().for_each(|archive| *archive = json!("bm8gYXJjaGl2ZQ=="));
    let refused = third.channel.sandbox.restore(damaged.to_string().as_bytes()).expect_err("damaged");
    assert!(refused.message().contains("widgets"), "{refused}");
}

#[tokio::test]
async fn an_account_has_an_address_of_its_own() {
    let page = Page::start(None).await;
    let second = amochats_sandbox::NewAccount::default();
    let second = page.channel.sandbox.add_account(second).expect("one more");
    let first = page.channel.sandbox.accounts().remove(0);
    let port = page.channel.sandbox.page_addr().port();
    let ask = async |host: &str, account: &amochats_sandbox::Account| {
        let path = format!(
            "/ajax/v2/integrations/{}/disposable_token?account_id={}",
            page.client_id, account.account_id
        );
        let origin = format!("http://{host}");
        page.get(&path, &[("X-Requested-With", "XMLHttpRequest"), ("Host", host), ("Origin", &origin)]).await
    };
    for account in [&first, &second] {
        let host = format!("{}.localhost:{port}", account.subdomain);
        let (status, body) = ask(&host, account).await;
        assert_eq!(status, 200, "{body}");
        let token: Value = serde_json::from_str(&body).expect("JSON");
        let claims = token["token"].as_str().and_then(|token| token.split('.').nth(1)).expect("three parts");
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
        assert_eq!(claims["iss"], format!("http://{host}"));
    }
    let (status, body) = ask(&format!("{}.localhost:{port}", first.subdomain), &second).await;
    assert!(status == 400 && body.contains("account of this address"), "{status} {body}");
    assert_eq!(ask(&format!("unknown.localhost:{port}"), &first).await.0, 400);
    assert_eq!(ask(&format!("{}.localhost.example:{port}", first.subdomain), &first).await.0, 403);
}
