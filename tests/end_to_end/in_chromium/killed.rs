//! The browser is killed at arbitrary moments: every reading that `record()` confirmed is there afterwards, the
//! database opens, and the chain is valid.

use std::{env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::scripts::expect_valid_chain;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// How often the browser is killed, unless `HEARTCHAIN_SOAK` says otherwise.
const KILLS: u64 = 3;
/// The latest time of a kill after recording and catching up have begun, in ms.
const LATEST_KILL_MS: u64 = 1_500;

/// All kills use one profile, one room and one database, so that damage of one kill would show after the next.
#[tokio::test]
async fn killed_browser_loses_no_confirmed_reading() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let kills = kills()?;
        // A tab in another browser that keeps running. The killed tab catches up from it.
        let witness = env.another_browser().await?.open(&page).await?;
        witness.until("the node", "() => true").await?;
        let mut answered: Vec<String> = Vec::new();
        let mut name = None;
        for kill in 0..kills {
            let tab = env.browser.open_as_person(&page, "").await?;
            expect_all_kept(&tab, &answered).await.with_context(|| format!("after {kill} kills"))?;
            let now = tab.peer_id().await?;
            ensure!(*name.get_or_insert(now.clone()) == now, "another peer after {kill} kills");
            // The tab records, and at the same time catches up with what the witness recorded meanwhile.
            let time_limit = Duration::from_millis(kill_time(kill));
            answered.extend(record_until(&tab, time_limit).await?);
            env.browser.crash_and_restart().await?;
            witness
                .evaluate("(async () => { for (let i = 0; i < 10; i++) await heartchain.record(100 + i); })()")
                .await?;
        }
        ensure!(!answered.is_empty(), "nothing was ever recorded");
        let tab = env.browser.open_as_person(&page, "").await?;
        expect_all_kept(&tab, &answered).await?;
        let all = answered.len() + usize::try_from(kills)? * 10;
        agreement(&[&tab, &witness], all).await?;
        expect_valid_chain(&tab).await?;
        let chain = ids(&tab.readings().await?);
        for id in &answered {
            let times = chain.iter().filter(|other| *other == id).count();
            ensure!(times == 1, "{id} is {times} times in the chain");
        }
        Ok(())
    })
    .await
}

/// Every confirmed ID is among the tab's own readings, and the database opened without damage.
async fn expect_all_kept(tab: &Tab, answered: &[String]) -> Result<()> {
    tab.until("the node", "() => true").await?;
    let storage = tab.status().await?["storage"].take();
    ensure!(
        storage["kind"] == "disk" && storage["slot"] == 0 && storage["repaired"] == 0,
        "the database was damaged: {storage}"
    );
    expect_valid_chain(tab).await?;
    let found = tab.evaluate("heartchain.ownReadings(10_000)").await?;
    let found = ids(found.as_array().context("a list")?);
    ensure!(
        found.len() < 10_000,
        "more was recorded than one call gives"
    );
    for id in answered {
        ensure!(
            found.contains(id),
            "{id} was confirmed and is lost; found {found:?}"
        );
    }
    Ok(())
}

fn ids(readings: &[Value]) -> Vec<String> {
    let ids = readings.iter().filter_map(|reading| reading["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// Records readings one after the other until this time has passed; returns the IDs that were confirmed by then.
async fn record_until(tab: &Tab, time_limit: Duration) -> Result<Vec<String>> {
    let ends = Instant::now() + time_limit;
    tab.evaluate(
        "void (async () => { globalThis.answered = []; for (let i = 0; ; i++) { answered.push((await heartchain.record(60 + i % 100)).id); await new Promise((go) => setTimeout(go, 10)); } })()",
    )
    .await?;
    let mut confirmed = Vec::new();
    while Instant::now() < ends {
        let answers = tab.evaluate("answered").await?;
        let answers = answers.as_array().context("a list")?.iter();
        confirmed = answers
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        sleep(Duration::from_millis(5)).await;
    }
    Ok(confirmed)
}

fn kills() -> Result<u64> {
    match env::var("HEARTCHAIN_SOAK") {
        Ok(number) => number.parse().context("HEARTCHAIN_SOAK is not a number"),
        Err(_) => Ok(KILLS),
    }
}

/// The time of a kill in ms: pseudo-random, but the same in each run.
fn kill_time(kill: u64) -> u64 {
    let mixed = kill.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)) % LATEST_KILL_MS
}
