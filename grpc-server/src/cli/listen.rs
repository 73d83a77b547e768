//! `listen`: shows the events of a running server, or passes them on.

use super::process::{run, stop_on_signal};
use super::remote::{Channel, Remote};
use super::{Exit, Failure, io};
use amochats::ScopeId;
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_runtime::{Event, Origin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// The longest pause between two attempts to connect again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long the address that events are posted to may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Print the events of a running server as they come, one JSON object a line, or post them to an
/// address
///
/// Without --subscription it sees only what happens while it runs, and leaves no trace. With one
/// it receives every event since the subscription was made; an event is acknowledged once it is
/// printed, or the address has answered 200 to 299; otherwise it comes again later.
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
        let http = self.forward.as_deref().map(forwarder).transpose()?;
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut pause = Duration::from_secs(1);
        let mut connected_once = false;
        while left > 0 && !stop.is_cancelled() {
            let ended = match line.connect().await {
                Ok(channel) => {
                    let before = left;
                    let ended = self.session(channel, http.as_ref(), &mut left, &stop).await?;
                    connected_once = true;
                    if left < before {
                        pause = Duration::from_secs(1);
                    }
                    ended
                }
                Err(nobody) if connected_once => nobody.message,
                Err(nobody) => return Err(nobody),
            };
            if left > 0 && !stop.is_cancelled() {
                io::remark(&format!("{ended}; connecting again in {} s", pause.as_secs()));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        Ok(Exit::Ok)
    }

    /// One stream, until it ends; says why it did.
    async fn session(
        &self,
        channel: Channel,
        http: Option<&(reqwest::Client, reqwest::Url)>,
        left: &mut u64,
        stop: &CancellationToken,
    ) -> Result<String, Failure> {
        let (requests, outgoing) = mpsc::channel(64);
        let create =
            v1::CreateOptions { start: Some(v1::create_options::Start::Oldest(true)), ..Default::default() };
        let subscribe = v1::Subscribe {
            subscription: self.subscription.clone().unwrap_or_default(),
            temporary: self.subscription.is_none(),
            create: self.create.then_some(create),
            ..Default::default()
        };
        // There is room: the channel is new.
        let _ = requests.send(v1::StreamEventsRequest { request: Some(Request::Subscribe(subscribe)) }).await;
        // As large as the server lets an event be.
        let mut client = InboxServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let mut stream = match client.stream_events(ReceiverStream::new(outgoing)).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return self.refused(&status),
        };
        let mut unconfirmed = 0_u64;
        loop {
            let response = tokio::select! {
                response = stream.message() => response,
                () = stop.cancelled() => return Ok("stopped".into()),
            };
            let response = match response {
                Ok(Some(response)) => response,
                Ok(None) => return Ok("the stream ended".into()),
                Err(status) => return self.refused(&status),
            };
            for settled in response.settled {
                unconfirmed = unconfirmed.saturating_sub(1);
                if !settled.ok {
                    io::remark(&format!("an event was not settled and comes again: {}", settled.message));
                }
            }
            for delivery in response.deliveries {
                if *left == 0 {
                    break;
                }
                let Some(event) = delivery.event else { continue };
                let counts = !matches!(event.kind, Some(v1::event::Kind::Typing(_)));
                let delivery_status = self.report.and_then(|report| report.of(&event));
                let done = match http {
                    None => io::print(&event_of(event).to_json().to_string()).map(|()| true)?,
                    Some((http, url)) => forward(http, url, &event_of(event)).await,
                };
                *left -= u64::from(done && counts);
                if !delivery.ack_id.is_empty() {
                    let ack_id = delivery.ack_id;
                    let request = if done {
                        Request::Ack(v1::Ack { ack_id, delivery_status })
                    } else {
                        Request::Nack(v1::Nack { ack_id, ..Default::default() })
                    };
                    unconfirmed += 1;
                    if requests.send(v1::StreamEventsRequest { request: Some(request) }).await.is_err() {
                        return Ok("the stream ended".into());
                    }
                }
            }
            if *left == 0 && unconfirmed == 0 {
                return Ok("done".into());
            }
        }
    }

    /// What a status means: worth another attempt, or the end.
    fn refused(&self, status: &tonic::Status) -> Result<String, Failure> {
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => {
                Ok(format!("the connection to {} ended", self.remote.address()))
            }
            tonic::Code::NotFound => Err(Failure::no(format!("{}; --create makes it", status.message()))),
            tonic::Code::InvalidArgument => Err(Failure::usage(status.message())),
            _ => Err(Failure::failed(status.message())),
        }
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
