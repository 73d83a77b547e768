//! `listen`: shows the events of a running server, or passes them on.

use super::process::{run, stop_on_signal};
use super::remote::{self, Channel, Remote};
use super::{Exit, Failure, io};
use amochats::ScopeId;
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_runtime::{Event, Origin};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

/// The longest pause between two attempts to connect again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long the address that events are posted to may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the leases are extended of what is still waited for: three times within a lease.
const EXTEND_EVERY: Duration = Duration::from_secs(20);

/// Print the events of a running server as they come, one JSON object a line, or post them to an
/// address
///
/// Without --subscription it sees only what happens while it runs, and leaves no trace. With one
/// it receives every event since the subscription was made; an event is acknowledged once it is
/// printed, or the address has answered 200 to 299; otherwise it comes again later. It ends once
/// nobody reads standard output any more: with exit code 3 where a subscription has events left for
/// somebody else to print.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  amochats listen
  amochats listen --subscription crm --create --forward http://127.0.0.1:3000/amochats")]
pub(super) struct Listen {
    /// A lasting subscription of this name
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Make the subscription, from the oldest kept event on, if it does not exist
    #[arg(long, requires = "subscription")]
    create: bool,
    /// Post each event as JSON to this address instead of printing it
    #[arg(long, value_name = "URL")]
    forward: Option<String>,
    /// Post so many events at a time, each of another conversation
    #[arg(
        long, value_name = "N", default_value_t = 16, requires = "forward",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    concurrency: u16,
    /// Report each message that is acknowledged to the CRM as delivered, or as read. The report goes
    /// through the server's outbox; it is kept together with the acknowledgement
    #[arg(long, value_name = "STATE", requires = "subscription")]
    report: Option<Reported>,
    /// End after so many events; that somebody is typing does not count
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

fn count(number: &str) -> Result<u64, &'static str> {
    number.parse().ok().filter(|count| *count > 0).ok_or("must be a whole number, 1 or more")
}

/// What is reported of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Reported {
    /// It reached the client.
    Delivered,
    /// The client read it.
    Read,
}

impl Reported {
    /// The status to report for an event; none where it is no message that can be reported on.
    fn of(self, event: &v1::Event) -> Option<v1::DeliveryStatus> {
        let Some(v1::event::Kind::Message(message)) = &event.kind else { return None };
        message.message_ref_id.as_ref()?;
        let state = match self {
            Self::Delivered => v1::DeliveryState::Delivered,
            Self::Read => v1::DeliveryState::Read,
        };
        Some(v1::DeliveryStatus { state: state.into(), ..Default::default() })
    }
}

