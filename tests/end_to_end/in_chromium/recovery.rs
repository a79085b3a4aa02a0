//! The relay goes away and comes back: tabs notice, say so, keep what is recorded, and mend it all by
//! themselves. What tabs do meanwhile that reach each other directly is in `tab_to_tab`.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Relay, Stage, Tab, agreement, on_stage};

/// A relay that is dead must be noticed within this time, however the tab reached it.
const DEAD_RELAY_NOTICED: Duration = Duration::from_secs(15);
/// Reserving and registering again may wait for the longest pause between two calls, 15 s, and a time-out.
const MENDED: Duration = Duration::from_secs(45);

#[tokio::test]
async fn tabs_outlive_a_relay_that_is_stopped_and_started_again() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let [a, b] = stage.tabs_behind_firewalls(&page).await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;

        without_relay(
            &mut stage.relay,
            [&a, &b],
            [71, 72],
            async |relay: &mut Relay| relay.start_again().await,
        )
        .await?;
        agreement(&[&a, &b], 3).await?;

        // The same page at the same address, libp2p at other ports: only the relay's document can tell.
        without_relay(
            &mut stage.relay,
            [&a, &b],
            [73, 74],
            async |relay: &mut Relay| relay.start_again_at_other_ports().await,
        )
        .await?;
        agreement(&[&a, &b], 5).await?;
        let late = stage.tab().await?;
        agreement(&[&a, &b, &late], 5).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_same_over_webrtc_direct_alone() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = page_by_webrtc_direct(&stage.relay)?;
        let [a, b, c] = stage.tabs_behind_firewalls(&page).await?;
        for tab in [&a, &b, &c] {
            expect_relays_by_webrtc_direct(tab).await?;
        }
        a.enter(70).await?;
        agreement(&[&a, &b, &c], 1).await?;
        expect_bpms(&c, &[70]).await?;

        without_relay(
            &mut stage.relay,
            [&a, &b],
            [71, 72],
            async |relay: &mut Relay| relay.start_again().await,
        )
        .await?;
        agreement(&[&a, &b, &c], 3).await?;
        let late = stage.browser.open(&page).await?;
        agreement(&[&a, &b, &c, &late], 3).await?;
        expect_relays_by_webrtc_direct(&late).await
    })
    .await
}

#[tokio::test]
async fn a_killed_relay_is_noticed_over_webrtc_direct() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = page_by_webrtc_direct(&stage.relay)?;
        let [a, b] = stage.tabs_at(&page).await?;
        stage.relay.kill().await?;
        tokio::try_join!(expect_relay_lost(&a), expect_relay_lost(&b))?;
        stage.relay.start_again().await?;
        tokio::try_join!(expect_mended(&a), expect_mended(&b))?;
        b.enter(75).await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_frozen_relay_is_noticed_over_either_transport() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let by_webrtc = page_by_webrtc_direct(&stage.relay)?;
        let a = stage.tab().await?;
        let b = stage.browser.open(&by_webrtc).await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        stage.relay.freeze().await?;
        tokio::try_join!(expect_relay_lost(&a), expect_relay_lost(&b))?;
        // Killed while it was frozen, and started anew: it has forgotten everybody.
        stage.relay.kill().await?;
        stage.relay.start_again().await?;
        tokio::try_join!(expect_mended(&a), expect_mended(&b))?;
        a.enter(76).await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

/// Stops the relay, has two tabs notice it and record on their own, starts it again, and waits until both have
/// found one another.
async fn without_relay(
    relay: &mut Relay,
    [a, b]: [&Tab; 2],
    [bpm_of_a, bpm_of_b]: [u16; 2],
    start: impl AsyncFnOnce(&mut Relay) -> Result<()>,
) -> Result<()> {
    relay.stop().await?;
    tokio::try_join!(expect_relay_lost(a), expect_relay_lost(b))?;
    // Without the relay they cannot reach each other, so each goes on with a branch of its own.
    for tab in [a, b] {
        tab.until_status_says("on your own").await?;
    }
    tokio::try_join!(a.enter(bpm_of_a), b.enter(bpm_of_b))?;
    start(relay).await?;
    tokio::try_join!(expect_mended(a), expect_mended(b))?;
    Ok(())
}

/// The node and the page both say that there is no relay.
async fn expect_relay_lost(tab: &Tab) -> Result<()> {
    tab.until_within(
        DEAD_RELAY_NOTICED,
        "it to notice that the relay is dead",
        "node => { const { relays } = node.status(); return relays.length > 0 && relays.every(r => !r.connected && !r.reserved); }",
    )
    .await?;
    tab.until_status_says("Relay unreachable").await?;
    tab.until_shows("relay-list", "unreachable, trying again")
        .await?;
    Ok(())
}

/// The node has a relay, a place at it, and somebody to talk to; the page no longer complains.
async fn expect_mended(tab: &Tab) -> Result<()> {
    tab.until_within(
        MENDED,
        "a relay, a reservation and a peer again",
        "node => { const s = node.status(); return s.peers > 0 && s.relays.some(r => r.connected && r.reserved); }",
    )
    .await?;
    tab.until_hides("[role=status]", "unreachable").await?;
    Ok(())
}

/// The page's address for tabs that are to reach the relay by WebRTC-direct and nothing else.
pub(super) fn page_by_webrtc_direct(relay: &Relay) -> Result<String> {
    Ok(format!("{}?relay={}", relay.page(), relay.webrtc_direct()?))
}

pub(super) async fn expect_relays_by_webrtc_direct(tab: &Tab) -> Result<()> {
    let relays = &tab.status().await?["relays"];
    let addresses: Vec<_> = relays
        .as_array()
        .into_iter()
        .flatten()
        .map(|relay| &relay["address"])
        .collect();
    let all = addresses.iter().all(|address| {
        address
            .as_str()
            .is_some_and(|address| address.contains("/webrtc-direct/"))
    });
    ensure!(
        all && !addresses.is_empty(),
        "{} has the relays {addresses:?}",
        tab.name()
    );
    Ok(())
}
