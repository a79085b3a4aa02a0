//! A class in one room: twelve tabs agree, and the page of each tells the truth about whom it is connected to.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

/// As many as sit in a small class.
const TABS: usize = 12;

/// What the first of them records, BPM; each next one records one more.
const FIRST_BPM: u16 = 60;

/// Peers that a tab looks for by itself. With fewer it goes on looking; more come when others look for it.
const WANTED_PEERS: usize = 8;

#[tokio::test]
async fn twelve_tabs_agree_and_each_shows_its_peers_and_how_they_are_reached() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let mut tabs = Vec::with_capacity(TABS);
        for _ in 0..TABS {
            tabs.push(stage.tab().await?);
        }
        let ids = try_join_all(tabs.iter().map(Tab::peer_id)).await?;
        let entered = (FIRST_BPM..).zip(&tabs);
        try_join_all(entered.map(|(bpm, tab)| tab.enter(bpm))).await?;
        let everybody: Vec<&Tab> = tabs.iter().collect();
        agreement(&everybody, TABS).await?;
        for tab in &tabs {
            expect_one_of_each(&tab.readings().await?)?;
        }

        for (tab, own) in tabs.iter().zip(&ids) {
            let others: BTreeSet<&str> = ids
                .iter()
                .filter(|id| *id != own)
                .map(String::as_str)
                .collect();
            expect_peers_shown(tab, &others).await?;
        }
        Ok(())
    })
    .await
}

/// Each heart rate once, each by another author.
fn expect_one_of_each(readings: &[Value]) -> Result<()> {
    let authors: BTreeSet<_> = readings.iter().map(|r| r["author"].as_str()).collect();
    ensure!(authors.len() == TABS, "{authors:?} are not {TABS}");
    let mut bpms: Vec<_> = readings.iter().map(|r| r["bpm"].as_u64()).collect();
    bpms.sort_unstable();
    let entered: Vec<_> = (u64::from(FIRST_BPM)..).take(TABS).map(Some).collect();
    ensure!(bpms == entered, "found {bpms:?}");
    Ok(())
}

/// Once the tab is in sync with enough peers and has its place at the relay, status line, picture and table, all of one
/// moment, tell the same.
async fn expect_peers_shown(tab: &Tab, others: &BTreeSet<&str>) -> Result<()> {
    let holds = format!(
        "() => {{
            const shown = ({SHOWN})();
            const settled = shown.status.startsWith('In sync · block ') && String(shown.relays) === 'reserved';
            return settled && shown.peers.length >= {WANTED_PEERS} && shown;
        }}"
    );
    let what =
        format!("itself in sync with {WANTED_PEERS} peers and a place at the relay, on its page");
    let shown = tab.until_page(&what, &holds).await?;
    let rows = shown["rows"].as_array().context("rows")?;
    let drawn = shown["peers"].as_array().context("peers")?;
    let count = rows.len();

    let named: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    let pictured: BTreeSet<&str> = drawn.iter().filter_map(Value::as_str).collect();
    ensure!(
        named.len() == count && named.is_subset(others),
        "the table names somebody twice, or who is not here: {shown:#}"
    );
    ensure!(
        drawn.len() == count && pictured == named,
        "picture and table differ: {shown:#}"
    );

    let by = |words: &str| rows.iter().filter(|row| row["path"] == words).count();
    let (direct, relayed) = (by("direct"), by("through the relay"));
    ensure!(direct + relayed == count, "a way is not told: {shown:#}");
    ensure!(
        shown["links"] == json!({ "direct": direct, "relayed": relayed, "relay": 1 }),
        "the lines are not those of {direct} direct and {relayed} relayed peers: {shown:#}"
    );
    let status = shown["status"].as_str().context("the status is text")?;
    ensure!(
        status.contains(&format!(" · {count} peers (")),
        "the sentence does not tell of {count} peers: {shown:#}"
    );
    Ok(())
}

/// What a person sees of the network, read in one go: it changes as a whole.
const SHOWN: &str = r"() => {
    const all = (selector, of) => [...document.querySelectorAll(selector)].map(of);
    const links = (kind) => document.querySelectorAll(`network-picture .link-${kind}`).length;
    return {
        status: document.querySelector('[role=status]').textContent.trim(),
        rows: all('peer-list tbody tr', ({ cells }) => ({
            id: cells[0].querySelector('.name-tag').title,
            path: cells[1].textContent,
        })),
        peers: all('network-picture .node-peer title', ({ textContent }) => textContent),
        links: { direct: links('direct'), relayed: links('relayed'), relay: links('relay') },
        relays: all('relay-list li', ({ dataset }) => dataset.state),
    };
}";