impl Listen {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(self.listen())
    }

    async fn listen(self) -> Result<Exit, Failure> {
        let stop = stop_on_signal()?;
        let line = self.remote.line()?;
        let sink = match &self.forward {
            None => Sink::Print(Printer::start()),
            Some(url) => {
                let (http, url) = forwarder(url)?;
                Sink::Forward { http, url }
            }
        };
        let gone = match &sink {
            Sink::Print(_) => io::reader_gone(),
            Sink::Forward { .. } => CancellationToken::new(),
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut pause = Duration::from_secs(1);
        let mut connected_once = false;
        while left > 0 && !stop.is_cancelled() {
            let why = match line.connect().await {
                Ok(channel) => {
                    let before = left;
                    let ended = self.session(channel, &sink, &mut left, &stop, &gone).await?;
                    connected_once = true;
                    if left < before {
                        pause = Duration::from_secs(1);
                    }
                    match ended {
                        Ended::Done => break,
                        Ended::Unread => return self.unread(),
                        Ended::Broken(why) => why,
                    }
                }
                Err(nobody) if connected_once => nobody.message,
                Err(nobody) => return Err(nobody),
            };
            if left > 0 && !stop.is_cancelled() {
                io::remark(&format!("{why}; connecting again in {} s", pause.as_secs()));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                    () = gone.cancelled() => return self.unread(),
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        Ok(Exit::Ok)
    }

    /// What it means that nobody reads: nothing to one who only watched.
    fn unread(&self) -> Result<Exit, Failure> {
        match self.subscription {
            None => Ok(Exit::Ok),
            Some(_) => Err(Failure::failed(
                "standard output was closed: what was not printed stays unacknowledged and comes again",
            )),
        }
    }

    /// One stream, until it ends.
    async fn session(
        &self,
        channel: Channel,
        sink: &Sink,
        left: &mut u64,
        stop: &CancellationToken,
        gone: &CancellationToken,
    ) -> Result<Ended, Failure> {
        // As many as may be unsettled, which the server bounds: nothing waits for room here while the
        // server waits to be read from.
        let (requests, outgoing) = mpsc::unbounded_channel();
        let request = |request| {
            // It fails once the stream has ended, which is seen where it is read.
            let _ = requests.send(v1::StreamEventsRequest { request: Some(request) });
        };
        let create =
            v1::CreateOptions { start: Some(v1::create_options::Start::Oldest(true)), ..Default::default() };
        // Only as much is posted at a time as is taken, so that no lease ends in a queue.
        let (at_once, max_outstanding) = match sink {
            Sink::Print(_) => (1, 0),
            Sink::Forward { .. } => (usize::from(self.concurrency), u32::from(self.concurrency)),
        };
        request(Request::Subscribe(v1::Subscribe {
            subscription: self.subscription.clone().unwrap_or_default(),
            temporary: self.subscription.is_none(),
            create: self.create.then_some(create),
            max_outstanding,
            ..Default::default()
        }));
        // As large as the server lets an event be.
        let mut client = InboxServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let mut stream = match client.stream_events(UnboundedReceiverStream::new(outgoing)).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return self.refused(&status),
        };
        let mut waiting = VecDeque::new();
        let mut working = FuturesUnordered::new();
        // Each of them counts where it is done.
        let mut counting = 0;
        let mut held = HashSet::new();
        let mut unconfirmed = 0_u64;
        let mut read = true;
        let mut extend = tokio::time::interval(EXTEND_EVERY);
        extend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while read && working.len() < at_once && counting < *left {
                let Some(v1::Delivery { event: Some(event), ack_id, .. }) = waiting.pop_front() else {
                    break;
                };
                let task = Task {
                    ack_id,
                    counts: !matches!(event.kind, Some(v1::event::Kind::Typing(_))),
                    delivery_status: self.report.and_then(|report| report.of(&event)),
                };
                counting += u64::from(task.counts);
                working.push(async move { (task, sink.take(&event_of(event)).await) });
            }
            let enough = *left == 0 || !read;
            if enough && working.is_empty() && unconfirmed == 0 {
                return Ok(if read { Ended::Done } else { Ended::Unread });
            }
            tokio::select! {
                response = stream.message() => {
                    let response = match response {
                        Ok(Some(response)) => response,
                        Ok(None) => return Ok(Ended::Broken("the stream ended".into())),
                        Err(status) => return self.refused(&status),
                    };
                    for settled in response.settled {
                        unconfirmed = unconfirmed.saturating_sub(1);
                        if !settled.ok {
                            io::remark(&format!("an event was not settled and comes again: {}", settled.message));
                        }
                    }
                    for delivery in response.deliveries {
                        if !delivery.ack_id.is_empty() {
                            held.insert(delivery.ack_id.clone());
                        }
                        if delivery.event.is_some() {
                            waiting.push_back(delivery);
                        }
                    }
                }
                Some((task, taken)) = working.next() => {
                    let Task { ack_id, counts, delivery_status } = task;
                    counting -= u64::from(counts);
                    let taken = taken?;
                    *left -= u64::from(taken == Taken::Yes && counts);
                    read &= taken != Taken::Unread;
                    // What could not be printed is left to the end of the stream, which gives it back.
                    if held.remove(&ack_id) && taken != Taken::Unread {
                        unconfirmed += 1;
                        request(match taken {
                            Taken::Yes => Request::Ack(v1::Ack { ack_id, delivery_status }),
                            _ => Request::Nack(v1::Nack { ack_id, ..Default::default() }),
                        });
                    }
                }
                _ = extend.tick() => for ack_id in &held {
                    unconfirmed += 1;
                    let ack_id = ack_id.clone();
                    request(Request::ExtendLease(v1::ExtendLease { ack_id, lease: None }));
                },
                () = gone.cancelled(), if !enough => read = false,
                () = stop.cancelled() => return Ok(Ended::Done),
            }
        }
    }

    /// What a status means: worth another attempt, or the end.
    fn refused(&self, status: &tonic::Status) -> Result<Ended, Failure> {
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => {
                Ok(Ended::Broken(format!("the connection to {} ended", self.remote.address())))
            }
            tonic::Code::NotFound => Err(Failure::no(format!("{}; --create makes it", status.message()))),
            _ => Err(remote::refused(status)),
        }
    }
}

