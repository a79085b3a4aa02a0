//! The relay goes away and comes back: tabs notice and report it, keep recording, and reconnect automatically. What
//! directly connected tabs do meanwhile is tested in `tab_to_tab`.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Relay, Tab, TestEnv, agreement, run_test};

/// Tabs must notice a dead relay within this time, whatever the transport.
const DEAD_RELAY_TIMEOUT: Duration = Duration::from_secs(15);
/// Reserving and registering again may wait for the longest pause between two dials, 15 s, and a timeout.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(45);

#[tokio::test]
async fn tabs_recover_from_a_relay_restart() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let [a, b] = env.tabs_behind_firewalls(&page).await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;

        without_relay(
            &mut env.relay,
            [&a, &b],
            [71, 72],
            async |relay: &mut Relay| relay.restart().await,
        )
        .await?;
        agreement(&[&a, &b], 3).await?;

        // The page's URL stays and libp2p's ports change, so only the relay's document can announce them.
        without_relay(
            &mut env.relay,
            [&a, &b],
            [73, 74],
            async |relay: &mut Relay| relay.restart_at_another_port().await,
        )
        .await?;
        agreement(&[&a, &b], 5).await?;
        let late = env.tab().await?;
        agreement(&[&a, &b, &late], 5).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn webrtc_direct_tabs_recover_from_a_restart() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = page_by_webrtc_direct(&env.relay)?;
        let [a, b, c] = env.tabs_behind_firewalls(&page).await?;
        for tab in [&a, &b, &c] {
            expect_relays_by_webrtc_direct(tab).await?;
        }
        a.enter(70).await?;
        agreement(&[&a, &b, &c], 1).await?;
        expect_bpms(&c, &[70]).await?;

        without_relay(
            &mut env.relay,
            [&a, &b],
            [71, 72],
            async |relay: &mut Relay| relay.restart().await,
        )
        .await?;
        agreement(&[&a, &b, &c], 3).await?;
        let late = env.browser.open(&page).await?;
        agreement(&[&a, &b, &c, &late], 3).await?;
        expect_relays_by_webrtc_direct(&late).await
    })
    .await
}

#[tokio::test]
async fn killed_relay_is_noticed_over_webrtc_direct() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = page_by_webrtc_direct(&env.relay)?;
        let [a, b] = env.tabs_at(&page).await?;
        env.relay.kill().await?;
        tokio::try_join!(expect_relay_lost(&a), expect_relay_lost(&b))?;
        env.relay.restart().await?;
        tokio::try_join!(expect_reconnected(&a), expect_reconnected(&b))?;
        b.enter(75).await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn frozen_relay_is_noticed_on_both_transports() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let by_webrtc = page_by_webrtc_direct(&env.relay)?;
        let a = env.tab().await?;
        let b = env.browser.open(&by_webrtc).await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        env.relay.freeze().await?;
        tokio::try_join!(expect_relay_lost(&a), expect_relay_lost(&b))?;
        // Killed while frozen and restarted, the relay has lost all reservations and registrations.
        env.relay.kill().await?;
        env.relay.restart().await?;
        tokio::try_join!(expect_reconnected(&a), expect_reconnected(&b))?;
        a.enter(76).await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

/// Stops the relay, lets two tabs notice it and record alone, starts the relay again, and waits until both tabs are
/// connected again.
async fn without_relay(
    relay: &mut Relay,
    [a, b]: [&Tab; 2],
    [bpm_of_a, bpm_of_b]: [u16; 2],
    start: impl AsyncFnOnce(&mut Relay) -> Result<()>,
) -> Result<()> {
    relay.stop().await?;
    tokio::try_join!(expect_relay_lost(a), expect_relay_lost(b))?;
    // Without the relay the tabs cannot reach each other, so each extends its own branch.
    for tab in [a, b] {
        tab.until_status_says("You can keep recording").await?;
    }
    tokio::try_join!(a.enter(bpm_of_a), b.enter(bpm_of_b))?;
    start(relay).await?;
    tokio::try_join!(expect_reconnected(a), expect_reconnected(b))?;
    Ok(())
}

/// Both the node and the page report that there is no relay.
async fn expect_relay_lost(tab: &Tab) -> Result<()> {
    tab.until_within(
        DEAD_RELAY_TIMEOUT,
        "it to notice that the relay is dead",
        "node => { const { relays } = node.status(); return relays.length > 0 && relays.every(r => !r.connected && !r.reserved); }",
    )
    .await?;
    tab.until_status_says("Can't reach the relay").await?;
    tab.until_shows("relay-list", "unreachable, trying again")
        .await?;
    Ok(())
}

/// The node has a relay, a reservation and a peer, and the page no longer complains.
async fn expect_reconnected(tab: &Tab) -> Result<()> {
    tab.until_within(
        RECONNECT_TIMEOUT,
        "a relay, a reservation and a peer again",
        "node => { const s = node.status(); return s.peers > 0 && s.relays.some(r => r.connected && r.reserved); }",
    )
    .await?;
    tab.until_hides(".status-text", "Can't reach the relay")
        .await?;
    Ok(())
}

/// The page's URL for tabs that must reach the relay by WebRTC-direct only.
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
