//! The page without its relay: it opens from the browser's cache and records, and the readings reach the others once
//! the relay is back. A newer version is offered, and replaces the page only when the person accepts it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::lessons::open_lessons;
use crate::harness::{Build, Outcome, Tab, TestEnv, UpgradeProxy, agreement, run_test};

/// Time limit for caching: the page waits a few seconds before it registers its service worker, which then fetches
/// every file again.
const CACHE_TIMEOUT: Duration = Duration::from_secs(60);

/// `registered` resolves when the page has registered its service worker.
const REGISTERED: &str = "
  globalThis.registered = new Promise((resolve) => {
    const register = ServiceWorkerContainer.prototype.register;
    ServiceWorkerContainer.prototype.register = async function (...options) {
      const registration = await register.apply(this, options);
      // Resolves after the page's own handlers.
      setTimeout(resolve, 0, true);
      return registration;
    };
  });";

#[tokio::test]
async fn page_works_without_its_relay() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = env.tab().await?;
        tab.enter(70).await?;
        agreement(&[&tab], 1).await?;
        let before = tab.status().await?;
        until_cached(&tab).await?;

        env.relay.stop().await?;
        tab.go(&page).await?;
        tab.until(
            "the node of a page without a relay",
            "node => node.status().peers === 0",
        )
        .await?;
        tab.until_status_says("You can keep recording").await?;
        let after = tab.status().await?;
        ensure!(
            after["tip"] == before["tip"] && after["peerId"] == before["peerId"],
            "the same peer with the same chain: {after}"
        );
        tab.enter(71).await?;
        tab.until(
            "a block, from a cached miner",
            "node => node.status().tip.index === 2",
        )
        .await?;

        env.relay.restart().await?;
        let other = env.tab().await?;
        agreement(&[&tab, &other], 2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn newer_version_is_offered_not_forced() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = env.browser.open_with(&page, REGISTERED).await?;
        until_cached(&tab).await?;
        // A worker controls the page from here on, so another one counts as an update.
        tab.go(&page).await?;
        tab.until("the node", "() => navigator.serviceWorker.controller !== null").await?;
        // A marker that disappears when the page reloads.
        tab.evaluate("globalThis.loadedBefore = true").await?;
        // To the browser, the same script under another URL is another worker.
        tab.evaluate("globalThis.registered").await?;
        tab.evaluate("navigator.serviceWorker.register('service-worker.js?newer').then(() => true)")
            .await?;
        tab.until_shows("page-notices", "A newer version of this page is ready.").await?;
        ensure!(tab.evaluate("globalThis.loadedBefore").await? == true, "the page reloaded without being asked");

        tab.evaluate("document.querySelector('page-notices .noticed button').click()").await?;
        tab.until_page(
            "the newer version",
            "() => globalThis.loadedBefore === undefined && navigator.serviceWorker.controller?.scriptURL.endsWith('?newer')",
        )
        .await?;
        tab.until("the node", "() => true").await?;
        Ok(())
    })
    .await
}

/// After an update in one tab, the other tab keeps using its own version from its own cache. The cache is removed when
/// that tab closes.
#[tokio::test]
async fn open_page_keeps_its_own_version() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let proxy = UpgradeProxy::start(&env.relay).await?;
        let page = proxy.page();
        let first = env.browser.open_with(&page, REGISTERED).await?;
        until_cached(&first).await?;
        // A worker controls the page from here on, so another one counts as an update.
        first.go(&page).await?;
        first.until("the node", CONTROLLED).await?;
        first.evaluate("globalThis.registered").await?;
        let second = env
            .browser
            .open_in(first.context(), &page, REGISTERED)
            .await?;
        second.until("the node", CONTROLLED).await?;
        second.evaluate("globalThis.registered").await?;

        proxy.serve(Build::Newer);
        second.evaluate(UPDATE).await?;
        second
            .until_shows("page-notices", "A newer version of this page is ready.")
            .await?;
        second.evaluate("globalThis.loadedBefore = true").await?;
        second
            .evaluate("document.querySelector('page-notices .noticed button').click()")
            .await?;
        second
            .until_page(
                "the newer version",
                "() => globalThis.loadedBefore === undefined",
            )
            .await?;
        second.until("the node", CONTROLLED).await?;
        // By now the new worker has cleaned up.
        second.evaluate("globalThis.registered").await?;
        second.evaluate(PAUSE).await?;

        first
            .until_shows("page-notices", "A newer version of this page is ready.")
            .await?;
        open_lessons(&first).await?;
        ensure!(
            first.evaluate(RUNS_NEWER).await? == false,
            "the older page runs a module of the newer version"
        );
        open_lessons(&second).await?;
        ensure!(
            second.evaluate(RUNS_NEWER).await? == true,
            "the newer page runs a module of the older version"
        );
        ensure!(second.evaluate(CACHES).await? == 2, "one cache for each");

        first.close_keeping_storage().await?;
        second.reload().await?;
        second.until("the node", CONTROLLED).await?;
        second
            .until(
                "one cache left",
                "() => caches.keys().then((names) => names.length === 1)",
            )
            .await?;
        Ok(())
    })
    .await
}

