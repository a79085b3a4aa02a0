//! The environment of one test: a relay, browsers, and a final check that the consoles are clean.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use super::{browser::Browser, patience::PATIENCE, relay::Relay, tab::Tab};

/// Number of tests that may have browsers open at once, whatever the number of test threads. Each has half a dozen
/// processes, and time limits of seconds need an idle machine.
const MAX_CONCURRENT_TESTS: usize = 2;
static TEST_SLOTS: Semaphore = Semaphore::const_new(MAX_CONCURRENT_TESTS);

/// The relays and browsers of one test.
#[derive(Debug)]
pub(crate) struct TestEnv {
    pub(crate) relay: Relay,
    /// Relays that the test started in addition.
    pub(crate) more_relays: Vec<Relay>,
    pub(crate) browser: Browser,
    pub(crate) others: Vec<Browser>,
    pub(crate) expected_messages: Vec<&'static str>,
}

/// The result of a test.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a test failed. It prints only the message: a backtrace would show the harness and bury the message.
pub(crate) struct Failure(pub(crate) String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs a test with a relay that listens on the loopback address.
pub(crate) async fn run_test(test: impl AsyncFnOnce(&mut TestEnv) -> Result<()>) -> Outcome {
    run_test_at(IpAddr::V4(Ipv4Addr::LOCALHOST), test).await
}

/// Runs a test with a relay that listens on `ip`. Afterwards checks all consoles and ends all processes.
pub(crate) async fn run_test_at(
    ip: IpAddr,
    test: impl AsyncFnOnce(&mut TestEnv) -> Result<()>,
) -> Outcome {
    let set_up = async || {
        Ok(TestEnv {
            relay: Relay::start(ip).await?,
            more_relays: Vec::new(),
            browser: Browser::launch().await?,
            others: Vec::new(),
            expected_messages: Vec::new(),
        })
    };
    let result = run_in(set_up, test).await;
    result.map_err(|error| Failure(format!("{error:#}")))
}

/// Runs a test in the environment that `set_up` returns. Afterwards checks all consoles and ends all processes.
pub(crate) async fn run_in(
    set_up: impl AsyncFnOnce() -> Result<TestEnv>,
    test: impl AsyncFnOnce(&mut TestEnv) -> Result<()>,
) -> Result<()> {
    let _slot = TEST_SLOTS.acquire().await?;
    let mut env = set_up().await?;
    let outcome = test(&mut env).await;
    let unexpected_messages = env.unexpected_messages();
    outcome.with_context(|| format!("the consoles printed {unexpected_messages:#?}"))?;
    ensure!(
        unexpected_messages.is_empty(),
        "the consoles are not clean: {unexpected_messages:#?}"
    );
    Ok(())
}

impl TestEnv {
    /// Opens the relay's page in a new tab.
    pub(crate) async fn tab(&mut self) -> Result<Tab> {
        self.browser.open(self.relay.page()).await
    }

    /// Opens the relay's page in several tabs and waits until all are connected to each other.
    pub(crate) async fn tabs<const N: usize>(&mut self) -> Result<[Tab; N]> {
        let page = self.relay.page().to_owned();
        self.tabs_at(&page).await
    }

    /// Opens a page in several tabs and waits until all are connected to each other.
    pub(crate) async fn tabs_at<const N: usize>(&mut self, url: &str) -> Result<[Tab; N]> {
        let mut tabs = Vec::with_capacity(N);
        for _ in 0..N {
            tabs.push(self.browser.open(url).await?);
        }
        until_connected(tabs).await
    }

    /// Like [`tabs_at`](Self::tabs_at), for tabs that can reach each other only through relays.
    pub(crate) async fn tabs_behind_firewalls<const N: usize>(
        &mut self,
        url: &str,
    ) -> Result<[Tab; N]> {
        let mut tabs = Vec::with_capacity(N);
        for _ in 0..N {
            tabs.push(self.browser.open_behind_firewall(url).await?);
        }
        until_connected(tabs).await
    }

    /// Launches another browser, whose consoles are checked, too.
    pub(crate) async fn another_browser(&mut self) -> Result<&mut Browser> {
        self.another_browser_with(&[]).await
    }

    /// Like [`another_browser`](Self::another_browser), with extra flags.
    pub(crate) async fn another_browser_with(&mut self, flags: &[&str]) -> Result<&mut Browser> {
        let browser = Browser::launch_with(flags).await?;
        self.others.push(browser);
        self.others.last_mut().context("just pushed")
    }

    /// Like [`another_browser`](Self::another_browser), with changed settings.
    pub(crate) async fn another_browser_preferring(
        &mut self,
        preferences: &Value,
    ) -> Result<&mut Browser> {
        let browser = Browser::launch_preferring(preferences).await?;
        self.others.push(browser);
        self.others.last_mut().context("just pushed")
    }

    /// Kills the most recently launched extra browser.
    pub(crate) async fn kill_other_browser(&mut self) -> Result<()> {
        let last = self
            .others
            .last_mut()
            .context("there is no other browser")?;
        last.kill().await
    }

    /// Allows console messages that contain this text.
    pub(crate) fn expect_message(&mut self, text: &'static str) {
        self.expected_messages.push(text);
    }

    /// Console messages that the test did not expect.
    fn unexpected_messages(&self) -> Vec<String> {
        let browsers = [&self.browser].into_iter().chain(&self.others);
        let consoles = browsers.flat_map(Browser::consoles);
        let relays = || [&self.relay].into_iter().chain(&self.more_relays);
        let stopped = relays().any(|relay| !relay.stopped_at().is_empty());
        consoles
            .flat_map(|(tab, console)| {
                let entries = console.entries().into_iter();
                let bad = entries
                    .filter(|entry| !entry.is_platform_message())
                    .filter(|entry| !(stopped && entry.is_failed_caching()))
                    .filter(|entry| {
                        !self
                            .expected_messages
                            .iter()
                            .any(|text| entry.text.contains(text))
                    })
                    .filter(|entry| !relays().any(|r| entry.is_network_error_at(r.stopped_at())));
                bad.map(move |entry| format!("{tab}: {entry}"))
            })
            .collect()
    }
}

/// Waits until all tabs are connected to each other.
async fn until_connected<const N: usize>(tabs: Vec<Tab>) -> Result<[Tab; N]> {
    for tab in &tabs {
        tab.until_peers(N - 1).await?;
    }
    tabs.try_into()
        .ok()
        .context("the number of tabs that were opened")
}

/// Waits until all tabs have `count` readings in their chains, empty mempools and the same tip. Returns the tip's hash.
pub(crate) async fn agreement(tabs: &[&Tab], count: usize) -> Result<String> {
    let limit = Instant::now() + PATIENCE;
    loop {
        for tab in tabs {
            let condition = format!(
                "async node => node.status().mempool === 0 && (await heartchainTest.readings()).length >= {count}"
            );
            tab.until(&format!("{count} readings in its chain"), &condition)
                .await?;
        }
        let [first, others @ ..] = tabs else {
            bail!("no tab")
        };
        let tip = first.tip().await?;
        let mut agreed = true;
        for tab in others {
            // A competing tip may still be in flight; a tab that receives it switches to the better one.
            let condition = format!(
                "node => node.status().tip.hash === {}",
                Value::from(tip.as_str())
            );
            let waited = tab
                .until_within(Duration::from_secs(5), "one tip", &condition)
                .await;
            agreed &= waited.is_ok();
        }
        if agreed && first.tip().await? == tip {
            return Ok(tip);
        }
        ensure!(Instant::now() < limit, "the tabs do not agree on a tip");
    }
}
