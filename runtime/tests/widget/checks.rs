use super::*;

/// The default of `accounts.check_interval_s`.
const CHECKED_EVERY: Duration = Duration::from_hours(6);

#[tokio::test]
async fn a_linked_account_is_checked_again() {
    let world = World::new().await;
    world.link(DEMO).await;
    world.link(OTHER).await;
    let scope = format!("{CHANNEL}_{}", DEMO.1).into();
    let account = || world.runtime().channels().accounts().get(&scope).expect("known");
    let problem = async |expected: Option<&str>| {
        let looking = async {
            while account().problem.as_deref() != expected {
                tokio::task::yield_now().await;
            }
        };
        soon("check", looking).await;
    };
    world.clock.advance(CHECKED_EVERY);
    world.checked(DEMO).await;
    world.checked(OTHER).await;
    assert_eq!(world.peer.count("POST /v2/"), 4, "each was linked and checked");

    // What goes wrong is noted, and tried again soon.
    world.peer.fail("/api/v4/account", 503);
    world.clock.advance(CHECKED_EVERY);
    problem(Some("UNAVAILABLE")).await;
    assert_eq!(account().state.name(), "connected", "nobody has said that it is not");
    world.peer.work_again();
    world.clock.advance(Duration::from_mins(1));
    problem(None).await;

    // An account that has switched the integration off is not connected again.
    world.peer.revoke(DEMO);
    world.clock.advance(CHECKED_EVERY);
    let off = async {
        while world.account_state(DEMO) != Some("disabled") {
            tokio::task::yield_now().await;
        }
    };
    soon("the end", off).await;
    assert_eq!(world.account_state(OTHER), Some("connected"));
}

#[tokio::test]
async fn who_was_disconnected_is_left_alone() {
    let world = World::new().await;
    world.link(DEMO).await;
    world.link(OTHER).await;
    assert_eq!(world.page().disconnect().await.status, 200);
    // The second round begins when the first one has ended for both.
    for _ in 0..2 {
        world.clock.advance(CHECKED_EVERY);
        world.checked(OTHER).await;
    }
    assert!(world.peer.is_connected(OTHER) && !world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn accounts_are_checked_some_at_a_time_and_a_slow_one_holds_up_no_other() {
    let world = World::with("crm_timeout_ms = 60000").await;
    let accounts: Vec<Account> = (0..12).map(|n| (n + 1, &*format!("a0000000-{n:04}").leak())).collect();
    for account in &accounts {
        world.link(*account).await;
    }
    let slow = accounts[0];
    world.peer.hold_account(slow);
    world.clock.advance(CHECKED_EVERY);
    for account in &accounts[1..] {
        world.checked(*account).await;
    }
    let scope = format!("{CHANNEL}_{}", slow.1).into();
    let slow_one = || world.runtime().channels().accounts().get(&scope).expect("known").checked_at;
    assert_eq!(slow_one(), Some(NOW * 1000), "it was linked then, and waits for its answer");
    world.peer.work_again();
    world.checked(slow).await;

    world.peer.hold("/api/v4/account");
    world.clock.advance(CHECKED_EVERY);
    world.peer.working_on(8).await;
    world.peer.work_again();
    for account in &accounts {
        world.checked(*account).await;
    }
    assert_eq!(world.peer.most_at_once(), 8);
    assert_eq!(world.peer.count("POST /v2/"), 3 * accounts.len(), "each was linked, and checked twice");
}
