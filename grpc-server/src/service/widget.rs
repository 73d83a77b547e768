//! Who may connect an account, decided by a client over a stream.

use crate::status::status;
use amochats::{Error, ErrorKind};
use amochats_proto::v1;
use amochats_proto::v1::widget_service_server::WidgetService as Service;
use amochats_runtime::Widget;
use amochats_runtime::widget::{Attempt, Authorizer};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// How long a client has for its decision.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many questions may wait for a client that does not read.
const BUFFER: usize = 64;

type Questions = mpsc::Sender<Result<v1::StreamDecisionsResponse, Status>>;

/// `amochats.v1.WidgetService`.
pub struct WidgetService {
    /// None: something else decides, or accounts are not linked here.
    decider: Option<Arc<Decider>>,
    stop: CancellationToken,
    streams: TaskTracker,
}

impl WidgetService {
    /// The service that decides for this widget, unless its configuration says who does.
    pub fn new(widget: Option<&Widget>, stop: CancellationToken, streams: TaskTracker) -> Self {
        let decider = widget.filter(|widget| !widget.has_authorizer()).map(|widget| {
            let decider = Arc::new(Decider::default());
            widget.set_authorizer(Some(decider.clone()));
            decider
        });
        Self { decider, stop, streams }
    }
}

#[tonic::async_trait]
impl Service for WidgetService {
    type StreamDecisionsStream = ReceiverStream<Result<v1::StreamDecisionsResponse, Status>>;

    async fn stream_decisions(
        &self,
        request: Request<Streaming<v1::StreamDecisionsRequest>>,
    ) -> Result<Response<Self::StreamDecisionsStream>, Status> {
        let Some(decider) = self.decider.clone() else {
            let said = "the configuration says who may connect, or [widget] is not configured";
            return Err(status(&Error::new(ErrorKind::Misuse, said)));
        };
        let mut decisions = request.into_inner();
        let (questions, stream) = mpsc::channel(BUFFER);
        let id = Uuid::new_v4();
        decider.state().streams.push((id, questions));
        let stop = self.stop.clone();
        self.streams.spawn(async move {
            let reading = async {
                while let Ok(Some(decision)) = decisions.message().await {
                    decider.decided(&decision);
                }
            };
            tokio::select! {
                () = reading => {}
                () = stop.cancelled() => {}
            }
            decider.left(id);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Asks the streams.
#[derive(Default)]
struct Decider(Mutex<State>);

#[derive(Default)]
struct State {
    streams: Vec<(Uuid, Questions)>,
    /// By question: who waits, and which stream was asked.
    waiting: HashMap<String, (Uuid, oneshot::Sender<bool>)>,
}

impl Decider {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decided(&self, decision: &v1::StreamDecisionsRequest) {
        if let Some((_, answer)) = self.state().waiting.remove(&decision.attempt_id) {
            let _ = answer.send(decision.allow);
        }
    }

    /// What a stream was asked is answered by nobody.
    fn left(&self, stream: Uuid) {
        let mut state = self.state();
        state.streams.retain(|(id, _)| *id != stream);
        state.waiting.retain(|_, (asked, _)| *asked != stream);
    }

    /// Asks the newest stream that takes the question.
    fn ask(
        &self,
        attempt_id: &str,
        question: &v1::StreamDecisionsResponse,
    ) -> Option<oneshot::Receiver<bool>> {
        let mut state = self.state();
        let taken =
            state.streams.iter().rev().find(|(_, stream)| stream.try_send(Ok(question.clone())).is_ok());
        let stream = taken.map(|(id, _)| *id)?;
        let (answer, answered) = oneshot::channel();
        state.waiting.insert(attempt_id.to_owned(), (stream, answer));
        Some(answered)
    }
}

/// A question that is forgotten with whoever waits for its answer.
struct Waiting<'a>(&'a Decider, &'a str);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting.remove(self.1);
    }
}

#[tonic::async_trait]
impl Authorizer for Decider {
    async fn authorize(&self, attempt: &Attempt) -> amochats::Result<bool> {
        let attempt_id = Uuid::new_v4().to_string();
        let question = v1::StreamDecisionsResponse {
            attempt_id: attempt_id.clone(),
            timeout: prost_types::Duration::try_from(TIMEOUT).ok(),
            login: attempt.login.clone(),
            password: attempt.password.expose_secret().to_owned(),
            client_id: attempt.client_id.clone(),
            crm_account_id: attempt.crm_account_id,
            crm_user_id: attempt.crm_user_id,
            origin: attempt.origin.clone(),
            account_id: attempt.account_id.to_string(),
            peer: attempt.peer.to_string(),
        };
        let unclear = |said: &str| Error::new(ErrorKind::Unavailable, said);
        let answered = self.ask(&attempt_id, &question);
        let answered = answered.ok_or_else(|| unclear("no client of StreamDecisions is there"))?;
        let _waiting = Waiting(self, &attempt_id);
        match tokio::time::timeout(TIMEOUT, answered).await {
            Ok(Ok(allow)) => Ok(allow),
            Ok(Err(_)) => Err(unclear("the client of StreamDecisions went away")),
            Err(_) => Err(unclear("the client of StreamDecisions does not decide")),
        }
    }

    fn name(&self) -> &'static str {
        "grpc"
    }
}
