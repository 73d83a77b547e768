//! Producers and consumers that do what may happen, at random, and tell a [`Model`] of it.

use crate::model::{Handed, Hook, Model};
use crate::secrecy::{EMAIL, PHONE, TEXT};
use crate::server::{ACCOUNT, Server};
use crate::soon;
use crate::traffic::Connection;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_proto::v1::{
    Ack, CreateOptions, Delivery, ExtendLease, ListSubscriptionsRequest, Nack, StreamEventsRequest,
    StreamEventsResponse, Subscribe,
};
use fastrand::Rng;
use std::collections::{HashMap, HashSet};
use std::env;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

/// Redelivery quick enough for a test, and no attempt the last.
pub const SETTINGS: &str = "[inbox]\nmin_delay_ms = 5\nmax_delay_ms = 50\nmax_attempts = 1000000\n";

const SUBSCRIPTIONS: [&str; 3] = ["crm", "archive", "robot"];
const CONSUMERS: usize = 9;
const PRODUCERS: usize = 12;

/// A number from the environment, or this one.
///
/// # Panics
/// Where it is no number.
pub fn number<T: FromStr>(name: &str, otherwise: T) -> T {
    match env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")),
        Err(_) => otherwise,
    }
}

/// Random load that outlives the server.
pub struct Chaos {
    /// What is promised.
    pub model: Arc<Model>,
    rng: Rng,
    life: u64,
    producers: Vec<Producer>,
}

