//! The basic promise: a reading entered in one tab is in the chain of all tabs exactly once, and all have the same tip.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// The heart rate of the tutorial's example.
const RESTING: u16 = 72;

#[tokio::test]
async fn reading_reaches_all_three_tabs() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b, c] = env.tabs().await?;
        a.enter(RESTING).await?;
        agreement(&[&a, &b, &c], 1).await?;
        for tab in [&a, &b, &c] {
            expect_bpms(tab, &[RESTING]).await?;
            tab.until_shows("chain-list", "72 BPM").await?;
            tab.until_status_says("In sync · block 1 · 2 peers").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn late_tab_catches_up() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b, c] = env.tabs().await?;
        for (count, bpm) in [(1, 61), (2, 62), (3, 63)] {
            a.enter(bpm).await?;
            agreement(&[&a, &b, &c], count).await?;
        }
        let late = env.tab().await?;
        agreement(&[&a, &b, &c, &late], 3).await?;
        late.until_peers(3).await?;
        expect_bpms(&late, &[61, 62, 63]).await?;
        // The late tab is a full peer: its readings reach the others.
        late.enter(64).await?;
        agreement(&[&a, &b, &c, &late], 4).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn simultaneous_readings_are_both_included() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b, c] = env.tabs().await?;
        tokio::try_join!(a.enter(81), b.enter(82))?;
        agreement(&[&a, &b, &c], 2).await?;
        for tab in [&a, &b, &c] {
            let readings = tab.readings().await?;
            let bpms: BTreeSet<_> = readings.iter().filter_map(|r| r["bpm"].as_u64()).collect();
            ensure!(bpms == BTreeSet::from([81, 82]), "found {bpms:?}");
            ensure!(readings.len() == 2, "found {readings:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn concurrent_typing_loses_no_reading() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tabs: [Tab; 3] = env.tabs().await?;
        try_join_all(
            (100_u16..)
                .step_by(100)
                .zip(&tabs)
                .map(|(base, tab)| async move {
                    tab.focus("spinbutton", "Heart rate (BPM)").await?;
                    for bpm in base..base + 25 {
                        tab.type_and_enter(&bpm.to_string()).await?;
                    }
                    anyhow::Ok(())
                }),
        )
        .await?;
        let [a, b, c] = &tabs;
        agreement(&[a, b, c], 75).await?;
        for tab in &tabs {
            expect_each_once(&tab.readings().await?)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn closed_tab_leaves_the_peer_lists() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b, c] = env.tabs().await?;
        let closed_id = c.peer_id().await?;
        c.close().await?;
        for tab in [&a, &b] {
            let holds = format!(
                "node => !node.peers().some(p => p.peerId === {})",
                Value::from(closed_id.as_str())
            );
            tab.until("the closed tab to leave its peers", &holds)
                .await?;
            tab.until_peers(1).await?;
            tab.until_status_says("1 peer ").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tab_survives_a_crash_of_the_other_browser() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        let b = env.another_browser().await?.open(&page).await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        b.enter(RESTING).await?;
        agreement(&[&a, &b], 1).await?;

        env.kill_other_browser().await?;
        a.until_peers(0).await?;
        expect_bpms(&a, &[RESTING]).await?;
        a.until_status_says("Only you are here").await?;
        Ok(())
    })
    .await
}

/// The chain has exactly these heart rates, in this order.
pub(super) async fn expect_bpms(tab: &Tab, expected: &[u16]) -> Result<()> {
    let readings = tab.readings().await?;
    let found: Vec<_> = readings.iter().filter_map(|r| r["bpm"].as_u64()).collect();
    let expected: Vec<_> = expected.iter().copied().map(u64::from).collect();
    ensure!(
        found == expected,
        "{} has {found:?}, not {expected:?}",
        tab.name()
    );
    Ok(())
}

/// The chain has 25 readings of each of three authors in the order in which they were typed, none missing and none
/// twice.
fn expect_each_once(readings: &[Value]) -> Result<()> {
    let mut by_author: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for reading in readings {
        let author = reading["author"].as_str().context("author is hex")?;
        let seq = reading["seq"].as_u64().context("seq is a number")?;
        let bpm = reading["bpm"].as_u64().context("bpm is a number")?;
        by_author.entry(author).or_default().push((seq, bpm));
    }
    let mut found: Vec<_> = by_author.into_values().collect();
    found.sort_by_key(|of_one| of_one.first().map(|(_, bpm)| *bpm));
    let expected: Vec<Vec<(u64, u64)>> = [100, 200, 300]
        .map(|base| (0..25).map(|seq| (seq, base + seq)).collect())
        .to_vec();
    ensure!(found == expected, "found {found:?}");
    Ok(())
}
