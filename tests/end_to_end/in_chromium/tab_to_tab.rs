//! Tabs connect to each other directly over WebRTC, and keep syncing when every relay is dead.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::harness::{Outcome, Relay, Tab, TestEnv, agreement, run_test};

/// The longest time from a killed tab's last message until its peers no longer list it.
const KILLED_TAB_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a tab that a person closes.
const CLOSED_TAB_TIMEOUT: Duration = Duration::from_secs(1);
/// Encoded length of a reading, in bytes.
const READING_BYTES: u64 = 114;
/// Readings that each of two tabs records.
const READINGS_PER_TAB: usize = 100;

#[tokio::test]
async fn tabs_of_one_browser_connect_directly() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        expect_direct_sync(&a, &b).await
    })
    .await
}

#[tokio::test]
async fn direct_tabs_survive_the_relay() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        let b = env.another_browser().await?.open(&page).await?;
        expect_direct_sync(&a, &b).await?;

        env.relay.kill().await?;
        a.until_status_says("Can't reach the relay · 1 direct peer")
            .await?;
        tokio::try_join!(record(&a, READINGS_PER_TAB), record(&b, READINGS_PER_TAB))?;
        agreement(&[&a, &b], 4 * READINGS_PER_TAB).await?;

        // The tabs use a restarted relay again.
        env.relay.restart().await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        let late = env.tab().await?;
        agreement(&[&a, &b, &late], 4 * READINGS_PER_TAB).await?;
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
async fn tabs_without_a_common_relay_connect() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        // Each relay connects two tabs: 1 - 2 - 3 - 4 - 5.
        for _ in 0..4 {
            let relay = Relay::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
            env.more_relays.push(relay);
        }
        let mut tabs = Vec::new();
        for index in 0..5_usize {
            let near = [index.checked_sub(1), (index < 4).then_some(index)];
            let mut page = format!("{}?", env.relay.page());
            let relays = near.into_iter().flatten();
            for relay in relays.filter_map(|n| env.more_relays.get(n)) {
                page.push_str(&format!("&relay={}", relay.websocket()?));
            }
            tabs.push(env.browser.open(&page).await?);
        }
        for (tab, next) in tabs.iter().zip(tabs.iter().skip(1)) {
            let next = Value::from(next.peer_id().await?);
            let holds = format!(
                "node => node.peers().some(p => p.peerId === {next} && p.path === 'direct')"
            );
            tab.until("its neighbour, directly", &holds).await?;
        }
        for relay in &mut env.more_relays {
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

        // The middle tab closes, and the others stay connected.
        tabs.remove(2).close().await?;
        let all: Vec<&Tab> = tabs.iter().collect();
        for tab in &all {
            tab.until("all three other tabs", "node => node.status().peers === 3")
                .await?;
            record(tab, 1).await?;
        }
        agreement(&all, 9).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn lost_tab_is_noticed_soon() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        let b = env.tab().await?;
        let c = env.another_browser().await?.open(&page).await?;
        for tab in [&a, &b, &c] {
            until_direct(tab, 2).await?;
        }
        settle(&a).await?;

        b.close().await?;
        until_gone(&a, 1, CLOSED_TAB_TIMEOUT).await?;
        env.kill_other_browser().await?;
        until_gone(&a, 0, KILLED_TAB_TIMEOUT).await
    })
    .await
}

#[tokio::test]
async fn relay_carries_data_without_webrtc() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        let closed = format!("{page}?direct=no");
        let b = env.another_browser().await?.open(&closed).await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        tokio::try_join!(record(&a, READINGS_PER_TAB), record(&b, READINGS_PER_TAB))?;
        agreement(&[&a, &b], 2 * READINGS_PER_TAB).await?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
            tab.until_shows("peer-list", "through the relay").await?;
            ensure!(direct_bytes(tab).await? == 0, "{} is direct", tab.name());
        }
        Ok(())
    })
    .await
}

/// Two tabs connect directly, and their readings cross that connection instead of the relay.
async fn expect_direct_sync(a: &Tab, b: &Tab) -> Result<()> {
    tokio::try_join!(until_direct(a, 1), until_direct(b, 1))?;
    tokio::try_join!(settle(a), settle(b))?;
    let before = (direct_bytes(a).await?, socket_bytes(a).await?);
    tokio::try_join!(record(a, READINGS_PER_TAB), record(b, READINGS_PER_TAB))?;
    agreement(&[a, b], 2 * READINGS_PER_TAB).await?;
    let direct = direct_bytes(a).await? - before.0;
    let relayed = socket_bytes(a).await? - before.1;
    // Every reading crosses at least once, in gossip or in a block.
    let least = 2 * READINGS_PER_TAB as u64 * READING_BYTES;
    ensure!(direct > least, "{direct} bytes directly");
    ensure!(
        relayed < direct / 4,
        "{relayed} bytes to the relay, {direct} directly"
    );
    Ok(())
}

/// Waits until the tab has exactly this many peers, all connected directly.
async fn until_direct(tab: &Tab, count: usize) -> Result<Value> {
    let holds = format!(
        "node => {{ const tabs = node.peers().filter(p => p.path !== 'relay'); return tabs.length === {count} && tabs.every(p => p.path === 'direct'); }}"
    );
    tab.until(&format!("{count} direct peers"), &holds).await
}

/// Waits until the circuit that carried the signalling is closed, which takes one ping.
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

/// Bytes on this page's succeeded ICE candidate pairs.
async fn direct_bytes(tab: &Tab) -> Result<u64> {
    let sum = tab.evaluate("heartchainTest.pairBytes()").await?;
    Ok(sum.as_u64().unwrap_or_default())
}

/// Bytes on this page's WebSockets.
async fn socket_bytes(tab: &Tab) -> Result<u64> {
    let sum = tab.evaluate("heartchainTest.socketBytes()").await?;
    Ok(sum.as_u64().unwrap_or_default())
}
