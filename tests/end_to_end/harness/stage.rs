//! One test's surroundings: a relay, a browser, and the check at the end that no console was written to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use super::{Browser, PATIENCE, Relay, Tab};

/// Tests that have their browsers open at one time, whatever the number of test threads: each has half a dozen
/// processes, and what is measured in seconds should not be measured in a crowd.
const AT_ONE_TIME: usize = 2;
static PLACES: Semaphore = Semaphore::const_new(AT_ONE_TIME);

/// Where a test plays.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) relay: Relay,
    /// Relays that a test has started besides.
    pub(crate) more_relays: Vec<Relay>,
    pub(crate) browser: Browser,
    pub(crate) others: Vec<Browser>,
    pub(crate) expected: Vec<&'static str>,
}

/// What a test comes to.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a test failed, in words: a backtrace would show the harness and hide them.
pub(crate) struct Failure(pub(crate) String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs a test with a relay for this computer alone.
pub(crate) async fn on_stage(test: impl AsyncFnOnce(&mut Stage) -> Result<()>) -> Outcome {
    on_stage_at(IpAddr::V4(Ipv4Addr::LOCALHOST), test).await
}

/// Runs a test with a relay that listens on `ip`; then looks at all consoles, and ends everything.
pub(crate) async fn on_stage_at(
    ip: IpAddr,
    test: impl AsyncFnOnce(&mut Stage) -> Result<()>,
) -> Outcome {
    let set_up = async || {
        Ok(Stage {
            relay: Relay::start(ip).await?,
            more_relays: Vec::new(),
            browser: Browser::launch().await?,
            others: Vec::new(),
            expected: Vec::new(),
        })
    };
    let played = play(set_up, test).await;
    played.map_err(|error| Failure(format!("{error:#}")))
}

/// Sets a stage up and plays; then looks at all consoles, and ends everything.
pub(crate) async fn play(
    set_up: impl AsyncFnOnce() -> Result<Stage>,
    test: impl AsyncFnOnce(&mut Stage) -> Result<()>,
) -> Result<()> {
    let _place = PLACES.acquire().await?;
    let mut stage = set_up().await?;
    let outcome = test(&mut stage).await;
    let said = stage.said();
    outcome.with_context(|| format!("the consoles said {said:#?}"))?;
    ensure!(said.is_empty(), "the consoles are not clean: {said:#?}");
    Ok(())
}

impl Stage {
    /// Opens the relay's page in a new tab.
    pub(crate) async fn tab(&mut self) -> Result<Tab> {
        self.browser.open(self.relay.page()).await
    }

    /// Opens the relay's page in several tabs, and waits until each knows all others.
    pub(crate) async fn tabs<const N: usize>(&mut self) -> Result<[Tab; N]> {
        let page = self.relay.page().to_owned();
        self.tabs_at(&page).await
    }

    /// Opens a page in several tabs, and waits until each knows all others.
    pub(crate) async fn tabs_at<const N: usize>(&mut self, url: &str) -> Result<[Tab; N]> {
        let mut tabs = Vec::with_capacity(N);
        for _ in 0..N {
            tabs.push(self.browser.open(url).await?);
        }
        all_acquainted(tabs).await
    }

    /// The same for tabs that reach each other through relays only.
    pub(crate) async fn tabs_behind_firewalls<const N: usize>(
        &mut self,
        url: &str,
    ) -> Result<[Tab; N]> {
        let mut tabs = Vec::with_capacity(N);
        for _ in 0..N {
            tabs.push(self.browser.open_behind_firewall(url).await?);
        }
        all_acquainted(tabs).await
    }

    /// Another browser, whose consoles count, too.
    pub(crate) async fn another_browser(&mut self) -> Result<&mut Browser> {
        self.another_browser_with(&[]).await
    }

    /// The same with flags of the test's own.
    pub(crate) async fn another_browser_with(&mut self, flags: &[&str]) -> Result<&mut Browser> {
        let browser = Browser::launch_with(flags).await?;
        self.others.push(browser);
        self.others.last_mut().context("just pushed")
    }

    /// Kills the browser that came last.
    pub(crate) async fn another_browser_crashes(&mut self) -> Result<()> {
        let last = self
            .others
            .last_mut()
            .context("there is no other browser")?;
        last.kill().await
    }

    /// What the consoles say with these words in it is part of the test.
    pub(crate) fn expect_said(&mut self, words: &'static str) {
        self.expected.push(words);
    }

    /// What was said and should not have been.
    fn said(&self) -> Vec<String> {
        let browsers = [&self.browser].into_iter().chain(&self.others);
        let consoles = browsers.flat_map(Browser::consoles);
        let relays = || [&self.relay].into_iter().chain(&self.more_relays);
        let stopped = relays().any(|relay| !relay.stopped_at().is_empty());
        consoles
            .flat_map(|(tab, console)| {
                let entries = console.entries().into_iter();
                let bad = entries
                    .filter(|entry| !entry.is_platforms_own())
                    .filter(|entry| !(stopped && entry.is_page_not_kept()))
                    .filter(|entry| !self.expected.iter().any(|words| entry.text.contains(words)))
                    .filter(|entry| !relays().any(|r| entry.is_network_error_at(r.stopped_at())));
                bad.map(move |entry| format!("{tab}: {entry}"))
            })
            .collect()
    }
}

/// Waits until each tab knows all others.
async fn all_acquainted<const N: usize>(tabs: Vec<Tab>) -> Result<[Tab; N]> {
    for tab in &tabs {
        tab.until_peers(N - 1).await?;
    }
    tabs.try_into().ok().context("as many as were opened")
}

/// Waits until all tabs have `count` readings in their chains, none waiting, and one tip; returns its hash.
pub(crate) async fn agreement(tabs: &[&Tab], count: usize) -> Result<String> {
    let limit = Instant::now() + PATIENCE;
    loop {
        for tab in tabs {
            let holds = format!(
                "async node => node.status().mempool === 0 && (await heartchainTest.readings()).length >= {count}"
            );
            tab.until(&format!("{count} readings in its chain"), &holds)
                .await?;
        }
        let [first, others @ ..] = tabs else {
            bail!("no tab")
        };
        let tip = first.tip().await?;
        let mut agreed = true;
        for tab in others {
            // A rival of the last block may still be on its way: whoever has it takes the better one.
            let holds = format!(
                "node => node.status().tip.hash === {}",
                Value::from(tip.as_str())
            );
            let waited = tab
                .until_within(Duration::from_secs(5), "one tip", &holds)
                .await;
            agreed &= waited.is_ok();
        }
        if agreed && first.tip().await? == tip {
            return Ok(tip);
        }
        ensure!(Instant::now() < limit, "the tabs do not come to one tip");
    }
}
