//! Tabs talk to each other directly over WebRTC, and go on when every relay is dead.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::harness::{Outcome, Relay, Stage, Tab, agreement, on_stage};

/// Longest time from a tab's last sign of life until its peers no longer list it.
const KILLED_NOTICED: Duration = Duration::from_secs(7);
/// The same for a tab that is closed as a person does.
const CLOSED_NOTICED: Duration = Duration::from_secs(1);
/// A reading as it is sent.
const READING_BYTES: u64 = 114;
/// Readings that each of two sides records.
const MANY: usize = 100;

#[tokio::test]
async fn two_tabs_of_one_browser_talk_directly() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        expect_direct_talk(&a, &b).await
    })
    .await
}

#[tokio::test]
async fn tabs_of_two_browsers_talk_directly_and_outlive_the_relay() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let a = stage.tab().await?;
        let b = stage.another_browser().await?.open(&page).await?;
        expect_direct_talk(&a, &b).await?;

        stage.relay.kill().await?;
        a.until_status_says("Relay unreachable · 1 direct peer")
            .await?;
        tokio::try_join!(record(&a, MANY), record(&b, MANY))?;
        agreement(&[&a, &b], 4 * MANY).await?;

        // A relay that is back is used again.
        stage.relay.start_again().await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        let late = stage.tab().await?;
        agreement(&[&a, &b, &late], 4 * MANY).await?;
        tokio::try_join!(
            until_direct(&a, 2),
            until_direct(&b, 2),
            until_direct(&late, 2)
        )?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tabs_without_a_common_relay_meet_through_a_third_and_outlive_it() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        // Each relay joins two tabs: 1 - 2 - 3 - 4 - 5.
        for _ in 0..4 {
            let relay = Relay::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
            stage.more_relays.push(relay);
        }
        let mut tabs = Vec::new();
        for place in 0..5_usize {
            let near = [place.checked_sub(1), (place < 4).then_some(place)];
            let mut page = format!("{}?", stage.relay.page());
            let relays = near.into_iter().flatten();
            for relay in relays.filter_map(|n| stage.more_relays.get(n)) {
                page.push_str(&format!("&relay={}", relay.websocket()?));
            }
            tabs.push(stage.browser.open(&page).await?);
        }
        for (tab, next) in tabs.iter().zip(tabs.iter().skip(1)) {
            let next = Value::from(next.peer_id().await?);
            let holds = format!(
                "node => node.peers().some(p => p.peerId === {next} && p.path === 'direct')"
            );
            tab.until("its neighbour, directly", &holds).await?;
        }
        for relay in &mut stage.more_relays {
            relay.kill().await?;
        }
        for tab in &tabs {
            tab.until(
                "two others, directly, and no relay",
                "node => node.peers().filter(p => p.path === 'direct').length >= 2 && node.status().relays.every(r => !r.connected)",
            )
            .await?;
        }
        let all: Vec<&Tab> = tabs.iter().collect();
        for tab in &all {
            record(tab, 1).await?;
        }
        agreement(&all, 5).await?;

        // The one in the middle goes, and the others still hold together.
        tabs.remove(2).close().await?;
        let all: Vec<&Tab> = tabs.iter().collect();
        for tab in &all {
            tab.until("everybody else", "node => node.status().peers === 3")
                .await?;
            record(tab, 1).await?;
        }
        agreement(&all, 9).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tab_that_is_killed_or_closed_is_missed_soon() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let a = stage.tab().await?;
        let b = stage.tab().await?;
        let c = stage.another_browser().await?.open(&page).await?;
        for tab in [&a, &b, &c] {
            until_direct(tab, 2).await?;
        }
        settle(&a).await?;

        b.close().await?;
        until_gone(&a, 1, CLOSED_NOTICED).await?;
        stage.another_browser_crashes().await?;
        until_gone(&a, 0, KILLED_NOTICED).await
    })
    .await
}

#[tokio::test]
async fn where_a_tab_refuses_webrtc_the_circuit_carries_all_and_the_page_says_so() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let a = stage.tab().await?;
        let closed = format!("{page}?direct=no");
        let b = stage.another_browser().await?.open(&closed).await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        tokio::try_join!(record(&a, MANY), record(&b, MANY))?;
        agreement(&[&a, &b], 2 * MANY).await?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
            tab.until_shows("peer-list", "through the relay").await?;
            ensure!(direct_bytes(tab).await? == 0, "{} is direct", tab.name());
        }
        Ok(())
    })
    .await
}

/// Two tabs come to be connected directly, and what they record crosses that connection and not the relay.
async fn expect_direct_talk(a: &Tab, b: &Tab) -> Result<()> {
    tokio::try_join!(until_direct(a, 1), until_direct(b, 1))?;
    tokio::try_join!(settle(a), settle(b))?;
    let before = (direct_bytes(a).await?, socket_bytes(a).await?);
    tokio::try_join!(record(a, MANY), record(b, MANY))?;
    agreement(&[a, b], 2 * MANY).await?;
    let direct = direct_bytes(a).await? - before.0;
    let relayed = socket_bytes(a).await? - before.1;
    // Every reading crosses once, in gossip or in a block.
    let least = 2 * MANY as u64 * READING_BYTES;
    ensure!(direct > least, "{direct} bytes directly");
    ensure!(
        relayed < direct / 4,
        "{relayed} bytes to the relay, {direct} directly"
    );
    Ok(())
}

/// Waits until so many peers are reached directly, and no other way.
async fn until_direct(tab: &Tab, count: usize) -> Result<Value> {
    let holds = format!(
        "node => {{ const tabs = node.peers().filter(p => p.path !== 'relay'); return tabs.length === {count} && tabs.every(p => p.path === 'direct'); }}"
    );
    tab.until(&format!("{count} direct peers"), &holds).await
}

/// Waits until the circuit that carried the signals is closed: a ping's answer later than that.
async fn settle(tab: &Tab) -> Result<()> {
    tab.evaluate("new Promise((settled) => setTimeout(settled, 4000))")
        .await?;
    Ok(())
}

async fn until_gone(tab: &Tab, left: usize, limit: Duration) -> Result<()> {
    let holds = format!("node => node.status().peers === {left}");
    let start = Instant::now();
    tab.until_within(limit, &format!("{left} peers left"), &holds)
        .await?;
    println!("{left} peers left after {:?}", start.elapsed());
    Ok(())
}

async fn record(tab: &Tab, count: usize) -> Result<()> {
    let each = "(_, i) => heartchain.record(20 + i % 381)";
    tab.evaluate(&format!(
        "Promise.all(Array.from({{ length: {count} }}, {each})).then(() => null)"
    ))
    .await?;
    Ok(())
}

/// Bytes on succeeded pairs of candidates of this page.
async fn direct_bytes(tab: &Tab) -> Result<u64> {
    let sum = tab.evaluate("heartchainTest.pairBytes()").await?;
    Ok(sum.as_u64().unwrap_or_default())
}

/// Bytes that have crossed this page's WebSockets.
async fn socket_bytes(tab: &Tab) -> Result<u64> {
    let sum = tab.evaluate("heartchainTest.socketBytes()").await?;
    Ok(sum.as_u64().unwrap_or_default())
}
