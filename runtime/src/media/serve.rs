//! Files for whoever knows their address.

use super::Media;
use super::store::{Link, MediaFile};
use crate::clock::Clock;
use crate::listener::say;
use crate::serve::Progress;
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::io::{self, SeekFrom};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, Take};
use tokio_util::io::ReaderStream;

/// What the listener answers with: a line, or a file.
pub(crate) type Answer = Response<Either<Full<Bytes>, FileBody>>;

/// How much of a file is in memory at a time.
const CHUNK: usize = 64 << 10;

impl Media {
    /// The answer to a request for a file; `None` where it asks for something else.
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Option<Answer> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let rest = request.uri().path().strip_prefix(self.0.config.path.as_str())?.strip_prefix('/')?;
        // The name is for people and programs that look at it; the token alone says which file it is.
        let (token, _name) = rest.split_once('/')?;
        let answer = self.file(token, request.method(), request.headers()).await;
        self.0.metrics.media.answered(answer.status().as_u16());
        Some(answer)
    }

    async fn file(&self, token: &str, method: &Method, headers: &HeaderMap) -> Answer {
        // The same for what never was and for what is not any more.
        let unknown = || say(StatusCode::NOT_FOUND, "there is no such file").map(Either::Left);
        if !super::is_token(token) {
            return unknown();
        }
        let link = match self.0.store.media().link(token).await {
            Ok(link) => link.filter(|link| link.expires_at > self.0.clock.now_msec()),
            Err(error) => {
                tracing::warn!(kind = error.kind().name(), "a file cannot be looked up: {error}");
                return say(StatusCode::SERVICE_UNAVAILABLE, "try again later").map(Either::Left);
            }
        };
        let Some(link) = link else { return unknown() };
        let path = self.0.folder.path(&MediaFile::Link(link.token.clone()));
        let mut file = match File::open(path).await {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(error = %error.kind(), "a file of the media folder cannot be opened");
                return unknown();
            }
        };
        let mut answer = describe(&link, &*self.0.clock);
        if named(headers, &header::IF_NONE_MATCH, &link) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        let (start, length) = match range(headers, &link) {
            Range::All => (0, link.size),
            Range::Part(part) => {
                *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                let said = format!("bytes {}-{}/{}", part.start(), part.end(), link.size);
                put(&mut answer, header::CONTENT_RANGE, said);
                (*part.start(), part.end() - part.start() + 1)
            }
            Range::Beyond => {
                *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                put(&mut answer, header::CONTENT_RANGE, format!("bytes */{}", link.size));
                return answer;
            }
        };
        put(&mut answer, header::CONTENT_LENGTH, length.to_string());
        if method == Method::HEAD {
            return answer;
        }
        if file.seek(SeekFrom::Start(start)).await.is_err() {
            return unknown();
        }
        let progress = Progress::default();
        answer.extensions_mut().insert(progress.clone());
        let chunks = ReaderStream::with_capacity(file.take(length), CHUNK);
        answer.map(|_| Either::Right(FileBody { chunks, left: length, progress }))
    }
}

/// The head of an answer about a file, so that no browser takes it for more than it is.
fn describe(link: &Link, clock: &dyn Clock) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let left = link.expires_at.saturating_sub(clock.now_msec()) / 1000;
    put(&mut answer, header::CONTENT_TYPE, link.content_type.clone());
    put(&mut answer, header::CACHE_CONTROL, format!("private, max-age={left}, immutable"));
    put(&mut answer, header::ETAG, etag(link));
    let shown = if is_harmless(&link.content_type) { "inline" } else { "attachment" };
    let name = super::url_part(&link.file_name);
    put(&mut answer, header::CONTENT_DISPOSITION, format!("{shown}; filename*=UTF-8''{name}"));
    answer
}

fn put(answer: &mut Answer, name: HeaderName, value: String) {
    // What is put here was checked when the file was attached.
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Whether a browser may show it in its window: nothing that can hold a script.
fn is_harmless(content_type: &str) -> bool {
    let essence = super::essence(content_type).to_ascii_lowercase();
    let family = essence.split('/').next().unwrap_or_default();
    matches!(family, "image" | "audio" | "video") && !essence.contains("xml") || essence == "text/plain"
}

/// What stands behind an address never changes.
fn etag(link: &Link) -> String {
    format!("\"{:x}-{:x}\"", link.created_at, link.size)
}

fn named(headers: &HeaderMap, name: &HeaderName, link: &Link) -> bool {
    let etag = etag(link);
    let tags = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tags = tags.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag)
}

/// How much of a file is asked for.
enum Range {
    /// Also where several parts are: one answer with all of it may take their place.
    All,
    Part(RangeInclusive<u64>),
    /// There is nothing of it.
    Beyond,
}

fn range(headers: &HeaderMap, link: &Link) -> Range {
    let Some(asked) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Range::All;
    };
    if headers.contains_key(header::IF_RANGE) && !named(headers, &header::IF_RANGE, link) {
        return Range::All;
    }
    // A header that breaks the rules is to be ignored (RFC 9110, 14.2).
    let Ok(parsed) = http_range_header::parse_range_header(asked) else { return Range::All };
    match parsed.validate(link.size).as_deref() {
        Ok([part]) => Range::Part(part.clone()),
        Ok(_) => Range::All,
        Err(_) => Range::Beyond,
    }
}

/// A file on its way out, a chunk at a time.
pub(crate) struct FileBody {
    chunks: ReaderStream<Take<File>>,
    left: u64,
    progress: Progress,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // Asked for the next chunk means that the peer took most of the last one.
        self.progress.made();
        let chunk = ready!(Pin::new(&mut self.chunks).poll_next(context));
        Poll::Ready(chunk.map(|chunk| {
            let chunk = chunk?;
            self.left = self.left.saturating_sub(chunk.len() as u64);
            Ok(Frame::data(chunk))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
