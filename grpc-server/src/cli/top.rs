//! `top`: a live view of a running server.

mod figures;
mod view;

use super::listen::http_client;
use super::process::{run, stop_on_signal};
use super::remote::Channel;
use super::remote::{Remote, refused, server_url};
use super::{Exit, Failure, io};
use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use figures::{Look, Metrics, Rates};
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How wide and high a frame is that is printed as text.
const PAGE: (u16, u16) = (100, 60);

/// Watch a running server: rates, answer times, backlogs, dead letters, outbox and accounts
///
/// Where standard output is no terminal, one frame is printed as text.
#[derive(clap::Args)]
#[command(after_help = "\
Rates, answer times and the outbox come from the metrics at --admin, the rest by gRPC.

Examples:
  amochats top
  amochats top --once --admin http://127.0.0.1:9090")]
pub(super) struct Top {
    /// Print one frame as text, and end
    #[arg(long)]
    once: bool,
    /// How often it is looked, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Where health and metrics of the server are
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", value_parser = server_url)]
    admin: String,
    #[command(flatten)]
    remote: Remote,
}

impl Top {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(async {
            let mut server = Server::connect(&self).await?;
            let pause = Duration::from_secs(self.interval);
            if self.once || !std::io::stdout().is_terminal() {
                return server.print(pause).await;
            }
            let stop = stop_on_signal()?;
            let mut terminal = ratatui::try_init()
                .map_err(|error| Failure::failed(format!("cannot use the terminal: {error}")))?;
            let watched = server.watch(&mut terminal, pause, stop).await;
            ratatui::restore();
            watched
        })
    }
}

/// The server that is watched.
struct Server {
    inbox: InboxServiceClient<Channel>,
    channels: ChannelServiceClient<Channel>,
    http: reqwest::Client,
    metrics: String,
    name: String,
}

impl Server {
    async fn connect(top: &Top) -> Result<Self, Failure> {
        let connection = top.remote.connect().await?;
        Ok(Self {
            inbox: InboxServiceClient::new(connection.clone()),
            channels: ChannelServiceClient::new(connection),
            http: http_client(PATIENCE)?,
            metrics: format!("{}/metrics", top.admin.trim_end_matches('/')),
            name: top.remote.address().to_owned(),
        })
    }

    async fn look(&mut self) -> Result<Look, Failure> {
        let listed = self.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await;
        let subscriptions = listed.map_err(|status| refused(&status))?.into_inner().subscriptions;
        let listed = self.channels.list_accounts(v1::ListAccountsRequest {}).await;
        let accounts = listed.map_err(|status| refused(&status))?.into_inner().accounts;
        let scraped = async { self.http.get(&self.metrics).send().await?.error_for_status()?.text().await };
        let metrics = scraped.await.ok().map(|text| Metrics::read(&text));
        let trouble = metrics
            .is_none()
            .then(|| format!("no metrics at {}: name the address with --admin", self.metrics));
        Ok(Look { at: Some(Instant::now()), subscriptions, accounts, metrics, trouble })
    }

    /// Two looks, so that there are rates, and one frame.
    async fn print(&mut self, pause: Duration) -> Result<Exit, Failure> {
        let before = self.look().await?;
        tokio::time::sleep(pause).await;
        let now = self.look().await?;
        let rates = Rates::between(&before, &now);
        let mut page = Terminal::new(TestBackend::new(PAGE.0, PAGE.1)).expect("memory never fails");
        page.draw(|frame| view::draw(frame, &self.name, &now, &rates)).expect("memory never fails");
        let text = view::text(page.backend().buffer());
        io::print(text.trim_end_matches("q quits").trim_end())?;
        Ok(Exit::Ok)
    }

    /// Shows what is until somebody quits. A server that goes away is waited for.
    async fn watch(
        &mut self,
        terminal: &mut DefaultTerminal,
        pause: Duration,
        stop: CancellationToken,
    ) -> Result<Exit, Failure> {
        let cannot = |error| Failure::failed(format!("cannot use the terminal: {error}"));
        let mut keys = keys();
        let (mut look, mut rates) = (Look::default(), Rates::default());
        loop {
            let looked = tokio::select! {
                looked = self.look() => looked,
                // A server that hangs keeps nobody from leaving.
                () = quit(&mut keys, &stop) => return Ok(Exit::Ok),
            };
            match looked {
                Ok(now) => {
                    rates = Rates::between(&look, &now);
                    look = now;
                }
                Err(failure) => look.trouble = Some(format!("{}; trying again", failure.message)),
            }
            let next = tokio::time::Instant::now() + pause;
            loop {
                terminal.draw(|frame| view::draw(frame, &self.name, &look, &rates)).map_err(cannot)?;
                tokio::select! {
                    () = stop.cancelled() => return Ok(Exit::Ok),
                    () = tokio::time::sleep_until(next) => break,
                    event = keys.recv() => match event {
                        Some(Event::Key(key)) if quits(key) => return Ok(Exit::Ok),
                        Some(_) => {}
                        None => return Ok(Exit::Ok),
                    },
                }
            }
        }
    }
}

/// Ends once somebody wants to leave.
async fn quit(keys: &mut mpsc::Receiver<Event>, stop: &CancellationToken) {
    let typed = async {
        while let Some(event) = keys.recv().await {
            if matches!(event, Event::Key(key) if quits(key)) {
                return;
            }
        }
    };
    stop.run_until_cancelled(typed).await;
}

fn quits(key: event::KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

/// What is typed, and changes of the terminal's size; ends where the terminal is gone. The thread
/// that reads them ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (events, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}
