//! Fetches what messages came with, before their links expire.
//!
//! Attachments are looked for in the events that are kept, behind their backs: to keep a webhook
//! costs nothing more. How far was looked is committed together with what was found, so an end of
//! the process at any moment loses none.

use super::Media;
use super::config::MediaConfig;
use super::folder::Part;
use super::place::{Hosts, Inside, Names, Networks, Outside};
use super::store::{Attachment, AttachmentState, MediaFile};
use crate::event::Event;
use crate::store::{EventQuery, closed};
use amochats::{Error, ErrorKind, Result, WebhookKind};
use rand::Rng;
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many events are looked at at once: their bodies are in memory.
const EVENTS: usize = 32;
/// How many attachments are fetched at a time.
const AT_ONCE: usize = 4;
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));
const CONNECT: Duration = Duration::from_secs(10);
/// How many redirects are followed, each looked at like the first address.
const REDIRECTS: usize = 5;

/// Why an attempt failed, in words without an address, and whether another one may do.
pub(super) struct Failure {
    problem: String,
    again: bool,
    after: Option<Duration>,
}

impl Failure {
    fn last(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), again: false, after: None }
    }

    fn passing(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), again: true, after: None }
    }
}

impl From<Error> for Failure {
    /// Of the folder.
    fn from(error: Error) -> Self {
        Self { again: error.kind() != ErrorKind::BodyTooLarge, problem: error.message().into(), after: None }
    }
}

pub(super) struct Fetcher {
    http: reqwest::Client,
    hosts: Hosts,
    networks: Networks,
    plain_http: bool,
    max_bytes: u64,
}

impl Fetcher {
    pub(super) fn new(config: &MediaConfig, names: Arc<dyn Names>) -> Result<Self> {
        let networks = Networks::new(&config.fetch_private)?;
        let cannot = |error: String| Error::new(ErrorKind::ConfigInvalid, format!("media.fetch: {error}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| cannot(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("amochats/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(Outside { networks: networks.clone(), names }))
            // A proxy would look names up itself, and reach what must not be reached.
            .no_proxy()
            .build()
            .map_err(|error| cannot(error.without_url().to_string()))?;
        let hosts = Hosts::new(&config.fetch_hosts)?;
        Ok(Self { http, hosts, networks, plain_http: config.fetch_http, max_bytes: config.max_bytes })
    }

    /// Whether there may be a request to this address. Names are looked at once more where they become
    /// addresses, in [`Outside`].
    fn check(&self, url: &Url) -> std::result::Result<(), Failure> {
        let plain_http = url.scheme() == "http" && self.plain_http;
        if url.scheme() != "https" && !plain_http {
            return Err(Failure::last("the address is not https; media.fetch_http allows http"));
        }
        let host = url.host_str().unwrap_or_default();
        if !self.hosts.contain(host) {
            return Err(Failure::last(format!("the host {host} is not among media.fetch_hosts")));
        }
        let number = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if number.is_ok_and(|address| !self.networks.allow(address)) {
            return Err(inside());
        }
        Ok(())
    }

    /// Fetches a file into the folder; gives its media type.
    async fn fetch(&self, url: &str, part: &mut Part) -> std::result::Result<String, Failure> {
        let mut url = Url::parse(url).map_err(|_| Failure::last("the message names no address"))?;
        let mut hops = 0;
        let mut answer = loop {
            self.check(&url)?;
            let answer = self.http.get(url.clone()).send().await.map_err(|error| broken(&error))?;
            let Some(next) = redirect(&answer) else { break answer };
            hops += 1;
            if hops > REDIRECTS {
                return Err(Failure::last("there are too many redirects"));
            }
            url = next.map_err(|()| Failure::last("a redirect names no address"))?;
        };
        let status = answer.status();
        if !status.is_success() {
            let passes = status.is_server_error()
                || matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
                );
            let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            return Err(Failure {
                problem: format!("the host answered {}", status.as_u16()),
                again: passes,
                after: after.map(Duration::from_secs),
            });
        }
        if answer.content_length().is_some_and(|length| length > self.max_bytes) {
            return Err(Failure::last("the file is larger than media.max_bytes"));
        }
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.filter(|value| super::is_content_type(value));
        let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
        // A body that is shorter than its announced length is an error here.
        while let Some(chunk) = answer.chunk().await.map_err(|error| broken(&error))? {
            part.write(&chunk).await?;
        }
        Ok(content_type)
    }
}

