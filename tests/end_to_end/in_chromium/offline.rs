//! The page without its relay: it opens from what the browser kept, records, and what was recorded then is everybody's
//! once the relay is back. A newer version is offered, and comes when a person wishes it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::lessons::open_lessons;
use crate::harness::{Build, Front, Outcome, Stage, Tab, agreement, on_stage};

/// The page waits a few seconds before it has itself kept, and then each file is asked for once more.
const KEPT: Duration = Duration::from_secs(60);

/// Lets a test wait until the page has asked for its worker.
const REGISTERED: &str = "
  globalThis.registered = new Promise((resolve) => {
    const register = ServiceWorkerContainer.prototype.register;
    ServiceWorkerContainer.prototype.register = async function (...options) {
      const registration = await register.apply(this, options);
      // After whoever waits for it.
      setTimeout(resolve, 0, true);
      return registration;
    };
  });";

#[tokio::test]
async fn a_page_opens_and_records_without_its_relay() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let tab = stage.tab().await?;
        tab.enter(70).await?;
        agreement(&[&tab], 1).await?;
        let before = tab.status().await?;
        until_kept(&tab).await?;

        stage.relay.stop().await?;
        tab.go(&page).await?;
        tab.until(
            "the node of a page without a relay",
            "node => node.status().peers === 0",
        )
        .await?;
        tab.until_status_says("on your own").await?;
        let after = tab.status().await?;
        ensure!(
            after["tip"] == before["tip"] && after["peerId"] == before["peerId"],
            "the same peer with the same chain: {after}"
        );
        tab.enter(71).await?;
        tab.until(
            "a block, from a miner that was kept as well",
            "node => node.status().tip.index === 2",
        )
        .await?;

        stage.relay.start_again().await?;
        let other = stage.tab().await?;
        agreement(&[&tab, &other], 2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_newer_version_is_offered_and_never_forced() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let tab = stage.browser.open_with(&page, REGISTERED).await?;
        until_kept(&tab).await?;
        // From now on a worker controls the page, so that another one is news.
        tab.go(&page).await?;
        tab.until("the node", "() => navigator.serviceWorker.controller !== null").await?;
        // A mark that is gone once the page is loaded anew.
        tab.evaluate("globalThis.loadedBefore = true").await?;
        // The same worker under another address is another worker to the browser.
        tab.evaluate("globalThis.registered").await?;
        tab.evaluate("navigator.serviceWorker.register('service-worker.js?newer').then(() => true)")
            .await?;
        tab.until_shows("page-notices", "A newer version of this page is ready.").await?;
        ensure!(tab.evaluate("globalThis.loadedBefore").await? == true, "nothing is forced");

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

/// A newer version took over in one tab; the other goes on with all of its own, and its cache goes with it.
#[tokio::test]
async fn open_page_keeps_its_own_version() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let front = Front::before(&stage.relay).await?;
        let page = front.page();
        let first = stage.browser.open_with(&page, REGISTERED).await?;
        until_kept(&first).await?;
        // From now on a worker controls the page, so that another one is news.
        first.go(&page).await?;
        first.until("the node", CONTROLLED).await?;
        first.evaluate("globalThis.registered").await?;
        let second = stage
            .browser
            .open_in(first.context(), &page, REGISTERED)
            .await?;
        second.until("the node", CONTROLLED).await?;
        second.evaluate("globalThis.registered").await?;

        front.serve(Build::Newer);
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
        // Whatever the new worker tidies up, it has.
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

        first.close_alone().await?;
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

/// Nothing of it was kept in the browser, and the relay has another version by now.
#[tokio::test]
async fn page_without_its_version_offers_the_newer() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        stage.expect_said("the server responded with a status of 404");
        let front = Front::before(&stage.relay).await?;
        let unkept = "ServiceWorkerContainer.prototype.register = () => Promise.reject(new Error());";
        let tab = stage.browser.open_with(&front.page(), unkept).await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate(PAUSE).await?;

        front.serve(Build::Newer);
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

/// The relay is renewed while the browser fetches the files of a version: some are of another one.
#[tokio::test]
async fn failed_update_leaves_no_cache() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        stage.expect_said("integrity");
        stage.expect_said("Failed to fetch");
        stage.expect_said("An unknown error occurred when fetching the script.");
        let front = Front::before(&stage.relay).await?;
        let tab = stage.browser.open_with(&front.page(), REGISTERED).await?;
        until_kept(&tab).await?;
        tab.evaluate("globalThis.registered").await?;
        let before = tab.evaluate("caches.keys()").await?;

        front.serve(Build::HalfNewer);
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
        ensure!(before == after, "kept before: {before}, and after: {after}");

        // Once all of it is there, it comes.
        front.serve(Build::Newer);
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

/// Waits until the browser has kept the page.
async fn until_kept(tab: &Tab) -> Result<()> {
    tab.until("the node", "() => true").await?;
    tab.until_within(
        KEPT,
        "its page kept",
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
