//! The servers that are measured, each in a process of its own.

use crate::{CHANNEL, SECRET};
use amochats::{ChannelSecret, parse_webhook, verify_webhook};
use amochats_runtime::store::Start;
use amochats_runtime::{Config, Runtime};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use std::convert::Infallible;
use std::fs;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// The environment variable that makes this program a server.
pub(crate) const SERVE: &str = "AMOCHATS_BENCH_SERVE";
/// Where the server keeps its store.
const FOLDER: &str = "AMOCHATS_BENCH_FOLDER";

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Peer {
    pub(crate) async fn of_ours(name: &'static str, folder: &Path) -> Self {
        let title = match name {
            "hyper" => "hyper reads the body, answers 200",
            "checked" => "hyper, verified and parsed, not kept",
            _ => "amochats: kept, synced, then 200",
        };
        let ready = folder.join(format!("{name}.address"));
        let child = Command::new(std::env::current_exe().expect("this program"))
            .env(SERVE, name)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let address = loop {
            if let Ok(address) = fs::read_to_string(&ready).map(|text| text.parse()) {
                break address.expect("an address");
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        Self { name, title, address, child, folder: folder.to_owned() }
    }

    /// `FastAPI` on two uvicorn workers: verifies, parses, keeps nothing.
    pub(crate) async fn fastapi(folder: &Path) -> Result<Self, String> {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-venv");
        let python = venv.join("bin/python");
        let run = |command: &mut Command| match command.stdout(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("").to_owned())
            }
            Err(error) => Err(error.to_string()),
        };
        if run(Command::new(&python).args(["-c", "import fastapi, uvloop, httptools"])).is_err() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            run(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "fastapi",
                "uvicorn[standard]",
            ]))?;
        }
        let port =
            StdListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bench");
        let child = Command::new(&python)
            .args(["-m", "uvicorn", "app:app", "--workers", "2", "--no-access-log", "--log-level", "error"])
            .args(["--app-dir".as_ref(), app.as_os_str()])
            .args(["--port", &port.to_string()])
            .env("AMOCHATS_SECRET", SECRET)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .spawn()
            .map_err(|error| error.to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let title = "FastAPI, 2 uvicorn workers, not kept";
        let mut peer = Self { name: "fastapi", title, address, child, folder: folder.to_owned() };
        while TcpStream::connect(address).await.is_err() {
            if let Ok(Some(status)) = peer.child.try_wait() {
                return Err(format!("uvicorn ended: {status}"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(peer)
    }

    /// The seconds of CPU that the server and its workers have used.
    pub(crate) fn cpu(&self) -> f64 {
        let ticks = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // After the name, which may hold anything: state, parent, …, user and system time.
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let number = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok());
            number(11).unwrap_or(0.0) + number(12).unwrap_or(0.0)
        };
        self.processes().into_iter().map(ticks).sum::<f64>() / 100.0
    }

    /// The server and its workers.
    fn processes(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of /proc");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Ends amochats; says how many events it has kept.
    pub(crate) fn kept(&mut self) -> u64 {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        fs::read_to_string(self.folder.join("kept")).expect("written").parse().expect("a number")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Also those that the server has started; they end with it only if it is asked.
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends.
pub(crate) async fn serve(name: &str) {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the parent says"));
    let ready = |address: SocketAddr| {
        // Not seen before it is whole.
        let path = folder.join(format!("{name}.address"));
        fs::write(path.with_extension("new"), address.to_string()).expect("written");
        fs::rename(path.with_extension("new"), path).expect("renamed");
    };
    if name == "amochats" {
        let runtime = amochats(&folder).await;
        ready(runtime.listener_address());
        end_of_input().await;
        let state = runtime.inbox().subscriptions().await.expect("the store answers");
        fs::write(folder.join("kept"), state[0].unsettled.to_string()).expect("written");
        runtime.shutdown(std::time::Duration::from_secs(10)).await;
    } else {
        let secret = (name == "checked").then(|| ChannelSecret::new(SECRET).expect("a clean secret"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        ready(listener.local_addr().expect("it is bound"));
        tokio::select! {
            () = answer(listener, secret) => {}
            () = end_of_input() => {}
        }
    }
}

async fn end_of_input() {
    let _ = tokio::io::stdin().read(&mut [0]).await;
}

async fn amochats(folder: &Path) -> Runtime {
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\nstore.path = '{}'\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"http://127.0.0.1:9\"\n",
        folder.join("bench.db").display(),
    );
    let config = Config::load(&toml, []).expect("a valid configuration");
    let runtime = Runtime::start(config).await.expect("the runtime starts");
    runtime.inbox().create_subscription("bench", Start::Oldest).await.expect("new");
    runtime
}

/// Answers 200: at once, or if there is a secret, to what is signed with it and can be parsed.
async fn answer(listener: TcpListener, secret: Option<ChannelSecret>) {
    let secrets = secret.map(|secret| Arc::new([secret]));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let secrets = secrets.clone();
        let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
            let secrets = secrets.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let genuine = secrets.is_none_or(|secrets| {
                    let signature = head.headers.get("x-signature").and_then(|value| value.to_str().ok());
                    verify_webhook(&secrets[..], &body, signature).and_then(parse_webhook).is_ok()
                });
                let mut response = Response::new(Empty::<Bytes>::new());
                if !genuine {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let stream = hyper_util::rt::TokioIo::new(stream);
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, answer));
    }
}
