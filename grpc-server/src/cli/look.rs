//! What the commands share that look into a running server or into a store file.

use super::Failure;
use super::remote::Channel;
use super::remote::{Remote, refused};
use crate::service::inbox::events;
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_runtime::clock::SystemClock;
use amochats_runtime::store::{SqliteStore, Store};
use amochats_runtime::{Inbox, Redelivery};
use clap::Args;
use jiff::Timestamp;
use prost_types::Timestamp as ProtoTimestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where to look: a server, or a file.
#[derive(Args)]
pub(super) struct Place {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// A store's file, instead of a server. It may be read while a server works on it, but not changed
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    store: Option<PathBuf>,
}

impl Place {
    /// The file to read, if it is a file.
    pub(super) async fn file(&self) -> Result<Option<Arc<SqliteStore>>, Failure> {
        let Some(path) = &self.store else { return Ok(None) };
        there(path)?;
        Ok(Some(Arc::new(SqliteStore::open_read_only(path).await?)))
    }

    /// For calls that change nothing.
    pub(super) async fn read(&self) -> Result<Source, Failure> {
        match self.file().await? {
            Some(store) => Ok(Source::of(store)),
            None => self.server().await,
        }
    }

    /// For calls that change something: a file must be nobody else's meanwhile.
    pub(super) async fn write(&self) -> Result<Source, Failure> {
        match &self.store {
            None => self.server().await,
            Some(path) => {
                there(path)?;
                Ok(Source::of(Arc::new(SqliteStore::open(path).await?)))
            }
        }
    }

    async fn server(&self) -> Result<Source, Failure> {
        Ok(Source::Server(InboxServiceClient::new(self.remote.connect().await?)))
    }
}

/// To open a file that is not there would make one.
fn there(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(file) if file.is_file() => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{} is not a file", path.display()))),
        Err(error) => Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
    }
}

/// What answers the calls.
pub(super) enum Source {
    Server(InboxServiceClient<Channel>),
    File { inbox: Inbox, store: Arc<SqliteStore> },
}

impl Source {
    fn of(store: Arc<SqliteStore>) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self::File { inbox: Inbox::new(store.clone(), clock, Redelivery::default()), store }
    }

    /// A file is closed, so that the next one can have it.
    pub(super) async fn close(self) {
        if let Self::File { store, .. } = self {
            store.close().await;
        }
    }
}

macro_rules! calls {
    ($($call:ident($request:ident) -> $response:ident;)*) => {
        impl Source {
            $(pub(super) async fn $call(&mut self, request: v1::$request) -> Result<v1::$response, Failure> {
                match self {
                    Self::Server(client) => {
                        let answered = client.$call(request).await;
                        answered.map(tonic::Response::into_inner).map_err(|status| refused(&status))
                    }
                    Self::File { inbox, .. } => Ok(events::$call(inbox, request).await?),
                }
            })*
        }
    };
}

calls! {
    list_events(ListEventsRequest) -> ListEventsResponse;
    get_event(GetEventRequest) -> GetEventResponse;
    replay_events(ReplayEventsRequest) -> ReplayEventsResponse;
    list_dead_letters(ListDeadLettersRequest) -> ListDeadLettersResponse;
    requeue_dead_letters(RequeueDeadLettersRequest) -> RequeueDeadLettersResponse;
    drop_dead_letters(DropDeadLettersRequest) -> DropDeadLettersResponse;
    purge_conversation(PurgeConversationRequest) -> PurgeConversationResponse;
    list_subscriptions(ListSubscriptionsRequest) -> ListSubscriptionsResponse;
    create_subscription(CreateSubscriptionRequest) -> CreateSubscriptionResponse;
    delete_subscription(DeleteSubscriptionRequest) -> DeleteSubscriptionResponse;
}

/// Which events: of each kind of flag that is given, one must fit.
#[derive(Args, Clone)]
pub(super) struct Which {
    /// Only of this kind: message, typing, reaction, unknown or outbox; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = ["message", "typing", "reaction", "unknown", "outbox"])]
    pub(super) kinds: Vec<String>,
    /// Only of this account inside the chat service; may be repeated
    #[arg(long = "account-id", value_name = "ID")]
    pub(super) account_ids: Vec<String>,
    /// Only of this connection: the channel id and the account id, joined by "_"; may be repeated
    #[arg(long = "scope-id", value_name = "ID")]
    pub(super) scope_ids: Vec<String>,
    /// Only of this conversation, by the integration's or the CRM's id; may be repeated
    #[arg(long = "conversation-id", value_name = "ID")]
    pub(super) conversation_ids: Vec<String>,
}

/// A time that somebody typed: RFC 3339, or so long ago.
pub(super) fn moment(text: &str) -> Result<ProtoTimestamp, &'static str> {
    const RULE: &str = "must be a time such as 2026-11-22T10:00:00Z, or so long ago: 90s, 15m, 2h or 7d";
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: i64 = number.parse().ok().filter(|number| *number >= 0)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(number.checked_mul(seconds)?)).ok()
    };
    let time = text.parse().ok().or_else(ago).ok_or(RULE)?;
    Ok(ProtoTimestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

/// A time for people, which sorts; in UTC.
pub(super) fn shown(time: Option<&ProtoTimestamp>) -> String {
    let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    time.map_or_else(|| "-".into(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// For a command whose answer is JSON in any case: what works with its neighbours works with it.
#[derive(clap::Args)]
pub(super) struct AlwaysJson {
    /// Print JSON, as it does without this flag
    #[arg(long = "json")]
    _json: bool,
}

/// A time for programs, in Unix milliseconds.
pub(super) fn msec(time: Option<&ProtoTimestamp>) -> Option<i64> {
    time.map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_an_age() {
        assert_eq!(moment("1970-01-01T00:00:01.5Z"), Ok(ProtoTimestamp { seconds: 1, nanos: 500_000_000 }));
        let now = Timestamp::now().as_second();
        for (text, age) in [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("0s", 0)] {
            let seconds = moment(text).expect("an age").seconds;
            assert!((now - age - 60..=now - age + 60).contains(&seconds), "{text}");
        }
        for text in ["", "m", "-5m", "5w", "yesterday", "99999999999999999999d", "9223372036854775807d", "5м"]
        {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