impl Chaos {
    /// Load that follows from this seed, as far as the order of events in several processes can.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let producers = (0..PRODUCERS).map(|number| Producer::new(number, rng.fork())).collect();
        Self { model: Arc::default(), rng, life: 0, producers }
    }

    /// Sends and receives until the server goes away; then [`Chaos::end`] gives the producers back.
    pub fn start(&mut self, server: &Server) -> Load {
        self.life += 1;
        let mut load = Load { producers: JoinSet::new(), consumers: JoinSet::new() };
        for producer in self.producers.drain(..) {
            load.producers.spawn(producer.run(server.listener.clone(), self.model.clone()));
        }
        for number in 0..CONSUMERS {
            let consumer = Consumer {
                address: server.grpc.clone(),
                subscription: SUBSCRIPTIONS[number % SUBSCRIPTIONS.len()],
                model: self.model.clone(),
                rng: self.rng.fork(),
                life: self.life,
                moody: true,
            };
            load.consumers.spawn(consumer.run());
        }
        load
    }

    /// Waits for the end of the load, after that of the server.
    ///
    /// # Panics
    /// Where a promise was broken, or a producer or consumer panicked.
    pub async fn end(&mut self, load: Load) {
        self.producers = soon("end of the producers", load.producers.join_all()).await;
        soon("end of the consumers", load.consumers.join_all()).await;
        self.model.check();
    }

    /// Receives and settles all that waits, and checks that every promise was kept.
    ///
    /// # Panics
    /// Where one was not.
    pub async fn drain(&mut self, server: Server) {
        self.life += 1;
        let mut consumers = JoinSet::new();
        for subscription in SUBSCRIPTIONS {
            let consumer = Consumer {
                address: server.grpc.clone(),
                subscription,
                model: self.model.clone(),
                rng: self.rng.fork(),
                life: self.life,
                moody: false,
            };
            consumers.spawn(consumer.run());
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
        let mut inbox = InboxServiceClient::new(endpoint.connect().await.expect("connected"));
        let settled = async {
            loop {
                let all = inbox.list_subscriptions(ListSubscriptionsRequest {}).await.expect("listed");
                let all = all.into_inner().subscriptions;
                assert_eq!(all.len(), SUBSCRIPTIONS.len());
                if all.iter().all(|subscription| subscription.unsettled == 0) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        // What is lost never comes: so the time to wait for is that of the rest.
        soon("settlement of all", settled).await;
        server.kill().await;
        soon("end of the consumers", consumers.join_all()).await;
        self.model.check();
        let state = self.model.state();
        for subscription in SUBSCRIPTIONS {
            let missing = state.missing(subscription);
            let few = &missing[..missing.len().min(10)];
            assert!(
                missing.is_empty(),
                "{} lost to {subscription}, of {}: {few:?}",
                missing.len(),
                state.promised
            );
        }
    }
}

/// What runs against one life of a server.
pub struct Load {
    producers: JoinSet<Producer>,
    consumers: JoinSet<()>,
}

/// Owns a few conversations, so that it knows the order in them.
struct Producer {
    number: usize,
    rng: Rng,
    count: u64,
    /// Messages that were answered 200.
    known: Vec<Hook>,
    /// What was sent and not answered.
    open: Option<Hook>,
}

impl Producer {
    fn new(number: usize, rng: Rng) -> Self {
        Self { number, rng, count: 0, known: Vec::new(), open: None }
    }

    async fn run(mut self, listener: String, model: Arc<Model>) -> Self {
        while let Ok(mut connection) = Connection::open(&listener).await {
            // Now and then a new connection, which leaves the old one half way.
            for _ in 0..self.rng.usize(1..200) {
                if self.turn(&mut connection, &model).await.is_break() {
                    return self;
                }
            }
        }
        self
    }

    async fn turn(&mut self, connection: &mut Connection, model: &Model) -> ControlFlow<()> {
        if self.rng.u8(..) < 4 {
            // Never noted as sent, so it must not come out.
            let forged = self.hook("m", 0);
            let answer = connection.post_signed(&forged.body, &"0".repeat(40)).await;
            assert!(!answer.is_ok_and(|status| status != 401), "a forged signature");
        }
        let hook = self.next();
        model.sent(&hook);
        self.open = (hook.once && !hook.conflicting).then(|| hook.clone());
        match connection.post(&hook.body).await {
            Ok(200) if model.promised(&hook) => {}
            Ok(200) | Err(_) => return ControlFlow::Break(()),
            // Not promised; it may come all the same. A stop answers so.
            Ok(503) => return ControlFlow::Continue(()),
            Ok(status) => panic!("{} was answered {status}", hook.tag),
        }
        self.open = None;
        if hook.once && !hook.conflicting {
            self.known.push(hook);
        }
        ControlFlow::Continue(())
    }

    fn next(&mut self) -> Hook {
        // The vendor sends once; yet what another system repeats must be known also where the first
        // copy was not answered.
        if let Some(open) = self.open.take().filter(|_| self.rng.bool()) {
            return self.repeated(open);
        }
        let conversation = self.rng.u8(..3);
        match self.rng.u8(..100) {
            0..15 if !self.known.is_empty() => {
                let known = self.known[self.rng.usize(..self.known.len())].clone();
                self.repeated(known)
            }
            15..25 if !self.known.is_empty() => {
                let known = &self.known[self.rng.usize(..self.known.len())];
                let id = known.tag.clone();
                let mut hook = self.hook("other", conversation);
                // In the place of its own id that of the other message.
                hook.body =
                    hook.body.replace(&format!("\"id\":\"{}\"", hook.tag), &format!("\"id\":\"{id}\""));
                hook.conflicting = true;
                hook
            }
            25..35 => self.hook("v1", conversation),
            35..40 => self.hook("typing", conversation),
            40..44 => self.hook("shape", conversation),
            44..48 => self.hook("bytes", conversation),
            _ => self.hook("m", conversation),
        }
    }

    /// The same, with another time of the webhook.
    fn repeated(&mut self, mut hook: Hook) -> Hook {
        let (_, rest) = hook.body.split_once(',').expect("begins with its time");
        hook.body = format!("{{\"time\":{},{rest}", self.rng.u32(..));
        hook
    }

    fn hook(&mut self, kind: &str, conversation: u8) -> Hook {
        let place = self.count;
        self.count += 1;
        let tag = format!("{kind}-{}-{conversation}-{place}", self.number);
        let name = format!("c{}-{conversation}", self.number);
        let mut text = format!("k:{tag};{TEXT}");
        for _ in 0..self.rng.u16(..300) {
            write!(text, "{}", self.rng.alphanumeric()).expect("a string takes all");
        }
        let body = match kind {
            "v1" => format!(
                r#"{{"account_id":"{ACCOUNT}","receiver":"u","conversation_id":"v1{name}","type":"text","text":"{text}"}}"#
            ),
            "typing" => format!(
                r#"{{"account_id":"{ACCOUNT}","time":1,"action":{{"typing":{{"user":{{"id":"{text}"}},"conversation":{{"id":"{name}"}},"expired_at":5}}}}}}"#
            ),
            "shape" => format!(r#"{{"account_id":"{ACCOUNT}","future":{{"what":["{text}",null]}}}}"#),
            "bytes" => format!("\u{1}no JSON {text} at all"),
            _ => format!(
                r#"{{"time":1,"account_id":"{ACCOUNT}","message":{{"receiver":{{"id":"r","phone":"{PHONE}","email":"{EMAIL}"}},"conversation":{{"id":"{name}"}},"message":{{"id":"{tag}","type":"text","text":"{text}"}}}}}}"#
            ),
        };
        let order = match kind {
            "m" | "other" => Some((name, place)),
            "v1" => Some((format!("v1{name}"), place)),
            _ => None,
        };
        let kept = kind != "typing";
        Hook { tag, body, order, once: kind == "m", conflicting: false, kept }
    }
}

/// Opens one stream after the other.
struct Consumer {
    address: String,
    subscription: &'static str,
    model: Arc<Model>,
    rng: Rng,
    life: u64,
    /// Does not always acknowledge at once.
    moody: bool,
}

impl Consumer {
    async fn run(mut self) {
        while self.stream().await.is_ok() {}
    }

    /// Receives until it has enough (then `Ok`) or the server is gone.
    async fn stream(&mut self) -> Result<(), Status> {
        let gone = |_| Status::unavailable("the server is gone");
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        let mut inbox = InboxServiceClient::new(endpoint.connect().await.map_err(gone)?);
        let (requests, stream) = mpsc::channel(1000);
        let seconds = if self.moody && self.rng.u8(..4) == 0 { 1 } else { 60 };
        let subscribe = Subscribe {
            subscription: self.subscription.into(),
            max_outstanding: if self.moody { self.rng.u32(1..100) } else { 1000 },
            create: Some(CreateOptions::default()),
            lease: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..Subscribe::default()
        };
        let ask = async |request| {
            let asked = requests.send(StreamEventsRequest { request: Some(request) }).await;
            asked.map_err(|_| Status::unavailable("the stream is closed"))
        };
        ask(Request::Subscribe(subscribe)).await?;
        let mut responses: Streaming<StreamEventsResponse> =
            inbox.stream_events(ReceiverStream::new(stream)).await?.into_inner();
        let patience = if self.moody { self.rng.usize(1..400) } else { usize::MAX };
        let (mut taken, mut settling, mut extended) = (0, HashMap::new(), HashSet::new());
        while taken < patience {
            let response = responses.message().await?.ok_or_else(|| Status::unavailable("it ended"))?;
            // Noted before anything is answered, since the answer lets the next one come.
            let handed: Vec<(Delivery, Handed)> = response
                .deliveries
                .into_iter()
                .map(|delivery| {
                    let handed = self.model.handed_out(self.subscription, self.life, &delivery);
                    (delivery, handed)
                })
                .filter(|(delivery, _)| !delivery.ack_id.is_empty())
                .collect();
            for settled in &response.settled {
                // An extension is answered with the same id.
                if extended.remove(&settled.ack_id) {
                    continue;
                }
                if let (true, Some(handed)) = (settled.ok, settling.remove(&settled.ack_id)) {
                    self.model.settled(self.subscription, &handed);
                }
            }
            for (delivery, handed) in handed {
                taken += 1;
                let ack_id = delivery.ack_id;
                let request = match if self.moody { self.rng.u8(..100) } else { 100 } {
                    0..10 => {
                        let nanos = self.rng.i32(..100_000_000);
                        let delay = Some(prost_types::Duration { seconds: 0, nanos });
                        Request::Nack(Nack { ack_id, delay, dead: false })
                    }
                    10..13 => Request::Nack(Nack { ack_id, delay: None, dead: false }),
                    13..15 => {
                        self.model.settling(self.subscription, &handed);
                        settling.insert(ack_id.clone(), handed);
                        Request::Nack(Nack { ack_id, delay: None, dead: true })
                    }
                    // Until its lease ends, or the stream.
                    15..18 => continue,
                    mood => {
                        if mood < 25 {
                            extended.insert(ack_id.clone());
                            ask(Request::ExtendLease(ExtendLease { ack_id: ack_id.clone(), lease: None }))
                                .await?;
                        }
                        if mood == 26 {
                            sleep(Duration::from_millis(self.rng.u64(..30))).await;
                        }
                        self.model.settling(self.subscription, &handed);
                        settling.insert(ack_id.clone(), handed);
                        Request::Ack(Ack { ack_id, delivery_status: None })
                    }
                };
                ask(request).await?;
            }
        }
        Ok(())
    }
}
