//! What a lesson is made of, with real tabs: one cuts itself off and joins again, one mines slowly. What is tried is
//! confined to its tab and can be undone.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::harness::{Outcome, Stage, agreement, on_stage};

/// A tab that joins again has a relay to call, a place to get and a peer to find.
const JOINED_AGAIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_tab_that_cut_itself_off_comes_back_with_its_readings() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;

        a.evaluate("heartchain.isolate(true)").await?;
        let alone = "node => { const s = node.status(); return s.isolated && s.peers === 0 && s.relays.every(r => !r.connected); }";
        a.until("no connection left", alone).await?;
        b.until("to miss it", "node => node.status().peers === 0").await?;
        a.enter(71).await?;
        b.enter(72).await?;
        for tab in [&a, &b] {
            tab.until("a block of its own", "node => node.status().tip.index === 2").await?;
        }
        ensure!(a.tip().await? != b.tip().await?, "two branches");
        // Longer than any pause between two calls to a peer: it stays cut off, although the page says that it woke.
        a.evaluate("dispatchEvent(new Event('online'))").await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let still = a.evaluate(&format!("({alone})(heartchain)")).await?;
        ensure!(still == true, "it is still cut off");

        a.evaluate("heartchain.isolate(false)").await?;
        a.until_within(JOINED_AGAIN, "a peer again", "node => node.status().peers === 1").await?;
        agreement(&[&a, &b], 3).await?;
        let left = a.evaluate("heartchain.branches()").await?;
        let other = b.evaluate("heartchain.branches()").await?;
        let branches = [left, other];
        ensure!(
            branches.iter().any(|branches| branches[0]["fork"] == 1),
            "the branch that lost is shown in one of them: {branches:?}"
        );
        let own = a.evaluate("heartchain.ownReadings().map(r => [r.bpm, r.index !== null])").await?;
        ensure!(own == serde_json::json!([[71, true], [70, true]]), "own readings: {own}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tab_mines_as_slowly_as_it_is_told() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let tab = stage.tab().await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate("heartchain.limitMining(500)").await?;
        tab.enter(70).await?;
        // A block takes 65,536 tries, so more than two minutes at this speed.
        let speed = tab
            .until(
                "the speed of its worker",
                "node => node.status().hashesPerSecond",
            )
            .await?;
        let speed = speed.as_f64().context("a number")?;
        ensure!((1.0..=550.0).contains(&speed), "{speed} hashes a second");
        let status = tab.status().await?;
        ensure!(status["miningLimit"] == 500, "the limit is shown: {status}");
        tab.evaluate("heartchain.limitMining(null)").await?;
        tab.until("a block", "node => node.status().tip.index === 1")
            .await?;
        let speed = tab.status().await?["hashesPerSecond"].as_f64();
        ensure!(
            speed.is_none_or(|speed| speed > 5_000.0),
            "as fast as it can: {speed:?}"
        );
        Ok(())
    })
    .await
}
