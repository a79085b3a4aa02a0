//! The page without its relay: it opens from what the browser kept, records, and what was recorded then is everybody's
//! once the relay is back. A newer version is offered, and comes when a person wishes it.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

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
