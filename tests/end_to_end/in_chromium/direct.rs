//! WebRTC-direct to the relay: under load, and by both versions of the protocol.

use anyhow::{Result, ensure};

use super::recovery::{expect_relays_by_webrtc_direct, page_by_webrtc_direct};
use crate::harness::{Browser, Outcome, Tab, TestEnv, agreement, run_test};

/// Bytes that each tab must send and receive.
const MEBIBYTE: u64 = 1024 * 1024;
/// Readings that a tab records at once: fewer than a mempool accepts of one author (1,024).
const AT_ONCE: usize = 900;
/// The most rounds; 900 readings and their blocks are some 200 KiB.
const MAX_ROUNDS: usize = 20;

#[tokio::test]
async fn webrtc_direct_circuit_carries_a_mebibyte() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = page_by_webrtc_direct(&env.relay)?;
        // Without firewalls the tabs would soon bypass the relay.
        let [a, b] = env.tabs_behind_firewalls(&page).await?;
        // An author with a reading on the chain is no newcomer any more, so the mempools accept more of it.
        tokio::try_join!(record(&a, 1), record(&b, 1))?;
        let mut count = 2;
        agreement(&[&a, &b], count).await?;

        for _ in 0..MAX_ROUNDS {
            if has_moved_a_mebibyte(&a).await? && has_moved_a_mebibyte(&b).await? {
                break;
            }
            tokio::try_join!(record(&a, AT_ONCE), record(&b, AT_ONCE))?;
            count += 2 * AT_ONCE;
            agreement(&[&a, &b], count).await?;
        }
        for tab in [&a, &b] {
            ensure!(
                has_moved_a_mebibyte(tab).await?,
                "{} has moved {:?}",
                tab.name(),
                bytes(tab).await?
            );
            expect_relays_by_webrtc_direct(tab).await?;
            ensure!(
                tab.readings().await?.len() == count,
                "{} has another number of readings",
                tab.name()
            );
            tab.until_status_says("1 peer (through the relay)").await?;
        }
        Ok(())
    })
    .await
}

/// Chromium is about to refuse what version 1 of WebRTC-direct needs. Such a tab and one of today share a room.
#[tokio::test]
async fn tab_connects_without_rewriting_its_offer() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = page_by_webrtc_direct(&env.relay)?;
        let flag = "--force-fieldtrials=WebRTC-NoSdpMangleUfrag/Enabled/";
        let mut strict = Browser::launch_with(&[flag]).await?;
        let a = strict.open(&page).await?;
        let b = env.browser.open(&page).await?;
        for tab in [&a, &b] {
            let reserved = "node => node.status().relays.some(relay => relay.reserved)";
            tab.until("a reservation", reserved).await?;
            expect_relays_by_webrtc_direct(tab).await?;
        }
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

async fn record(tab: &Tab, count: usize) -> Result<()> {
    let each = "(_, i) => heartchain.record(20 + i % 381)";
    tab.evaluate(&format!(
        "Promise.all(Array.from({{ length: {count} }}, {each})).then(() => null)"
    ))
    .await?;
    Ok(())
}

async fn has_moved_a_mebibyte(tab: &Tab) -> Result<bool> {
    let (sent, received) = bytes(tab).await?;
    Ok(sent >= MEBIBYTE && received >= MEBIBYTE)
}

/// Bytes that this page has sent and received over data channels.
async fn bytes(tab: &Tab) -> Result<(u64, u64)> {
    let sum = tab.evaluate("heartchainTest.channelBytes()").await?;
    let of = |name: &str| sum[name].as_u64().unwrap_or_default();
    Ok((of("sent"), of("received")))
}