fn inside() -> Failure {
    Failure::last("the address is one inside; media.fetch_private allows some")
}

/// Where an answer sends us, if it does.
fn redirect(answer: &Response) -> Option<std::result::Result<Url, ()>> {
    let named = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    named.then(|| {
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        location.and_then(|location| answer.url().join(location).ok()).ok_or(())
    })
}

/// What came of a request without a whole answer. The text of the error would name the address.
fn broken(error: &reqwest::Error) -> Failure {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    for cause in causes {
        if cause.is::<Inside>() {
            return inside();
        }
    }
    Failure::passing(if error.is_connect() { "no connection could be made" } else { "the answer broke off" })
}

impl Media {
    /// Looks for attachments and fetches them until the end.
    pub(super) async fn work(&self, fetcher: Arc<Fetcher>) {
        let mut changes = self.0.store.changes();
        let mut tasks = JoinSet::new();
        let mut busy = HashSet::new();
        loop {
            changes.mark_unchanged();
            let (now, monotonic) = (self.0.clock.now_msec(), self.0.clock.monotonic());
            let found = match self.look().await {
                Ok(()) => self.0.store.media().pending(2 * AT_ONCE).await,
                Err(error) => Err(error),
            };
            let mut wake = None;
            match found {
                Ok(pending) => {
                    for attachment in
                        pending.into_iter().filter(|one| !busy.contains(&one.event_id)).collect::<Vec<_>>()
                    {
                        if attachment.next_at > now {
                            let wait = u64::try_from(attachment.next_at - now).unwrap_or_default();
                            wake = Some(monotonic.saturating_add(Duration::from_millis(wait)));
                            break;
                        }
                        if tasks.len() == AT_ONCE {
                            break;
                        }
                        busy.insert(attachment.event_id.clone());
                        let (media, fetcher) = (self.clone(), fetcher.clone());
                        tasks.spawn(async move { media.fetch_one(&fetcher, attachment).await });
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        kind = error.kind().name(),
                        "attachments cannot be looked for now: {error}"
                    );
                    wake = Some(monotonic + PAUSES.0);
                }
            }
            let due = async {
                match wake {
                    Some(at) => self.0.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = changes.changed() => {}
                () = due => {}
                Some(ended) = tasks.join_next() => {
                    self.0.ends.send_replace(());
                    if let Ok(event_id) = ended {
                        busy.remove(&event_id);
                    }
                }
            }
        }
    }

    /// Notes the attachments of all events that were not looked at.
    async fn look(&self) -> Result<()> {
        let mut last = self.0.store.media().looked_up_to().await?;
        loop {
            let query = EventQuery { after: last.clone(), scope: None, limit: EVENTS };
            let events = self.0.store.events(query).await?;
            let Some(newest) = events.last().map(|event| event.event_id.clone()) else { return Ok(()) };
            let found =
                events.iter().filter_map(|event| attachment_of(event, self.0.clock.now_msec())).collect();
            self.0.store.media().note(found, newest.clone()).await?;
            let all = events.len() < EVENTS;
            last = Some(newest);
            if all {
                return Ok(());
            }
        }
    }

    /// One attempt, with a pause after a failure of the store; gives the event's id.
    async fn fetch_one(&self, fetcher: &Fetcher, mut attachment: Attachment) -> String {
        let event_id = attachment.event_id.clone();
        let deadline = self.0.clock.monotonic() + Duration::from_millis(self.0.config.fetch_timeout_ms);
        attachment.attempts += 1;
        let fetching = async {
            let mut part = self.0.folder.begin().await?;
            let content_type = fetcher.fetch(&attachment.url, &mut part).await?;
            Ok((part, content_type))
        };
        let fetched = tokio::select! {
            fetched = fetching => fetched,
            () = self.0.clock.sleep_until(deadline) => Err(Failure::passing("it took too long")),
        };
        let kept = match fetched {
            Ok((part, content_type)) => {
                self.keep(&attachment, part, content_type).await.map_err(Failure::from)
            }
            Err(failure) => Err(failure),
        };
        let Err(failure) = kept else {
            self.0.metrics.media.fetch("fetched");
            self.0.metrics.media.used(self.0.folder.used());
            return event_id;
        };
        let again = failure.again && attachment.attempts < self.0.config.fetch_attempts;
        self.0.metrics.media.fetch(if again { "again" } else { "failed" });
        tracing::warn!(
            event_id,
            attempt = attachment.attempts,
            again,
            problem = failure.problem,
            "an attachment could not be fetched"
        );
        let pause = pause(attachment.attempts).max(failure.after.unwrap_or_default().min(PAUSES.1));
        attachment.state = if again { AttachmentState::Pending } else { AttachmentState::Failed };
        attachment.next_at = self.0.clock.now_msec() + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        attachment.problem = Some(failure.problem);
        if self.0.store.media().change_attachment(attachment).await.is_err() {
            // It is still pending, and would be tried again at once.
            self.0.clock.sleep_until(self.0.clock.monotonic() + PAUSES.0).await;
        }
        event_id
    }

    async fn keep(&self, attachment: &Attachment, part: Part, content_type: String) -> Result<()> {
        let fetched = Attachment {
            state: AttachmentState::Fetched,
            content_type,
            size: part.size(),
            problem: None,
            ..attachment.clone()
        };
        let file = MediaFile::Attachment(attachment.event_id.clone());
        let store = self.0.store.clone();
        // Where its event was purged meanwhile, the store does not know it any more.
        let known = async move { store.media().change_attachment(fetched).await };
        tokio::spawn(part.keep(file, known)).await.map_err(|_| closed())?
    }
}

/// What an event came with, to be fetched: a message's own file, or else the one of the message that it
/// forwards, which is all that it brings. What it quotes is of the same chat (chats API reference, 5.4):
/// it came with an event of its own, or from the integration.
pub(super) fn attachment_of(event: &Event, now: i64) -> Option<Attachment> {
    let WebhookKind::Message(message) = event.parse().kind else { return None };
    let forwarded = message.forwards.iter().flat_map(|forwards| &forwards.messages);
    let forwarded = forwarded.map(|message| (message.media.as_ref(), message.file_name.as_ref()));
    let own = (message.media.as_ref(), message.file_name.as_ref());
    let (url, file_name) =
        std::iter::once(own).chain(forwarded).find_map(|(url, file_name)| Some((url?, file_name)))?;
    Some(Attachment {
        event_id: event.event_id.clone(),
        url: url.clone(),
        state: AttachmentState::Pending,
        attempts: 0,
        next_at: now,
        file_name: file_name.cloned(),
        content_type: String::new(),
        size: 0,
        problem: None,
    })
}

/// The pause after so many attempts, with up to a quarter taken off at random.
fn pause(attempts: u32) -> Duration {
    let pause = PAUSES.0.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1))).min(PAUSES.1);
    pause.mul_f64(rand::rng().random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;
    use crate::store::{MemoryStore, Store};
    use async_trait::async_trait;
    use std::collections::HashMap;
    use std::io;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    /// Allowed here, and inside.
    const OUTSIDE: &str = "127.0.0.2";
    const INSIDE: &str = "127.0.0.1";

    /// Names whose addresses change: for each question the next answer, the last one for ever.
    #[derive(Default)]
    struct Zone(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

    impl Zone {
        fn set(&self, name: &str, answers: &[&[&str]]) {
            let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().expect("an address")).collect();
            self.0.lock().expect("no panic").insert(name.into(), answers.iter().map(parse).collect());
        }
    }

    #[async_trait]
    impl Names for Zone {
        async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            let mut zone = self.0.lock().expect("no panic");
            let answers = zone.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
        }
    }

    /// A host on both addresses at the same port, which tells where it was asked for what. `/away/NAME`
    /// leads to that name.
    async fn hosts() -> (u16, mpsc::UnboundedReceiver<(String, String)>) {
        let (outside, inside) = loop {
            let outside = TcpListener::bind((OUTSIDE, 0)).await.expect("bound");
            let port = outside.local_addr().expect("bound").port();
            if let Ok(inside) = TcpListener::bind((INSIDE, port)).await {
                break (outside, inside);
            }
        };
        let port = outside.local_addr().expect("bound").port();
        let (tell, asked) = mpsc::unbounded_channel();
        for listener in [outside, inside] {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.expect("a head"));
                    }
                    let head = String::from_utf8(head).expect("ASCII");
                    let path = head.split(' ').nth(1).expect("a path").to_owned();
                    let answer = match path.strip_prefix("/away/") {
                        Some(name) => format!("302 Found\r\nLocation: http://{name}:{port}/file"),
                        None => "200 OK".to_owned(),
                    };
                    let at = stream.local_addr().expect("connected").ip().to_string();
                    tell.send((at, path)).expect("the test lives");
                    let answer =
                        format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.expect("sent");
                }
            });
        }
        (port, asked)
    }

    #[tokio::test]
    async fn a_name_leads_nowhere_inside() {
        let (port, mut asked) = hosts().await;
        let zone = Arc::new(Zone::default());
        zone.set("outside.test", &[&[OUTSIDE]]);
        zone.set("inside.test", &[&[INSIDE]]);
        zone.set("private.test", &[&["10.0.0.1", "192.168.0.1", "169.254.169.254", "::1", "fd00::1"]]);
        zone.set("mapped.test", &[&["::ffff:127.0.0.1"]]);
        zone.set("both.test", &[&[INSIDE, OUTSIDE]]);
        // What was looked at is an address outside; whoever asks again gets one inside.
        zone.set("rebound.test", &[&[OUTSIDE], &[INSIDE]]);
        zone.set("rebound-by-redirect.test", &[&[OUTSIDE], &[INSIDE]]);
        let config = MediaConfig {
            fetch_hosts: vec!["*.test".into()],
            fetch_http: true,
            fetch_private: vec![OUTSIDE.into()],
            ..MediaConfig::default()
        };
        let fetcher = Fetcher::new(&config, zone).expect("a fetcher");
        let (temp, store) = (tempfile::tempdir().expect("a folder"), MemoryStore::default());
        let folder = Folder::open(temp.path().join("media"), store.media(), [100, 100, 0]).await;
        let folder = Arc::new(folder.expect("opened"));
        let mut fetch = async |place: &str| {
            let mut part = folder.begin().await.expect("begun");
            let (name, path) = place.split_once('/').expect("a path");
            let fetched = fetcher.fetch(&format!("http://{name}:{port}/{path}"), &mut part).await;
            let seen: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
            (fetched.err().map(|failure| failure.problem), seen)
        };
        let at = |ip: &str, path: &str| (ip.to_owned(), path.to_owned());
        let found = vec![at(OUTSIDE, "/file")];

        assert_eq!(fetch("outside.test/file").await, (None, found.clone()));
        for name in ["inside.test", "private.test", "mapped.test"] {
            assert_eq!(fetch(&format!("{name}/file")).await, (Some(inside().problem), vec![]), "{name}");
            let away = format!("/away/{name}");
            let asked = vec![at(OUTSIDE, &away)];
            assert_eq!(
                fetch(&format!("outside.test{away}")).await,
                (Some(inside().problem), asked),
                "{name}"
            );
        }
        assert_eq!(fetch("both.test/file").await, (None, found.clone()), "only where it may be");
        assert_eq!(fetch("rebound.test/file").await, (None, found), "the address that was looked at");
        assert_eq!(fetch("rebound.test/file").await, (Some(inside().problem), vec![]));
        let away = "/away/rebound-by-redirect.test";
        let asked = vec![at(OUTSIDE, away)];
        assert_eq!(fetch(&format!("rebound-by-redirect.test{away}")).await, (Some(inside().problem), asked));
        let (problem, asked) = fetch("nowhere.test/file").await;
        assert!(problem.is_some_and(|said| said.contains("no connection")) && asked.is_empty());
    }
}
