//! Two tabs in two networks behind routers, and the relay in a third network. Chromium hides the tabs' addresses behind
//! mDNS names, as it always does, and mDNS crosses no router. The tabs learn each other's addresses from the relay's
//! STUN server.

mod networks;

use anyhow::{Result, ensure};
use serde_json::Value;

use self::networks::{Networks, Site, on_two_networks};
use crate::harness::{Outcome, Tab, TestEnv, agreement};

/// Readings that each of the two tabs records.
const READINGS_PER_TAB: usize = 50;

#[tokio::test]
async fn stun_connects_tabs_of_two_networks() -> Outcome {
    on_two_networks(async |env: &mut TestEnv, _| {
        let [a, b] = two_tabs(env).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        for tab in [&a, &b] {
            expect_hidden(tab).await?;
        }
        let from_a = was_told_address(&a, Site::Right).await?;
        let from_b = was_told_address(&b, Site::Left).await?;
        ensure!(from_a || from_b, "neither tab was told the other's address");
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * READINGS_PER_TAB).await?;
        env.relay.kill().await?;
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 4 * READINGS_PER_TAB).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tabs_behind_nats_connect_directly() -> Outcome {
    on_two_networks(async |env: &mut TestEnv, networks: &Networks| {
        networks.hide_addresses()?;
        let [a, b] = two_tabs(env).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * READINGS_PER_TAB).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn relay_carries_data_without_udp() -> Outcome {
    on_two_networks(async |env: &mut TestEnv, networks: &Networks| {
        networks.block_udp()?;
        let [a, b] = two_tabs(env).await?;
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * READINGS_PER_TAB).await?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
            tab.until_shows("peer-list", "through the relay").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn blocked_path_is_replaced_in_time() -> Outcome {
    on_two_networks(async |env: &mut TestEnv, networks: &Networks| {
        let [a, b] = two_tabs(env).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        for tab in [&a, &b] {
            tab.evaluate("heartchainTest.trackFewestPeers()").await?;
        }
        let paths = a.evaluate("heartchainTest.paths()").await?;
        let Some(port) = paths[0]["local"]["port"].as_u64() else {
            anyhow::bail!("no port in {paths}");
        };
        networks.block_udp_port(port)?;
        for tab in [&a, &b] {
            let another = format!(
                "async () => (await heartchainTest.paths()).some(w => w.local.port !== {port} && w.remote.port !== {port})"
            );
            tab.until("another path", &another).await?;
            until_direct(tab).await?;
        }
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * READINGS_PER_TAB).await?;
        for tab in [&a, &b] {
            let fewest = tab.evaluate("heartchainTest.fewestPeers").await?;
            ensure!(fewest == 1, "{} once had {fewest} peers", tab.name());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn relay_takes_over_while_udp_is_blocked() -> Outcome {
    on_two_networks(async |env: &mut TestEnv, networks: &Networks| {
        let [a, b] = two_tabs(env).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        networks.block_udp()?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
        }
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * READINGS_PER_TAB).await?;
        networks.unblock()?;
        for tab in [&a, &b] {
            // The tabs retry a direct connection after 1, 4 and 15 s.
            until_direct(tab).await?;
        }
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 4 * READINGS_PER_TAB).await?;
        Ok(())
    })
    .await
}

/// Opens a tab in each network.
async fn two_tabs(env: &mut TestEnv) -> Result<[Tab; 2]> {
    let server = Site::Server.address().to_string();
    let page = env.relay.pages().iter().find(|page| page.contains(&server));
    let Some(page) = page.cloned() else {
        anyhow::bail!("no page at {server} among {:?}", env.relay.pages());
    };
    let a = env.browser.open(&page).await?;
    let Some(far) = env.others.last_mut() else {
        anyhow::bail!("no browser in the other network");
    };
    let b = far.open(&page).await?;
    tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
    Ok([a, b])
}

/// All host candidates of the page are mDNS names. There may be none, if it connects before the browser has made one.
async fn expect_hidden(tab: &Tab) -> Result<()> {
    let found = tab.evaluate("heartchainTest.candidates()").await?;
    let all: Vec<String> = serde_json::from_value(found)?;
    let mut hosts = all.iter().filter(|found| found.contains("typ host"));
    ensure!(
        hosts.all(|host| host.contains(".local")),
        "addresses are not hidden: {all:?}"
    );
    Ok(())
}

/// Whether the tab reaches that site by an address that it was told. If the other side connected first, the browser
/// hides the address.
async fn was_told_address(tab: &Tab, far: Site) -> Result<bool> {
    let paths = tab.evaluate("heartchainTest.paths()").await?;
    let remote = &paths[0]["remote"];
    let matches_address = remote["address"] == far.address().to_string().as_str();
    let is_peer_reflexive = remote["candidateType"] == "prflx" && remote["address"] == "";
    ensure!(matches_address || is_peer_reflexive, "the path is {paths}");
    Ok(matches_address)
}

async fn until_direct(tab: &Tab) -> Result<Value> {
    let direct = "node => { const tabs = node.peers().filter(p => p.path !== 'relay'); return tabs.length === 1 && tabs[0].path === 'direct'; }";
    tab.until("a direct peer", direct).await
}

async fn record(tab: &Tab) -> Result<()> {
    let each = "(_, i) => heartchain.record(20 + i % 381)";
    tab.evaluate(&format!(
        "Promise.all(Array.from({{ length: {READINGS_PER_TAB} }}, {each})).then(() => null)"
    ))
    .await?;
    Ok(())
}
