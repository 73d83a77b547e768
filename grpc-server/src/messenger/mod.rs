//! A demo messenger: the client's side of `amochats dev`.
//!
//! It is a plain integrator's program and a model of one. All it knows of the channel is the gRPC
//! interface; the four duties of a messenger are a task each:
//!
//! - `inbox` follows the events: keep first, acknowledge then; the same event may come twice.
//! - `outbox` sends what clients write, under message ids that stay the same when it is tried
//!   again, and reports what became of the CRM's messages: delivered, read.
//! - `page` shows a client's phone in the browser.
//!
//! What it keeps, in `phones`, is in memory. A real messenger has a database in this place.

mod inbox;
mod outbox;
mod page;
mod phones;

use amochats::{AccountId, ChannelId, Error, ErrorKind, Result};
use amochats_proto::v1::Scope;
use phones::{MessageKey, Phones};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};

/// Messages that may wait to be sent; a page that writes faster waits for its answer.
const UNSENT_MAX: usize = 64;
/// How long [`Messenger::shutdown`] waits for calls in progress.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);
/// Pauses between attempts after a failure: the first, and the longest.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What a messenger is told before it starts.
#[derive(Clone, Debug)]
pub struct MessengerConfig {
    /// The address of the gRPC server, such as `http://127.0.0.1:50051`. It need not be up yet.
    pub grpc: String,
    /// The channel.
    pub channel_id: ChannelId,
    /// The account, inside the chat service.
    pub account_id: AccountId,
    /// Whose phone the page shows, unless it is asked for another by `?client=NAME`.
    pub client: String,
}

/// A demo messenger at work. It stops when dropped; [`Messenger::shutdown`] also waits for it.
pub struct Messenger {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    address: SocketAddr,
}

/// What the tasks and the page share.
struct Shared {
    config: MessengerConfig,
    grpc: Channel,
    stop: CancellationToken,
    phones: Mutex<Phones>,
    /// Marked whenever a phone would show something else.
    changes: watch::Sender<()>,
    unsent: mpsc::Sender<MessageKey>,
}

impl Messenger {
    /// Starts a messenger whose page is served on `listener`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a gRPC address that cannot be used,
    /// [`ErrorKind::ConfigInvalid`] for a listener without an address.
    pub fn start(config: MessengerConfig, listener: TcpListener) -> Result<Self> {
        let endpoint = Endpoint::from_shared(config.grpc.clone())
            .map_err(|_| Error::invalid("grpc", "must be an address such as http://127.0.0.1:50051"))?
            .connect_timeout(Duration::from_secs(5))
            // A server that vanished without a word is noticed within half a minute.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        let address = listener.local_addr().map_err(|error| {
            Error::new(ErrorKind::ConfigInvalid, format!("the listening address cannot be read: {error}"))
        })?;
        let (unsent, queue) = mpsc::channel(UNSENT_MAX);
        let shared = Arc::new(Shared {
            config,
            grpc: endpoint.connect_lazy(),
            stop: CancellationToken::new(),
            phones: Mutex::default(),
            changes: watch::Sender::default(),
            unsent,
        });
        let tasks = TaskTracker::new();
        tasks.spawn(inbox::follow(shared.clone()));
        tasks.spawn(outbox::send(shared.clone(), queue));
        tasks.spawn(outbox::report(shared.clone()));
        tasks.spawn(page::serve(shared.clone(), listener));
        Ok(Self { shared, tasks, address })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends: what was not acknowledged goes back to the server at once.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some calls of the messenger did not end in time");
        }
    }
}

impl Drop for Messenger {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    /// Looks at the phones, or changes them without a change to what they show.
    fn with<T>(&self, look: impl FnOnce(&mut Phones) -> T) -> T {
        // A panic while the lock was held is a bug that was reported; the phones themselves are whole.
        look(&mut self.phones.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the phones and tells their pages.
    fn change<T>(&self, change: impl FnOnce(&mut Phones) -> T) -> T {
        let changed = self.with(change);
        self.changes.send_replace(());
        changed
    }

    fn scope(&self) -> Scope {
        Scope {
            channel_id: self.config.channel_id.as_str().to_owned(),
            account_id: self.config.account_id.as_str().to_owned(),
        }
    }
}

/// Growing pauses between attempts.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(RETRY_PAUSES.0)
    }

    /// Waits for the next attempt. `false` where there is none, because the messenger stops.
    async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let pause = self.0;
        self.0 = (pause * 2).min(RETRY_PAUSES.1);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
    }
}

/// The time in Unix milliseconds.
fn now_msec() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
