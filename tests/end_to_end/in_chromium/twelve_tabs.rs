//! A class in one room: twelve tabs agree, and each page shows correctly which peers it is connected to.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// The size of a small class.
const TABS: usize = 12;

/// The heart rate that the first tab records, in BPM; each further tab records one more.
const FIRST_BPM: u16 = 60;

/// A tab dials peers until it has this many; more may dial it.
const MIN_OUTBOUND_PEERS: usize = 8;

#[tokio::test]
async fn twelve_tabs_agree_and_show_their_peers() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let mut tabs = Vec::with_capacity(TABS);
        for _ in 0..TABS {
            tabs.push(env.tab().await?);
        }
        let ids = try_join_all(tabs.iter().map(Tab::peer_id)).await?;
        let entered = (FIRST_BPM..).zip(&tabs);
        try_join_all(entered.map(|(bpm, tab)| tab.enter(bpm))).await?;
        let all_tabs: Vec<&Tab> = tabs.iter().collect();
        agreement(&all_tabs, TABS).await?;
        for tab in &tabs {
            expect_one_of_each(&tab.readings().await?)?;
        }

        let names = try_join_all(tabs.iter().map(shown_name)).await?;
        for (at, tab) in tabs.iter().enumerate() {
            // A peer has the name of its author once it has proved which one that is.
            let of_others = |list: &[String]| {
                let others = list.iter().enumerate().filter(|(other, _)| *other != at);
                others.map(|(_, name)| name.clone()).collect::<Vec<_>>()
            };
            let others = [of_others(&ids), of_others(&names)].concat();
            let others = others.iter().map(String::as_str).collect();
            expect_peers_shown(tab, &others).await?;
        }
        Ok(())
    })
    .await
}

/// The name that a tab shows for itself.
async fn shown_name(tab: &Tab) -> Result<String> {
    let name = "() => document.querySelector('peer-list .self .name-tag')?.title";
    let name = tab.until_page("its name", name).await?;
    Ok(name.as_str().context("a name is text")?.to_owned())
}

/// Every heart rate occurs once, each by a different author.
fn expect_one_of_each(readings: &[Value]) -> Result<()> {
    let authors: BTreeSet<_> = readings.iter().map(|r| r["author"].as_str()).collect();
    ensure!(authors.len() == TABS, "{authors:?} are not {TABS}");
    let mut bpms: Vec<_> = readings.iter().map(|r| r["bpm"].as_u64()).collect();
    bpms.sort_unstable();
    let entered: Vec<_> = (u64::from(FIRST_BPM)..).take(TABS).map(Some).collect();
    ensure!(bpms == entered, "found {bpms:?}");
    Ok(())
}

/// Once the tab is in sync with enough peers and has its reservation, the status line, the picture and the table show
/// the same peers. All three are read at one moment.
async fn expect_peers_shown(tab: &Tab, others: &BTreeSet<&str>) -> Result<()> {
    let holds = format!(
        "() => {{
            const shown = ({SHOWN})();
            const settled = shown.status.startsWith('In sync · block ') && String(shown.relays) === 'reserved';
            return settled && shown.peers.length >= {MIN_OUTBOUND_PEERS} && shown;
        }}"
    );
    let what = format!(
        "itself in sync with {MIN_OUTBOUND_PEERS} peers and a reservation at the relay, on its page"
    );
    let shown = tab.until_page(&what, &holds).await?;
    let rows = shown["rows"].as_array().context("rows")?;
    let drawn = shown["peers"].as_array().context("peers")?;
    let count = rows.len();

    let named: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    let pictured: BTreeSet<&str> = drawn.iter().filter_map(Value::as_str).collect();
    ensure!(
        named.len() == count && named.is_subset(others),
        "the table lists a peer twice, or one that is not here: {shown:#}"
    );
    ensure!(
        drawn.len() == count && pictured == named,
        "picture and table differ: {shown:#}"
    );

    let by = |words: &str| rows.iter().filter(|row| row["path"] == words).count();
    let (direct, relayed) = (by("direct"), by("through the relay"));
    ensure!(direct + relayed == count, "a path is not shown: {shown:#}");
    ensure!(
        shown["links"] == json!({ "direct": direct, "relayed": relayed, "relay": 1 }),
        "the lines are not those of {direct} direct and {relayed} relayed peers: {shown:#}"
    );
    let status = shown["status"].as_str().context("the status is text")?;
    ensure!(
        status.contains(&format!(" · {count} peers (")),
        "the status does not show {count} peers: {shown:#}"
    );
    Ok(())
}

/// Everything that the page shows of the network, read in one evaluation because it changes as a whole.
const SHOWN: &str = r"() => {
    const all = (selector, of) => [...document.querySelectorAll(selector)].map(of);
    const links = (kind) => document.querySelectorAll(`network-picture .link-${kind}`).length;
    return {
        status: document.querySelector('.status-text').textContent.trim(),
        rows: all('peer-list tbody tr', ({ cells }) => ({
            id: cells[0].querySelector('.name-tag').title,
            path: cells[1].textContent,
        })),
        peers: all('network-picture .node-peer title', ({ textContent }) => textContent),
        links: { direct: links('direct'), relayed: links('relayed'), relay: links('relay') },
        relays: all('relay-list li', ({ dataset }) => dataset.state),
    };
}";
