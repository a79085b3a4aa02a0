//! A start with a wrong clock takes nothing away: what is too early by it waits on disk.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

/// This computer's clock is a year slow.
const YEAR_SLOW: &str = r"
    const Right = Date;
    const now = () => Right.now() - 365 * 24 * 3_600_000;
    globalThis.Date = class extends Right {
        constructor(...given) { super(...(given.length === 0 ? [now()] : given)); }
        static now() { return now(); }
    };
";

#[tokio::test]
async fn one_start_with_a_slow_clock_loses_nothing() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let [author, tab] = stage.tabs().await?;
        for bpm in 60..100 {
            author.enter(bpm).await?;
            let chained = format!(
                "async node => (await heartchainTest.readings()).length === {}",
                bpm - 59
            );
            author.until("a block for it", &chained).await?;
        }
        agreement(&[&author, &tab], 40).await?;
        let before = known(&tab).await?;
        author.close().await?;

        // It stays open, so that the context does, too.
        let context = tab.context();
        tab.go(&format!("{page}relay.json")).await?;
        let slow = stage
            .browser
            .open_in(context.clone(), &page, YEAR_SLOW)
            .await?;
        let held = slow
            .until(
                "blocks that wait",
                "node => node.status().heldBack?.blocks > 0 && node.status().heldBack",
            )
            .await?;
        ensure!(held["blocks"] == 40, "{held} of 40 wait");
        slow.until_shows(
            "page-notices",
            "40 newer blocks wait until their time comes",
        )
        .await?;
        slow.close_alone().await?;

        let right = stage.browser.open_in(context, &page, "").await?;
        right
            .until("the node", "node => node.status().tip.index > 0")
            .await?;
        let after = known(&right).await?;
        ensure!(after == before, "it was {before}, and is {after}");
        Ok(())
    })
    .await
}

/// Its tip, and the ids of the chain's readings.
async fn known(tab: &Tab) -> Result<Value> {
    tab.evaluate("heartchainTest.readings().then(readings => [heartchain.status().tip, readings.map(({ id }) => id)])")
        .await
}
