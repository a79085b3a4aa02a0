//! Many tabs of one room on one computer, as in a class with one computer: each records a reading a second, and all agree soon
//! after the last one. The normal run is small. `HEARTCHAIN_BENCH` measures 20 tabs, and what they take once nothing happens, for
//! docs/benchmarks.md.

use std::{env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{Outcome, Tab, TestEnv, run_test};

/// Readings of each tab, one a second.
const READINGS: usize = 5;
/// How long the tabs are left alone before and while what they take is measured.
const QUIET: Duration = Duration::from_secs(10);
/// Time limit of the agreement: many times what is measured.
const LIMIT: Duration = Duration::from_secs(600);
/// Time between two looks at all tabs. A look takes time in each of them, so many would be part of what is measured.
const LOOK: Duration = Duration::from_secs(1);

/// Records one reading a second, and resolves when the last one is stored.
const RECORD: &str = "(async () => {
    const stored = [];
    for (let bpm = 60; bpm < 65; bpm++) {
        if (bpm > 60) await new Promise((later) => setTimeout(later, 1000));
        stored.push(heartchain.record(bpm));
    }
    await Promise.all(stored);
    return stored.length;
})()";

/// The tip and how many readings wait for a block.
const TIP: &str = "(() => {
    const { tip, mempool } = heartchain.status();
    return { hash: tip.hash, mempool };
})()";

/// How many readings are in the chain.
const COUNT: &str = "heartchainTest.readings().then((all) => all.length)";

/// Whether another tab is connected, directly or through the relay.
const HAS_PEER: &str = "node => node.peers().some(({ path }) => path !== 'relay')";

/// Tabs of one browser context share its storage and mine in turns. Tabs of separate contexts know nothing of each other, as if they
/// were other browsers.
#[tokio::test]
async fn many_tabs_agree_after_their_readings() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let is_bench = env::var_os("HEARTCHAIN_BENCH").is_some();
        let count = if is_bench { 20 } else { 4 };
        for share in [true, false] {
            let page = format!("{}#room=busy-{share}", env.relay.page());
            let mut tabs: Vec<Tab> = Vec::new();
            for _ in 0..count {
                let tab = match tabs.first() {
                    Some(first) if share => {
                        env.browser.open_in(first.context(), &page, "").await?
                    }
                    _ => env.browser.open(&page).await?,
                };
                tabs.push(tab);
            }
            for tab in &tabs {
                tab.until_within(LIMIT, "a peer", HAS_PEER)
                    .await?;
            }
            let stored = try_join_all(tabs.iter().map(|tab| tab.evaluate(RECORD))).await?;
            ensure!(stored.iter().all(|stored| *stored == json!(READINGS)));
            let took = until_agreement(&tabs).await?.as_secs_f64();
            let context = if share { "one context" } else { "separate contexts" };
            println!("{count} tabs of {context}, {READINGS} readings each: agreed {took:.1} s after the last");
            if is_bench {
                sleep(QUIET).await;
                let before = processor_time(&tabs).await?;
                sleep(QUIET).await;
                let per_tab = (processor_time(&tabs).await? - before) / f64::from(count);
                let per_second = 1_000.0 * per_tab / QUIET.as_secs_f64();
                println!("{count} tabs of {context} in which nothing happens: {per_second:.0} ms of processor time a second for each");
            }
            for tab in tabs {
                tab.close_keeping_storage().await?;
            }
        }
        Ok(())
    })
    .await
}

/// The processor time that the processes of these tabs have taken, in seconds. Each tab has its own.
async fn processor_time(tabs: &[Tab]) -> Result<f64> {
    let times = tabs.iter().map(async |tab| {
        tab.call("Performance.enable", json!({})).await?;
        let answer = tab.call("Performance.getMetrics", json!({})).await?;
        let metrics = answer["metrics"].as_array().context("metrics")?;
        let time = metrics
            .iter()
            .find(|metric| metric["name"] == "ProcessTime");
        let time = time.context("the time of the process")?;
        time["value"].as_f64().context("seconds")
    });
    Ok(try_join_all(times).await?.into_iter().sum())
}

/// Waits until all tabs have all readings in one chain. Returns how long that took.
async fn until_agreement(tabs: &[Tab]) -> Result<Duration> {
    let began = Instant::now();
    let expected = tabs.len() * READINGS;
    loop {
        let shown = try_join_all(tabs.iter().map(|tab| tab.evaluate(TIP))).await?;
        let took = began.elapsed();
        let first = shown.first().context("no tab")?;
        if first["mempool"] == 0 && shown.iter().all(|other| other == first) {
            let counts = try_join_all(tabs.iter().map(|tab| tab.evaluate(COUNT))).await?;
            if counts.iter().all(|count| *count == json!(expected)) {
                return Ok(took);
            }
        }
        ensure!(took < LIMIT, "the tabs do not agree: {shown:?}");
        sleep(LOOK).await;
    }
}
