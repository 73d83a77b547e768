//! `kill -9` at random moments, under random load, against a model of the promises.
//!
//! It catches, each tried once within two seconds: an answer before the commit, a settlement
//! confirmed before its commit, and a store without deduplication. What else the model sees is in
//! its own tests.

use amochats_tests::chaos::{Chaos, SETTINGS, number};
use amochats_tests::server::Home;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::sleep;

/// `AMOCHATS_KILLS` and `AMOCHATS_SEED` make it longer and repeat it.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_break_no_promise() {
    let kills = number("AMOCHATS_KILLS", 60);
    let seed = number("AMOCHATS_SEED", fastrand::u64(..));
    eprintln!("AMOCHATS_SEED={seed} AMOCHATS_KILLS={kills}");
    let home = Home::with(SETTINGS);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut chaos = Chaos::new(rng.u64(..));
    for kill in 0..kills {
        // The moment is the test's matter, so this is no waiting for anything.
        let moment = Duration::from_micros(rng.u64(..500_000));
        if rng.u8(..6) == 0 {
            // While it starts, so while it mends what the last kill left.
            let mut command = home.command();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            let mut child = command.spawn().expect("the server starts");
            sleep(moment / 10).await;
            child.kill().await.expect("killed");
            continue;
        }
        let server = home.start().await;
        let load = chaos.start(&server);
        sleep(moment).await;
        server.kill().await;
        chaos.end(load).await;
        if kill % 50 == 49 {
            let state = chaos.model.state();
            eprintln!("{} kills: {} promised, {} confirmed", kill + 1, state.promised, state.confirmed);
        }
    }
    let server = home.start().await;
    chaos.drain(server).await;
    let state = chaos.model.state();
    eprintln!("{kills} kills: {} promised, {} confirmed", state.promised, state.confirmed);
    assert!(state.promised > kills && state.confirmed > kills, "there was something to lose");
}

/// SIGTERM with webhooks on their way and leases held: every request begun is answered, the end
/// comes within the deadline, and nothing that was promised is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_random_load_breaks_no_promise() {
    let home = Home::with(SETTINGS);
    let mut chaos = Chaos::new(number("AMOCHATS_SEED", fastrand::u64(..)));
    for _ in 0..5 {
        let server = home.start().await;
        let load = chaos.start(&server);
        let (promised, confirmed) = {
            let state = chaos.model.state();
            (state.promised + 300, state.confirmed + 300)
        };
        chaos
            .model
            .until("progress", |state| state.promised >= promised && state.confirmed >= confirmed)
            .await;
        server.signal("TERM").await;
        assert_eq!(server.ended().await.code(), Some(0), "it ended by itself, in time");
        chaos.end(load).await;
    }
    let server = home.start().await;
    chaos.drain(server).await;
}
