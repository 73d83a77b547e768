//! A server with webhooks to hand out, and clients of it.

use amochats::{ChannelSecret, sign_body};
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
use amochats_server::{Server, ServerConfig};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub(crate) const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
pub(crate) const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

pub(crate) fn scope_id(account: &str) -> String {
    format!("{CHANNEL}_{account}")
}

pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) inbox: InboxServiceClient<Channel>,
    webhooks: WebhookServiceClient<Channel>,
    _folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[grpc]\n\
             address = \"127.0.0.1:0\"\n[store]\npath = '{}'\nmin_free_bytes = 0\n[inbox]\nmax_attempts = 2\n\
             min_delay_ms = 0\n[[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\n\
             base_url = \"http://127.0.0.1:9\"\n",
            folder.path().join("inbox.db").display(),
        );
        let config = ServerConfig::load(&toml, []).expect("a valid configuration");
        let server = Server::start(config).await.expect("a server");
        let uri = format!("http://{}", server.grpc_address());
        let connection = Channel::from_shared(uri).expect("an address").connect().await.expect("connected");
        Self {
            server,
            inbox: InboxServiceClient::new(connection.clone()),
            webhooks: WebhookServiceClient::new(connection),
            _folder: folder,
        }
    }

    pub(crate) async fn message(&mut self, conversation: &str, message: &str) -> String {
        self.message_of(ACCOUNT, conversation, message).await
    }

    /// A message is kept; says its event's id.
    pub(crate) async fn message_of(&mut self, account: &str, conversation: &str, message: &str) -> String {
        let body = serde_json::json!({
            "account_id": account,
            "message": {
                "conversation": { "id": conversation },
                "message": { "id": message, "type": "text", "text": message },
            },
        });
        self.ingest(account, &body.to_string()).await
    }

    pub(crate) async fn ingest(&mut self, account: &str, body: &str) -> String {
        let secret = ChannelSecret::new(SECRET).expect("clean");
        let request = v1::IngestRequest {
            scope_id: scope_id(account),
            signature: sign_body(&secret, body.as_bytes()),
            body: body.as_bytes().to_vec().into(),
        };
        match self.webhooks.ingest(request).await.expect("kept").into_inner().outcome {
            Some(v1::ingest_response::Outcome::EventId(event_id)) => event_id,
            other => panic!("kept, not {other:?}"),
        }
    }

    pub(crate) async fn subscribe(&mut self, name: &str, options: v1::CreateOptions) -> v1::Subscription {
        let request = v1::CreateSubscriptionRequest { name: name.into(), options: Some(options) };
        self.inbox.create_subscription(request).await.expect("made").into_inner().subscription.expect("there")
    }

    pub(crate) async fn pull(&mut self, subscription: &str, max_events: u32) -> Vec<v1::Delivery> {
        let request =
            v1::PullEventsRequest { subscription: subscription.into(), max_events, ..Default::default() };
        self.inbox.pull_events(request).await.expect("pulled").into_inner().deliveries
    }

    pub(crate) async fn settle(
        &mut self,
        settlements: Vec<v1::settlement::Settlement>,
    ) -> Vec<v1::SettleResult> {
        let settlements =
            settlements.into_iter().map(|one| v1::Settlement { settlement: Some(one) }).collect();
        let settled = self.inbox.settle_events(v1::SettleEventsRequest { settlements }).await;
        settled.expect("answered").into_inner().results
    }
}

pub(crate) fn ack(delivery: &v1::Delivery) -> v1::settlement::Settlement {
    v1::settlement::Settlement::Ack(v1::Ack { ack_id: delivery.ack_id.clone(), ..Default::default() })
}

pub(crate) fn dead(delivery: &v1::Delivery) -> v1::settlement::Settlement {
    let ack_id = delivery.ack_id.clone();
    v1::settlement::Settlement::Nack(v1::Nack { ack_id, dead: true, ..Default::default() })
}

pub(crate) fn text(delivery: &v1::Delivery) -> &str {
    match delivery.event.as_ref().and_then(|event| event.kind.as_ref()) {
        Some(v1::event::Kind::Message(message)) => &message.text,
        other => panic!("a message, not {other:?}"),
    }
}

pub(crate) fn reason(status: &Status) -> (Code, String, Option<String>) {
    let info = status.get_details_error_info().expect("every error has its info");
    let field = status.get_details_bad_request().map(|bad| bad.field_violations[0].field.clone());
    (status.code(), info.reason, field)
}

pub(crate) fn invalid(field: &str) -> (Code, String, Option<String>) {
    (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), Some(field.to_owned()))
}
