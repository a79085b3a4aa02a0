//! One of a tab's two relays lies: it connects no circuit, and reports many peers that do not exist. The tabs meet through
//! the other one, and stay small and responsive.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep, timeout};

use super::{
    channel_flood::wasm_bytes,
    floods::{longest_task, observe_long_tasks},
};
use crate::{
    harness::{Outcome, Tab, TestEnv, agreement, run_test},
    native::BadRelay,
};

/// How often the bad relay has reported peers before the others come.
const LIES: usize = 3;
/// Time limit of these reports. Tabs ask about three times a minute.
const LIES_TIMEOUT: Duration = Duration::from_secs(120);
/// The most bytes by which the tab's WebAssembly memory may grow.
const MAX_GROWTH: f64 = 16e6;
/// The longest task that is not certain to be a fault, in ms. Others share this machine.
const LONGEST_TASK_MS: f64 = 1_000.0;
/// A reservation at each of two relays.
const BOTH_RELAYS: &str =
    "node => node.status().relays.filter(({ reserved }) => reserved).length === 2";

#[tokio::test]
async fn tabs_meet_in_spite_of_a_bad_relay() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let bad = BadRelay::start().await?;
        let [page, honest] = [env.relay.page(), env.relay.websocket()?];
        let page = format!("{page}?relay={honest}&relay={}", bad.address());
        let first = env.browser.open(&page).await?;
        first.until("both relays", BOTH_RELAYS).await?;
        observe_long_tasks(&first).await?;
        let before = wasm_bytes(&first).await?;
        let lied = async {
            while bad.answers() < LIES {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LIES_TIMEOUT, lied).await?;

        let began = Instant::now();
        let second = env.browser.open(&page).await?;
        let third = env.browser.open(&page).await?;
        let tabs: [&Tab; 3] = [&first, &second, &third];
        for tab in tabs {
            tab.until("both relays", BOTH_RELAYS).await?;
            tab.until_peers(2).await?;
        }
        println!("all three are connected after {:?}", began.elapsed());
        first.enter(72).await?;
        agreement(&tabs, 1).await?;

        let (answers, refused) = (bad.answers(), bad.refused());
        let longest = longest_task(&first).await?;
        let grown = wasm_bytes(&first).await? - before;
        println!("{answers} answers and {refused} refusals of the bad relay; grown by {grown} bytes, longest task {longest} ms");
        ensure!(refused > 0, "no call went to the bad relay");
        ensure!(grown <= MAX_GROWTH, "grown by {grown} bytes");
        ensure!(longest <= LONGEST_TASK_MS, "a task took {longest} ms");
        Ok(())
    })
    .await
}