/// How a stream ended.
enum Ended {
    /// There is no more to do.
    Done,
    /// Nobody reads standard output any more.
    Unread,
    /// It is worth another attempt; the reason why.
    Broken(String),
}

/// What is to be settled once an event was taken.
struct Task {
    /// Empty where there is nothing to settle.
    ack_id: String,
    counts: bool,
    delivery_status: Option<v1::DeliveryStatus>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    /// It is to come again.
    No,
    /// Nobody reads standard output any more.
    Unread,
}

/// Where the events go.
enum Sink {
    Print(Printer),
    Forward { http: reqwest::Client, url: reqwest::Url },
}

impl Sink {
    async fn take(&self, event: &Event) -> Result<Taken, Failure> {
        match self {
            Self::Print(printer) => printer.print(event.to_json().to_string()).await,
            Self::Forward { http, url } => {
                Ok(if forward(http, url, event).await { Taken::Yes } else { Taken::No })
            }
        }
    }
}

/// Prints on a thread of its own, so that leases are extended while a slow reader is waited for. It
/// ends with the process.
struct Printer(mpsc::UnboundedSender<Line>);

/// A line, and where to say whether anybody still reads.
type Line = (String, oneshot::Sender<Result<bool, Failure>>);

impl Printer {
    fn start() -> Self {
        let (lines, mut printed) = mpsc::unbounded_channel::<Line>();
        std::thread::spawn(move || {
            while let Some((line, done)) = printed.blocking_recv() {
                // Where nobody waits for it, the stream has ended, and the event comes again.
                let _ = done.send(io::print_on(&line));
            }
        });
        Self(lines)
    }

    async fn print(&self, line: String) -> Result<Taken, Failure> {
        let (done, printed) = oneshot::channel();
        let _ = self.0.send((line, done));
        let printed = printed.await.expect("the thread answers each line");
        Ok(if printed? { Taken::Yes } else { Taken::Unread })
    }
}

fn forwarder(url: &str) -> Result<(reqwest::Client, reqwest::Url), Failure> {
    let url = reqwest::Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| Failure::usage("--forward must be an http or https address"))?;
    Ok((http_client(FORWARD_TIMEOUT)?, url))
}

/// A client that sends each request once and follows no redirect.
pub(super) fn http_client(timeout: Duration) -> Result<reqwest::Client, Failure> {
    // The provider is named, since none is installed for the whole process.
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| Failure::failed(format!("cannot make an HTTP client: {error}")))
}

/// Posts an event. Anything but 200 to 299 means that it is to come again.
async fn forward(http: &reqwest::Client, url: &reqwest::Url, event: &Event) -> bool {
    let request = http.post(url.clone()).header("Content-Type", amochats::CONTENT_TYPE);
    match request.body(event.to_json().to_string()).send().await {
        Ok(response) if response.status().is_success() => true,
        Ok(response) => {
            io::remark(&format!(
                "the address answered {}; the event comes again",
                response.status().as_u16()
            ));
            false
        }
        Err(error) => {
            io::remark(&format!(
                "the address cannot be reached; the event comes again: {}",
                error.without_url()
            ));
            false
        }
    }
}

/// The event as the runtime has it, whose JSON is the one that every surface shows.
pub(super) fn event_of(event: v1::Event) -> Event {
    let origin = match event.origin() {
        v1::Origin::Backfill => Origin::Backfill,
        v1::Origin::Outbox => Origin::Outbox,
        v1::Origin::Webhook | v1::Origin::Unspecified => Origin::Webhook,
    };
    let received_at =
        event.received_at.map_or(0, |time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
    Event {
        event_id: event.event_id,
        channel_id: event.channel_id.into(),
        account_id: event.account_id.into(),
        scope_id: ScopeId::new(event.scope_id),
        received_at,
        origin,
        conflicting_duplicate: event.conflicting_duplicate,
        raw: event.raw,
    }
}
