//! Files behind links, and attachments that are fetched, through the listener and real connections.

#[expect(dead_code, reason = "most of it is for the listener")]
mod support;

use amochats::{ErrorKind, ScopeId};
use amochats_runtime::media::{Attachment, AttachmentState, NewFile};
use amochats_runtime::store::SqliteStore;
use amochats_runtime::{Config, Media, Runtime};
use bytes::Bytes;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use support::{ACCOUNT, Answer, CHANNEL, World, soon};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A runtime whose media folder is in a folder of its own.
async fn world(change: impl FnOnce(&mut Config)) -> (World, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = support::config();
    config.media.folder = folder.path().join("media");
    change(&mut config);
    (World::with(config).await, folder)
}

fn files(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join("media"));
    let names = entries.into_iter().flatten().map(|entry| entry.expect("readable").file_name());
    names.map(|name| name.into_string().expect("plain")).collect()
}

fn picture() -> NewFile {
    NewFile::new("чек 1.png", "image/png")
}

/// The path of a link on the listener.
fn path(url: &str) -> &str {
    &url[url.find("/media/").expect("a link")..]
}

async fn ask(world: &World, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: amochats\r\n{headers}\r\n");
    world.ask(request.as_bytes()).await
}

#[tokio::test]
async fn a_link_serves_the_file_until_it_expires() {
    let (world, folder) = world(|_| {}).await;
    let attached = world.runtime.media().attach_bytes(picture(), "0123456789").await.expect("attached");
    assert_eq!((attached.size, attached.content_type.as_str()), (10, "image/png"));
    assert_eq!(attached.expires_at, 1_700_000_000_000 + 7 * 24 * 3_600_000);
    let base = format!("http://{}/media/", world.runtime.listener_address());
    assert!(attached.url.starts_with(&base) && attached.url.ends_with("/%D1%87%D0%B5%D0%BA%201.png"));

    let whole = ask(&world, "GET", path(&attached.url), "").await;
    assert_eq!((whole.status, whole.body.as_str()), (200, "0123456789"));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "10"),
        ("x-content-type-options", "nosniff"),
        ("content-disposition", "inline; filename*=UTF-8''%D1%87%D0%B5%D0%BA%201.png"),
        ("cache-control", "private, max-age=604800, immutable"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    let request = format!("HEAD {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path(&attached.url));
    let mut peer = TcpStream::connect(world.runtime.listener_address()).await.expect("connected");
    peer.write_all(request.as_bytes()).await.expect("sent");
    let mut head = String::new();
    soon("answer", peer.read_to_string(&mut head)).await.expect("readable");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("content-length: 10\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "no body follows");
    let etag = whole.header("etag").expect("a tag");
    let same = ask(&world, "GET", path(&attached.url), &format!("If-None-Match: \"x\", W/{etag}\r\n")).await;
    assert_eq!((same.status, same.body.as_str()), (304, ""));

    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let media = folder.path().join("media");
    assert_eq!((mode(&media), mode(&media.join(&files(&folder)[0]))), (0o700, 0o600));

    // Nobody sweeps before a minute is over.
    let short = NewFile { expires_in: Some(Duration::from_secs(10)), ..picture() };
    let short = world.runtime.media().attach_bytes(short, "short").await.expect("attached");
    world.clock.advance(Duration::from_millis(9999));
    assert_eq!(ask(&world, "GET", path(&short.url), "").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    let expired = ask(&world, "GET", path(&short.url), "").await;
    let never = ask(&world, "GET", &format!("/media/{}/a.png", "0".repeat(40)), "").await;
    assert_eq!((expired.status, expired.body), (404, never.body), "nobody can tell one from the other");
    assert_eq!(files(&folder).len(), 2);
    world.clock.advance(Duration::from_secs(7 * 24 * 3600));
    gone(&world, &folder).await;
}

/// Waits until the folder is empty, with the clock going on.
async fn gone(world: &World, folder: &TempDir) {
    soon("deletion", async {
        while !files(folder).is_empty() {
            world.clock.advance(Duration::from_secs(60));
            world.settle_down().await;
        }
    })
    .await;
}

#[tokio::test]
async fn parts_are_served() {
    let (world, _folder) = world(|_| {}).await;
    let attached = world.runtime.media().attach_bytes(picture(), "0123456789").await.expect("attached");
    let etag = ask(&world, "GET", path(&attached.url), "").await.header("etag").expect("a tag").to_owned();
    for (headers, status, body, range) in [
        ("Range: bytes=2-4\r\n".to_owned(), 206, "234", Some("bytes 2-4/10")),
        ("Range: bytes=8-\r\n".to_owned(), 206, "89", Some("bytes 8-9/10")),
        ("Range: bytes=-3\r\n".to_owned(), 206, "789", Some("bytes 7-9/10")),
        ("Range: bytes=4-99\r\n".to_owned(), 206, "456789", Some("bytes 4-9/10")),
        ("Range: bytes=10-\r\n".to_owned(), 416, "", Some("bytes */10")),
        ("Range: bytes=0-1,4-5\r\n".to_owned(), 200, "0123456789", None),
        ("Range: lines=1-2\r\n".to_owned(), 200, "0123456789", None),
        (format!("Range: bytes=2-4\r\nIf-Range: {etag}\r\n"), 206, "234", Some("bytes 2-4/10")),
        ("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n".to_owned(), 200, "0123456789", None),
    ] {
        let answer = ask(&world, "GET", path(&attached.url), &headers).await;
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.header("content-range")),
            (status, body, range),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    let (world, folder) = world(|_| {}).await;
    let attached = world.runtime.media().attach_bytes(picture(), "private").await.expect("attached");
    fs::write(folder.path().join("media/foreign"), "private").expect("written");
    fs::write(folder.path().join("outside"), "private").expect("written");
    let token = path(&attached.url).split('/').nth(2).expect("a token").to_owned();
    for path in [
        "/media/".to_owned(),
        "/media/foreign/a".to_owned(),
        "/media/../outside/a".to_owned(),
        "/media/..%2foutside/a".to_owned(),
        "/media/%2e%2e/outside".to_owned(),
        format!("/media/{token}"),
        format!("/media/link-{token}/a"),
        format!("/media/{}/a", token.to_uppercase()),
        format!("/media/{}/a", &token[1..]),
        format!("/media/%00{}/a", &token[3..]),
        format!("//media/{token}/a"),
    ] {
        let answer = ask(&world, "GET", &path, "").await;
        assert!(matches!(answer.status, 404 | 405), "{path}: {}", answer.status);
        assert!(!answer.body.contains("private"), "{path}");
    }
    // The name is not looked at, whatever it is.
    let answer = ask(&world, "GET", &format!("/media/{token}/../../outside"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "private"));
    assert_eq!(ask(&world, "POST", path(&attached.url), "Content-Length: 0\r\n").await.status, 404);
}

#[tokio::test]
async fn what_a_browser_could_run_is_a_download() {
    let (world, _folder) = world(|_| {}).await;
    for (content_type, shown) in [
        ("image/jpeg", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("application/pdf", "attachment"),
        ("TEXT/HTML;x=image/png", "attachment"),
    ] {
        let file = NewFile::new("a\"b;c.x", content_type);
        let attached = world.runtime.media().attach_bytes(file, "<script>").await.expect("attached");
        let answer = ask(&world, "GET", path(&attached.url), "").await;
        assert_eq!(answer.header("content-type"), Some(content_type));
        let said = answer.header("content-disposition").expect("always");
        assert_eq!(said, format!("{shown}; filename*=UTF-8''a%22b%3Bc.x"), "{content_type}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    }
}

#[tokio::test]
async fn links_are_all_different_and_long() {
    let (world, _folder) = world(|_| {}).await;
    let mut tokens = HashSet::new();
    for _ in 0..50 {
        let attached = world.runtime.media().attach_bytes(picture(), "x").await.expect("attached");
        let token = path(&attached.url).split('/').nth(2).expect("a token").to_owned();
        assert_eq!(token.len(), 40, "160 bits");
        // No two share more than chance allows.
        assert!(tokens.insert(token[..12].to_owned()) && tokens.insert(token[28..].to_owned()));
        assert!(!format!("{attached:?}").contains(&token), "a link is a secret");
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_leaves_nothing() {
    let (world, folder) = world(|config| {
        config.media.max_bytes = 10;
        config.media.max_total_bytes = 15;
        config.media.content_types = vec!["image/*".into(), "application/pdf".into()];
    })
    .await;
    let media = world.runtime.media();
    for (file, field) in [
        (NewFile::new("a.html", "text/html"), "content_type"),
        (NewFile::new("a.zip", "application/zip"), "content_type"),
        (NewFile::new("a.png", "imagepng"), "content_type"),
        (NewFile::new("a.png", "image/png\r\nX: y"), "content_type"),
        (NewFile::new("../a.png", "image/png"), "file_name"),
        (NewFile::new("..", "image/png"), "file_name"),
        (NewFile::new("", "image/png"), "file_name"),
        (NewFile::new("a\nb", "image/png"), "file_name"),
        (NewFile { expires_in: Some(Duration::ZERO), ..picture() }, "expires_in"),
    ] {
        let error = media.attach_bytes(file.clone(), "x").await.expect_err("refused");
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some(field)), "{file:?}");
    }
    let refused =
        |kind| async move { media.attach_bytes(picture(), vec![0; kind]).await.expect_err("refused").kind() };
    assert_eq!(refused(11).await, ErrorKind::BodyTooLarge);
    let first = media.attach_bytes(picture(), vec![0; 10]).await.expect("fits");
    assert_eq!(refused(6).await, ErrorKind::StoreFull);
    media.attach_bytes(NewFile::new("a.pdf", "application/pdf"), vec![0; 5]).await.expect("the rest fits");
    let broken = futures_util::stream::iter([
        Ok(Bytes::from_static(b"x")),
        Err(amochats::Error::new(ErrorKind::Cancelled, "the caller went away")),
    ]);
    assert_eq!(media.attach(picture(), broken).await.expect_err("broken").kind(), ErrorKind::StoreFull);
    assert_eq!(files(&folder).len(), 2, "{:?}", files(&folder));
    assert_eq!(ask(&world, "GET", path(&first.url), "").await.header("content-length"), Some("10"));
    // What has expired makes room.
    world.clock.advance(Duration::from_secs(8 * 24 * 3600));
    gone(&world, &folder).await;
    soon("room", async {
        while media.attach_bytes(picture(), vec![0; 10]).await.is_err() {
            world.settle_down().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_purge_takes_the_files_of_a_conversation() {
    let (world, folder) = world(|_| {}).await;
    let scope = ScopeId::new(format!("{CHANNEL}_{ACCOUNT}"));
    let of = |id: &str| NewFile { conversation: Some((scope.clone(), id.to_owned())), ..picture() };
    let media = world.runtime.media();
    let gone = media.attach_bytes(of("C"), "x").await.expect("attached");
    let stays = media.attach_bytes(of("D"), "x").await.expect("attached");
    world.runtime.inbox().purge(&scope, "C").await.expect("purged");
    assert_eq!(ask(&world, "GET", path(&gone.url), "").await.status, 404, "at once");
    soon("deletion", async {
        while files(&folder).len() > 1 {
            world.clock.advance(Duration::from_secs(60));
            world.settle_down().await;
        }
    })
    .await;
    assert_eq!(ask(&world, "GET", path(&stays.url), "").await.status, 200);
}

#[tokio::test]
async fn a_large_file_reaches_a_slow_peer_and_a_stalled_one_is_cut() {
    let (world, _folder) = world(|config| config.listener.keep_alive_timeout_ms = 1000).await;
    let body = vec![b'x'; 64 << 20];
    let attached = world.runtime.media().attach_bytes(picture(), body.clone()).await.expect("attached");
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path(&attached.url));

    let mut slow = TcpStream::connect(world.runtime.listener_address()).await.expect("connected");
    slow.write_all(request.as_bytes()).await.expect("sent");
    let mut read = 0;
    // More at a time than there is room on the way, so that the server is seen to go on.
    let mut part = vec![0; 16 << 20];
    for _ in 0..3 {
        read += soon("bytes", slow.read_exact(&mut part)).await.expect("readable");
        // Until it waits for us.
        let (mut before, mut waiting) = (0, 1);
        while waiting > before {
            world.settle_down().await;
            (before, waiting) = (waiting, slow.peek(&mut part).await.expect("readable"));
        }
        // Together longer than a silent connection may stay.
        world.clock.advance(Duration::from_millis(600));
        world.settle_down().await;
    }
    part.clear();
    read += soon("the rest", slow.read_to_end(&mut part)).await.expect("readable");
    assert!(read > body.len(), "{read} bytes with the head");

    let mut stalled = TcpStream::connect(world.runtime.listener_address()).await.expect("connected");
    stalled.write_all(request.as_bytes()).await.expect("sent");
    let mut first = [0; 1];
    stalled.read_exact(&mut first).await.expect("an answer begins");
    // It fills the pipes and then waits; nothing more is read until the server has given up.
    soon("cut", async {
        while !world.admin("/metrics").await.body.contains("webhook_connections 0") {
            world.clock.advance(Duration::from_secs(1));
            world.settle_down().await;
        }
    })
    .await;
    let mut rest = Vec::new();
    let _ = soon("end", stalled.read_to_end(&mut rest)).await;
    assert!(rest.len() < body.len(), "it was cut");
}

#[tokio::test]
async fn a_killed_process_leaves_no_file_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = support::config();
    config.store.path = folder.path().join("amochats.db");
    let media = folder.path().join("amochats.db.media");
    let runtime = Runtime::start(config.clone()).await.expect("started");
    let attached = runtime.media().attach_bytes(picture(), "kept").await.expect("attached");
    runtime.shutdown(Duration::from_secs(10)).await;
    // What an end between any two steps leaves: a part; a file that the store was not told of; a link
    // whose file is deleted already.
    fs::write(media.join("7f.part"), "x").expect("written");
    fs::write(media.join(format!("link-{}", "a".repeat(40))), "x").expect("written");
    fs::write(media.join("event-0123-7"), "x").expect("written");
    fs::write(media.join("notes.txt"), "not ours").expect("written");
    let runtime = Runtime::start(config.clone()).await.expect("started");
    let names: HashSet<_> =
        fs::read_dir(&media).expect("there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(std::ffi::OsStr::new("notes.txt")));
    let kept = names.iter().find(|name| name.to_string_lossy().starts_with("link-")).expect("the link");
    assert!(attached.url.contains(kept.to_string_lossy().trim_start_matches("link-")));
    fs::remove_file(media.join(kept)).expect("removed");
    let mut wire = support::Wire::connect(runtime.listener_address()).await;
    wire.send(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(&attached.url)).as_bytes()).await;
    assert_eq!(wire.answer().await.status, 404);
    runtime.shutdown(Duration::from_secs(10)).await;
}

/// A host of files that does what it is told for each path.
struct Host {
    url: String,
    asked: mpsc::UnboundedReceiver<String>,
}

impl Host {
    /// Answers with what `answer` gives for a path; a connection whose answer ends with "…" stays open.
    async fn start(ip: &str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (tell, asked) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, tell) = (answer.clone(), tell.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.expect("a head"));
                    }
                    let head = String::from_utf8(head).expect("ASCII");
                    let path = head.split(' ').nth(1).expect("a path").to_owned();
                    let said = answer(&path);
                    let _ = tell.send(path);
                    if let Some(begun) = said.strip_suffix("…".as_bytes()) {
                        let _ = stream.write_all(begun).await;
                        let _ = stream.read_u8().await;
                    } else {
                        let _ = stream.write_all(&said).await;
                    }
                });
            }
        });
        Self { url, asked }
    }

    async fn asked(&mut self) -> String {
        soon("request", self.asked.recv()).await.expect("the host lives")
    }
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn to(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn fetching(config: &mut Config) {
    config.media.fetch = true;
    config.media.fetch_http = true;
    config.media.fetch_hosts = vec!["*".into()];
    config.media.fetch_private = vec!["127.0.0.2".into()];
    config.media.max_bytes = 100;
}

fn message(id: &str, url: &str) -> String {
    support::message(id, "look").replace(
        "\"type\":\"text\"",
        &format!("\"type\":\"picture\",\"media\":\"{url}\",\"file_name\":\"r.png\",\"file_size\":3"),
    )
}

/// Keeps a message with an attachment; gives its event's id.
async fn receive(world: &mut World, id: &str, url: &str) -> String {
    assert_eq!(world.hook(message(id, url).as_bytes()).await.status, 200);
    world.next().await.event.event_id
}

/// Waits until the attachment is in a state.
async fn until(media: &Media, event_id: &str, wanted: impl Fn(&Attachment) -> bool) -> Attachment {
    soon("state", async {
        loop {
            let attachment = media.attachment(event_id).await.expect("known");
            if wanted(&attachment) {
                return attachment;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn ended(media: &Media, event_id: &str) -> Attachment {
    soon("end", media.wait(event_id)).await.expect("known")
}

async fn read(media: &Media, attachment: &Attachment) -> String {
    let mut body = String::new();
    media.open(attachment).await.expect("opened").read_to_string(&mut body).await.expect("readable");
    body
}

#[tokio::test]
async fn an_attachment_is_fetched_and_goes_with_its_event() {
    let (mut world, folder) = world(fetching).await;
    let mut host = Host::start("127.0.0.2", |_| ok("png")).await;
    let event_id = receive(&mut world, "m1", &format!("{}/r.png?key=secret", host.url)).await;
    let fetched = ended(world.runtime.media(), &event_id).await;
    assert_eq!(host.asked().await, "/r.png?key=secret");
    assert_eq!((fetched.state, fetched.size, fetched.attempts), (AttachmentState::Fetched, 3, 1));
    assert_eq!((fetched.content_type.as_str(), fetched.file_name.as_deref()), ("image/png", Some("r.png")));
    assert_eq!(read(world.runtime.media(), &fetched).await, "png");
    assert!(!format!("{fetched:?}").contains("secret"));

    assert_eq!(world.hook(support::message("m2", "no attachment").as_bytes()).await.status, 200);
    let plain = world.next().await.event.event_id;
    for id in [plain.as_str(), "elsewhere-7"] {
        let error = world.runtime.media().attachment(id).await.expect_err("nothing");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    world.runtime.inbox().purge(&ScopeId::new(format!("{CHANNEL}_{ACCOUNT}")), "C").await.expect("purged");
    gone(&world, &folder).await;
}

#[tokio::test]
async fn a_forwarded_attachment_is_fetched_and_a_quoted_one_is_not() {
    let (mut world, _folder) = world(fetching).await;
    let host = Host::start("127.0.0.2", |_| ok("png")).await;
    let embedded = format!(
        "{{\"type\":\"picture\",\"text\":\"\",\"media\":\"{}/f.png\",\"file_name\":\"f.png\"}}",
        host.url
    );
    let mut receive = async |id: &str, with: String| {
        let body =
            support::message(id, "look").replace("\"type\":\"text\"", &format!("\"type\":\"text\",{with}"));
        assert_eq!(world.hook(body.as_bytes()).await.status, 200);
        world.next().await.event.event_id
    };
    let forward = receive("m1", format!("\"forwards\":{{\"messages\":[{embedded}]}}")).await;
    let reply = receive("m2", format!("\"reply_to\":{{\"message\":{embedded}}}")).await;
    let media = world.runtime.media();
    let fetched = ended(media, &forward).await;
    assert_eq!((fetched.state, fetched.file_name.as_deref()), (AttachmentState::Fetched, Some("f.png")));
    assert_eq!(read(media, &fetched).await, "png");
    assert_eq!(media.attachment(&reply).await.expect_err("nothing of its own").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_last_of_the_disk_is_left_to_events() {
    let (world, folder) = world(|config| config.store.min_free_bytes = u64::MAX / 2).await;
    let error = world.runtime.media().attach_bytes(picture(), "x").await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::StoreFull);
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[tokio::test]
async fn nothing_inside_is_reached() {
    let (mut world, _folder) = world(|config| {
        fetching(config);
        config.media.fetch_hosts =
            vec!["127.0.0.1".into(), "127.0.0.2".into(), "localhost".into(), "[::1]".into()];
    })
    .await;
    let mut inside = Host::start("127.0.0.1", |_| ok("secret")).await;
    let port = inside.url.rsplit(':').next().expect("a port").to_owned();
    let target = port.clone();
    let host = Host::start("127.0.0.2", move |path| match path {
        "/number" => to(&format!("http://127.0.0.1:{target}/")),
        "/short" => to(&format!("http://127.1:{target}/")),
        "/decimal" => to(&format!("http://2130706433:{target}/")),
        "/name" => to(&format!("http://localhost:{target}/")),
        "/mapped" => to(&format!("http://[::ffff:7f00:1]:{target}/")),
        "/elsewhere" => to("http://example.org/"),
        "/file" => to("file:///etc/passwd"),
        "/loop" => to("/loop"),
        _ => to("/r.png"),
    })
    .await;
    let url = |path: &str| format!("{}{path}", host.url);
    for (place, (address, problem)) in [
        (format!("http://127.0.0.1:{port}/"), "inside"),
        (format!("http://localhost:{port}/"), "inside"),
        (url("/number"), "inside"),
        (url("/short"), "inside"),
        (url("/decimal"), "inside"),
        (url("/name"), "inside"),
        (url("/mapped"), "not among media.fetch_hosts"),
        (url("/elsewhere"), "not among media.fetch_hosts"),
        (url("/file"), "not https"),
        (url("/loop"), "too many redirects"),
        ("no address".to_owned(), "no address"),
    ]
    .into_iter()
    .enumerate()
    {
        let event_id = receive(&mut world, &format!("m{place}"), &address).await;
        let failed = ended(world.runtime.media(), &event_id).await;
        let said = failed.problem.as_deref().unwrap_or_default();
        assert!(failed.state == AttachmentState::Failed && said.contains(problem), "{address}: {failed:?}");
    }
    assert!(inside.asked.try_recv().is_err(), "nobody was asked");
}

#[tokio::test]
async fn only_https_from_the_vendor_by_default() {
    let (mut world, _folder) = world(|config| config.media.fetch = true).await;
    for (id, url, problem) in [
        ("m1", "http://amojo.amocrm.ru/attachments/a", "https"),
        ("m2", "https://evil.example.org/attachments/a", "fetch_hosts"),
        ("m3", "https://amojo.amocrm.ru.example.org/attachments/a", "fetch_hosts"),
        ("m4", "https://amojo.amocrm.ru@127.0.0.1/a", "fetch_hosts"),
    ] {
        let event_id = receive(&mut world, id, url).await;
        let failed = ended(world.runtime.media(), &event_id).await;
        assert!(failed.problem.is_some_and(|said| said.contains(problem)), "{url}");
    }
}

#[tokio::test]
async fn slow_and_lying_hosts_are_given_up() {
    let (mut world, folder) = world(|config| {
        fetching(config);
        config.media.fetch_attempts = 2;
    })
    .await;
    let endless = "x".repeat(101);
    let host = Host::start("127.0.0.2", move |path| match path {
        "/announced" => b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n\xe2\x80\xa6".to_vec(),
        "/endless" => format!("HTTP/1.1 200 OK\r\n\r\n{endless}…").into_bytes(),
        "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_vec(),
        "/gone" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "/broken" => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        _ => "…".as_bytes().to_vec(),
    })
    .await;
    for (path, attempts, problem) in [
        ("/announced", 1, "larger"),
        ("/endless", 1, "larger"),
        ("/gone", 1, "404"),
        ("/cut", 2, "broke off"),
        ("/broken", 2, "503"),
        ("/silent", 2, "too long"),
    ] {
        let event_id = receive(&mut world, path, &format!("{}{path}", host.url)).await;
        let failed = soon("failure", async {
            loop {
                let attachment = world.runtime.media().attachment(&event_id).await.expect("known");
                if attachment.state == AttachmentState::Failed {
                    return attachment;
                }
                // Both the time for an attempt and the pause between two pass.
                world.clock.advance(Duration::from_secs(1));
                world.settle_down().await;
            }
        })
        .await;
        assert_eq!(failed.attempts, attempts, "{path}");
        assert!(failed.problem.as_deref().is_some_and(|said| said.contains(problem)), "{failed:?}");
    }
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[tokio::test]
async fn a_host_that_fails_is_asked_again_later() {
    let (mut world, _folder) = world(fetching).await;
    let fails = AtomicBool::new(true);
    let busy = "HTTP/1.1 429 No\r\nRetry-After: 100\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = move |_: &str| {
        if fails.swap(false, Ordering::SeqCst) { busy.as_bytes().to_vec() } else { ok("png") }
    };
    let host = Host::start("127.0.0.2", answer).await;
    let event_id = receive(&mut world, "m", &host.url).await;
    let media = world.runtime.media();
    let failed = until(media, &event_id, |attachment| attachment.attempts == 1).await;
    assert_eq!(failed.state, AttachmentState::Pending);
    assert_eq!(failed.next_at, 1_700_000_100_000, "not before the host wants it");
    world.clock.advance(Duration::from_secs(100));
    let fetched = ended(media, &event_id).await;
    assert_eq!((fetched.state, fetched.attempts, fetched.problem), (AttachmentState::Fetched, 2, None));
}

#[tokio::test]
async fn who_waits_for_an_attachment_hears_of_its_end() {
    let (mut world, _folder) = world(|config| {
        fetching(config);
        config.media.fetch_attempts = 2;
    })
    .await;
    let mut host = Host::start("127.0.0.2", |_| "…".as_bytes().to_vec()).await;
    let event_id = receive(&mut world, "m1", &host.url).await;
    let media = world.runtime.media();
    host.asked().await;
    let mut waiting = Box::pin(media.wait(&event_id));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    // Beyond the time that an attempt may take, and the pause behind it.
    let failing = async {
        loop {
            world.clock.advance(Duration::from_mins(1));
            tokio::task::yield_now().await;
        }
    };
    let given_up = soon("end", async {
        tokio::select! { end = waiting => end, () = failing => unreachable!("it goes on") }
    });
    let given_up = given_up.await.expect("known");
    assert_eq!((given_up.state, given_up.attempts), (AttachmentState::Failed, 2));

    let event_id = receive(&mut world, "m2", &host.url).await;
    let media = world.runtime.media();
    host.asked().await;
    let mut waiting = Box::pin(media.wait(&event_id));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    world.runtime.inbox().purge(&ScopeId::new(format!("{CHANNEL}_{ACCOUNT}")), "C").await.expect("purged");
    let gone = async {
        loop {
            world.clock.advance(Duration::from_mins(1));
            tokio::task::yield_now().await;
        }
    };
    let error = soon("end", async {
        tokio::select! { end = waiting => end, () = gone => unreachable!("it goes on") }
    });
    assert_eq!(error.await.expect_err("purged").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_was_to_be_fetched_is_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = support::config();
    config.store.path = folder.path().join("amochats.db");
    fetching(&mut config);
    let mut host = Host::start("127.0.0.2", |_| "…".as_bytes().to_vec()).await;
    let clock =
        Arc::new(amochats_runtime::clock::ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    let open = async || Arc::new(SqliteStore::open(&config.store.path).await.expect("opened"));
    let runtime = Runtime::start_with(&config, open().await, clock.clone()).await.expect("started");
    let hook = message("m", &host.url);
    let signature = support::signature(support::SECRET, hook.as_bytes());
    let scope = format!("{CHANNEL}_{ACCOUNT}");
    let ingested =
        runtime.channels().ingest(&scope, Some(&signature), hook.clone().into()).await.expect("kept");
    let amochats_runtime::Ingested::Kept(event_id) = ingested else { panic!("kept") };
    host.asked().await;
    // In the middle of an attempt.
    runtime.shutdown(Duration::from_secs(10)).await;
    let runtime = Runtime::start_with(&config, open().await, clock.clone()).await.expect("started");
    host.asked().await;
    assert_eq!(runtime.media().attachment(&event_id).await.expect("known").state, AttachmentState::Pending);
    runtime.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn nothing_is_fetched_unless_it_is_wanted() {
    let (mut world, folder) = world(|_| {}).await;
    let mut host = Host::start("127.0.0.2", |_| ok("png")).await;
    let event_id = receive(&mut world, "m", &host.url).await;
    world.settle_down().await;
    let error = world.runtime.media().attachment(&event_id).await.expect_err("not fetched");
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "media.fetch is off"));
    assert!(host.asked.try_recv().is_err() && !folder.path().join("media").exists());
}

#[tokio::test]
async fn wrong_settings_are_refused() {
    for (key, value) in [
        ("path", "\"media\""),
        ("path", "\"/media/\""),
        ("public_url", "\"hooks.example.org\""),
        ("public_url", "\"https://a.test/?b\""),
        ("link_lifetime_s", "0"),
        ("max_bytes", "0"),
        ("content_types", "[\"image\"]"),
        ("fetch_hosts", "[\"https://a.test\"]"),
        ("fetch_private", "[\"inside\"]"),
        ("fetch_timeout_ms", "0"),
    ] {
        let toml = format!(
            "[media]\n{key} = {value}\n[[channel]]\nid = \"{CHANNEL}\"\nsecret = \"s\"\nregion = \"ru\"\n"
        );
        let error = Config::load(&toml, []).expect_err("refused");
        let field = format!("media.{key}");
        assert_eq!(
            (error.kind(), error.field()),
            (ErrorKind::ConfigInvalid, Some(field.as_str())),
            "{value}"
        );
    }
}
