//! The browser is killed at any moment: whatever `record()` had answered is there afterwards, the database opens, and the
//! chain is valid.

use std::{env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::scripts::expect_valid_chain;
use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

/// How often the browser is killed, unless `HEARTCHAIN_SOAK` says otherwise.
const KILLS: u64 = 3;
/// The latest moment of a kill after recording, or catching up, has begun.
const LATEST_KILL_MS: u64 = 1_500;

/// A room of its own for each phase would hide what one leaves to the next: it is one profile, one room, one database.
#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_browser_is_killed() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let kills = kills()?;
        // Somebody else, whose browser lives on: what the killed tab catches up with comes from there.
        let witness = stage.another_browser().await?.open(&page).await?;
        witness.until("the node", "() => true").await?;
        let mut answered: Vec<String> = Vec::new();
        let mut name = None;
        for kill in 0..kills {
            let tab = stage.browser.open_as_person(&page, "").await?;
            expect_all_kept(&tab, &answered).await.with_context(|| format!("after {kill} kills"))?;
            let now = tab.peer_id().await?;
            ensure!(*name.get_or_insert(now.clone()) == now, "another peer after {kill} kills");
            // Both at once: it records, and catches up with what the other one recorded while it was away.
            let moment = Duration::from_millis(moment(kill));
            answered.extend(record_until(&tab, moment).await?);
            stage.browser.crash_and_start_again().await?;
            witness
                .evaluate("(async () => { for (let i = 0; i < 10; i++) await heartchain.record(100 + i); })()")
                .await?;
        }
        ensure!(!answered.is_empty(), "nothing was ever recorded");
        let tab = stage.browser.open_as_person(&page, "").await?;
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

/// Every id that was answered is among one's own readings; the database was opened, and nothing in it was damaged.
async fn expect_all_kept(tab: &Tab, answered: &[String]) -> Result<()> {
    tab.until("the node", "() => true").await?;
    let storage = tab.status().await?["storage"].take();
    ensure!(
        storage["kind"] == "disk" && storage["slot"] == 0 && storage["healed"] == 0,
        "the database is not as it was left: {storage}"
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
            "{id} was answered, and is lost; there are {found:?}"
        );
    }
    Ok(())
}

fn ids(readings: &[Value]) -> Vec<String> {
    let ids = readings.iter().filter_map(|reading| reading["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// Records one after the other until the moment has come; returns the ids that were answered by then.
async fn record_until(tab: &Tab, moment: Duration) -> Result<Vec<String>> {
    let ends = Instant::now() + moment;
    tab.evaluate(
        "void (async () => { globalThis.answered = []; for (let i = 0; ; i++) { answered.push((await heartchain.record(60 + i % 100)).id); await new Promise((go) => setTimeout(go, 10)); } })()",
    )
    .await?;
    let mut known = Vec::new();
    while Instant::now() < ends {
        let said = tab.evaluate("answered").await?;
        let said = said.as_array().context("a list")?.iter();
        known = said.filter_map(Value::as_str).map(str::to_owned).collect();
        sleep(Duration::from_millis(5)).await;
    }
    Ok(known)
}

fn kills() -> Result<u64> {
    match env::var("HEARTCHAIN_SOAK") {
        Ok(number) => number.parse().context("HEARTCHAIN_SOAK is to be a number"),
        Err(_) => Ok(KILLS),
    }
}

/// When the kill comes: any moment, but the same ones in each run.
fn moment(kill: u64) -> u64 {
    let mixed = kill.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)) % LATEST_KILL_MS
}