/// The browser has nothing cached, and the relay serves another version by now.
#[tokio::test]
async fn page_without_its_version_offers_the_newer() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        env.expect_message("the server responded with a status of 404");
        let proxy = UpgradeProxy::start(&env.relay).await?;
        let without_cache = "ServiceWorkerContainer.prototype.register = () => Promise.reject(new Error());";
        let tab = env.browser.open_with(&proxy.page(), without_cache).await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate(PAUSE).await?;

        proxy.serve(Build::Newer);
        tab.enter(70).await?;
        tab.until(
            "a block, from a miner that starts only now",
            "node => node.status().tip.index === 1",
        )
        .await?;
        tab.evaluate("document.querySelector('.lesson-switch').click()")
            .await?;
        tab.until_page(
            "an answer",
            "() => document.querySelector('.lesson-failure').textContent !== '' || !document.querySelector('.lesson-body').hidden",
        )
        .await?;
        ensure!(
            tab.evaluate(RUNS_NEWER).await? == false,
            "the older page runs a module of the newer version"
        );
        tab.until_shows("page-notices", "There is a newer version of this page")
            .await?;
        tab.evaluate("document.querySelector('page-notices .noticed button').click()")
            .await?;
        tab.until_page("the newer version", "() => !document.querySelector('page-notices .noticed button')")
            .await?;
        open_lessons(&tab).await?;
        ensure!(tab.evaluate(RUNS_NEWER).await? == true, "the newer page");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn page_without_its_chart_says_so_and_records() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        env.expect_message("the server responded with a status of 503");
        let proxy = UpgradeProxy::start(&env.relay).await?;
        proxy.serve(Build::Incomplete);
        let tab = env.browser.open(&proxy.page()).await?;
        tab.until_shows("page-notices", "Parts of this page couldn't be loaded.")
            .await?;
        tab.enter(70).await?;
        agreement(&[&tab], 1).await?;
        Ok(())
    })
    .await
}

/// The relay is updated while the browser fetches the files of a version, so some belong to another version.
#[tokio::test]
async fn failed_update_leaves_no_cache() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        env.expect_message("integrity");
        env.expect_message("Failed to fetch");
        env.expect_message("An unknown error occurred when fetching the script.");
        let proxy = UpgradeProxy::start(&env.relay).await?;
        let tab = env.browser.open_with(&proxy.page(), REGISTERED).await?;
        until_cached(&tab).await?;
        tab.evaluate("globalThis.registered").await?;
        let before = tab.evaluate("caches.keys()").await?;

        proxy.serve(Build::HalfNewer);
        let refused = "navigator.serviceWorker.ready.then(async (registration) => {
            await registration.update().catch(() => {});
            const worker = registration.installing;
            if (worker === null) return;
            await new Promise((changed) => worker.addEventListener('statechange', changed, { once: true }));
            return worker.state;
          })";
        let state = tab.evaluate(refused).await?;
        ensure!(state == "redundant", "the worker is {state}");
        let after = tab.evaluate("caches.keys()").await?;
        ensure!(before == after, "caches before: {before}, and after: {after}");

        // Once all files are there, the update succeeds.
        proxy.serve(Build::Newer);
        tab.evaluate(UPDATE).await?;
        tab.until("a cache more", "() => caches.keys().then((names) => names.length === 2)")
            .await?;
        Ok(())
    })
    .await
}

const CONTROLLED: &str = "() => navigator.serviceWorker.controller !== null";
const UPDATE: &str =
    "navigator.serviceWorker.ready.then((registration) => registration.update()).then(() => true)";
const PAUSE: &str = "new Promise((resolve) => setTimeout(resolve, 1_000, true))";
const CACHES: &str = "caches.keys().then((names) => names.length)";
const RUNS_NEWER: &str = "globalThis.lessonsOfNewerVersion === true";

/// Waits until the browser has cached the page.
pub(super) async fn until_cached(tab: &Tab) -> Result<()> {
    tab.until("the node", "() => true").await?;
    tab.until_within(
        CACHE_TIMEOUT,
        "its page cached",
        "async () => {
          const { active } = await navigator.serviceWorker.ready;
          if (active.state === 'activated') return true;
          await new Promise((changed) => active.addEventListener('statechange', changed, { once: true }));
          return true;
        }",
    )
    .await?;
    Ok(())
}
