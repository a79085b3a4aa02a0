//! Two tabs in two networks with routers between them, and the relay in a third. Chromium hides the tabs' addresses
//! behind mDNS names, as it always does, and those cross no router: what the tabs know of each other they know from
//! the relay's STUN.

mod networks;

use anyhow::{Result, ensure};
use serde_json::Value;

use self::networks::{Networks, Place, on_two_networks};
use crate::harness::{Outcome, Stage, Tab, agreement};

/// Readings that each of two sides records.
const MANY: usize = 50;

#[tokio::test]
async fn tabs_of_two_networks_meet_directly_by_the_relays_stun() -> Outcome {
    on_two_networks(async |stage: &mut Stage, _| {
        let [a, b] = two_tabs(stage).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        for tab in [&a, &b] {
            expect_hidden(tab).await?;
        }
        let from_a = is_told(&a, Place::Right).await?;
        let from_b = is_told(&b, Place::Left).await?;
        ensure!(from_a || from_b, "neither was told where the other is");
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * MANY).await?;
        stage.relay.kill().await?;
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 4 * MANY).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tabs_behind_two_routers_that_hide_them_meet_directly() -> Outcome {
    on_two_networks(async |stage: &mut Stage, networks: &Networks| {
        networks.hide_addresses()?;
        let [a, b] = two_tabs(stage).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * MANY).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn where_no_udp_crosses_the_relay_carries_all_and_the_page_says_so() -> Outcome {
    on_two_networks(async |stage: &mut Stage, networks: &Networks| {
        networks.block_udp()?;
        let [a, b] = two_tabs(stage).await?;
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * MANY).await?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
            tab.until_shows("peer-list", "through the relay").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_way_that_is_cut_is_replaced_before_it_counts_as_lost() -> Outcome {
    on_two_networks(async |stage: &mut Stage, networks: &Networks| {
        let [a, b] = two_tabs(stage).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        for tab in [&a, &b] {
            tab.evaluate("heartchainTest.noteFewestPeers()").await?;
        }
        let ways = a.evaluate("heartchainTest.ways()").await?;
        let Some(port) = ways[0]["local"]["port"].as_u64() else {
            anyhow::bail!("no port in {ways}");
        };
        networks.block_udp_port(port)?;
        for tab in [&a, &b] {
            let another = format!(
                "async () => (await heartchainTest.ways()).some(w => w.local.port !== {port} && w.remote.port !== {port})"
            );
            tab.until("another way", &another).await?;
            until_direct(tab).await?;
        }
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * MANY).await?;
        for tab in [&a, &b] {
            let fewest = tab.evaluate("heartchainTest.fewestPeers").await?;
            ensure!(fewest == 1, "{} once had {fewest} peers", tab.name());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn when_the_network_stops_carrying_udp_the_relay_takes_over_and_gives_way_again() -> Outcome {
    on_two_networks(async |stage: &mut Stage, networks: &Networks| {
        let [a, b] = two_tabs(stage).await?;
        tokio::try_join!(until_direct(&a), until_direct(&b))?;
        networks.block_udp()?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
        }
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 2 * MANY).await?;
        networks.unblock()?;
        for tab in [&a, &b] {
            // It is tried again after 1, 4 and 15 s.
            until_direct(tab).await?;
        }
        tokio::try_join!(record(&a), record(&b))?;
        agreement(&[&a, &b], 4 * MANY).await?;
        Ok(())
    })
    .await
}

/// A tab in each network.
async fn two_tabs(stage: &mut Stage) -> Result<[Tab; 2]> {
    let server = Place::Server.address().to_string();
    let page = stage
        .relay
        .pages()
        .iter()
        .find(|page| page.contains(&server));
    let Some(page) = page.cloned() else {
        anyhow::bail!("no page at {server} among {:?}", stage.relay.pages());
    };
    let a = stage.browser.open(&page).await?;
    let Some(far) = stage.others.last_mut() else {
        anyhow::bail!("no browser in the other network");
    };
    let b = far.open(&page).await?;
    tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
    Ok([a, b])
}

/// What the page knows of its own computer is a name; it may even connect before the browser has made one.
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

/// Whether the tab's way goes to that place because an address was told, or because the other called first: then the browser
/// shows none.
async fn is_told(tab: &Tab, far: Place) -> Result<bool> {
    let ways = tab.evaluate("heartchainTest.ways()").await?;
    let remote = &ways[0]["remote"];
    let told = remote["address"] == far.address().to_string().as_str();
    let called = remote["candidateType"] == "prflx" && remote["address"] == "";
    ensure!(told || called, "the way is {ways}");
    Ok(told)
}

async fn until_direct(tab: &Tab) -> Result<Value> {
    let direct = "node => { const tabs = node.peers().filter(p => p.path !== 'relay'); return tabs.length === 1 && tabs[0].path === 'direct'; }";
    tab.until("a direct peer", direct).await
}

async fn record(tab: &Tab) -> Result<()> {
    let each = "(_, i) => heartchain.record(20 + i % 381)";
    tab.evaluate(&format!(
        "Promise.all(Array.from({{ length: {MANY} }}, {each})).then(() => null)"
    ))
    .await?;
    Ok(())
}
