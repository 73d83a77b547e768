//! What amochats costs against the least that could be done in its place, and against what people
//! would write, measured in the same run by turns, so that a busy or slow machine hits all alike.
//! `make bench` runs it; numbers of different machines compare only by their ratio.

mod c;
mod load;
mod peers;

use load::Load;
use peers::Peer;
use std::time::{Duration, Instant};

const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

const ROUNDS: usize = 7;
const CONNECTIONS: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
/// For the wait of a hook when not as many come as can be kept.
const STEADY_RATE: u32 = 1000;
const STEADY: Duration = Duration::from_secs(10);
/// The memory is looked at after so many hooks, and after so many.
const MEMORY: (u64, u64) = (200_000, 1_200_000);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    if let Ok(peer) = std::env::var(peers::SERVE) {
        return runtime.block_on(peers::serve(&peer));
    }
    // One part alone: make bench BENCH=listening
    let only = std::env::var("BENCH").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only == part;
    if wanted("c") {
        c::through_c();
    }
    if wanted("soak") {
        c::soaked();
    }
    if wanted("listening") {
        runtime.block_on(listening());
    }
    if wanted("memory") {
        runtime.block_on(memory());
    }
}

/// What was measured of a peer, round by round.
#[derive(Default)]
struct Measured {
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

/// Webhooks that are kept on disk before their 200, against servers that keep nothing. Each is a
/// process of its own; the load comes from this one and shares the cores with it.
async fn listening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut peers = vec![
        Peer::of_ours("hyper", folder.path()).await,
        Peer::of_ours("checked", folder.path()).await,
        Peer::of_ours("amochats", folder.path()).await,
    ];
    match Peer::fastapi(folder.path()).await {
        Ok(peer) => peers.push(peer),
        Err(reason) => println!("SKIPPED: FastAPI: {reason}\n"),
    }
    let mut load = Load::new(SECRET);
    let mut measured: Vec<Measured> = peers.iter().map(|_| Measured::default()).collect();
    let mut waits = Vec::new();
    let mut kept = 0;
    // The first round only warms up.
    for round in 0..=ROUNDS {
        for (peer, measured) in peers.iter().zip(&mut measured) {
            let (started, cpu) = (Instant::now(), peer.cpu());
            let mut seen = load.round(peer.address, ROUND).await;
            let (seconds, cpu) = (started.elapsed().as_secs_f64(), peer.cpu() - cpu);
            let count = f64::from(u32::try_from(seen.len()).expect("a round is short"));
            if peer.name == "amochats" {
                kept += seen.len() as u64;
            }
            if round > 0 {
                measured.rate.push(count / seconds);
                measured.cpu.push(cpu * 1e6 / count);
                if peer.name == "amochats" {
                    waits.append(&mut seen);
                }
            }
        }
    }
    println!(
        "Webhooks of {} bytes, {CONNECTIONS} connections, every one signed and new: median (least to most of \
         {ROUNDS} rounds)",
        load.next().body().len()
    );
    println!(
        "                                             a second               CPU of the server, us each"
    );
    for (peer, measured) in peers.iter().zip(&measured) {
        println!("  {:42} {:22} {}", peer.title, spread(&measured.rate, 0), spread(&measured.cpu, 1));
    }
    let ours = &measured[2];
    for (place, (peer, other)) in peers.iter().zip(&measured).enumerate() {
        if place != 2 {
            println!(
                "  kept in SQLite before its 200: {:.2} x the rate, {:.2} x the CPU of {}",
                ratio(&ours.rate, &other.rate),
                ratio(&ours.cpu, &other.cpu),
                peer.title
            );
        }
    }
    println!("  the wait for the 200 under this load: {}", quantiles(&mut waits));

    let address = peers[2].address;
    let mut waits = load.steady(address, STEADY_RATE, STEADY).await;
    kept += waits.len() as u64;
    println!(
        "  at {STEADY_RATE} a second, from the moment each one is due: {} (the vendor waits 5000)\n",
        quantiles(&mut waits)
    );
    assert_eq!(peers[2].kept(), kept, "every 200 is one event in the store");
}

/// Memory that the server holds idle, and how it grows with what is kept.
async fn memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let peer = Peer::of_ours("amochats", folder.path()).await;
    let mut load = Load::new(SECRET);
    let idle = peer.memory();
    load.hooks(peer.address, MEMORY.0).await;
    let before = peer.memory();
    load.hooks(peer.address, MEMORY.1 - MEMORY.0).await;
    let after = peer.memory();
    println!(
        "Memory: idle {} KiB; {} KiB after {} hooks, {} KiB after {}: {:+} KiB",
        idle,
        before,
        MEMORY.0,
        after,
        MEMORY.1,
        after - before
    );
}

fn quantiles(waits: &mut [Duration]) -> String {
    waits.sort_unstable();
    let wait = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    format!("median {:.2} ms, 99 % below {:.2} ms, longest {:.1} ms", wait(50), wait(99), wait(100))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of the rounds' ratios.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(&of.iter().zip(to).map(|(of, to)| of / to).collect::<Vec<_>>())
}

fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(values))
}
