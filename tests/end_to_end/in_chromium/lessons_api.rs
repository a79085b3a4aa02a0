//! The API that the lessons use, with real tabs: isolation and the mining limit. Both affect one tab only and can be
//! undone.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::harness::{Outcome, TestEnv, agreement, run_test};

/// A tab that reconnects must dial a relay, get a reservation and find a peer.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn isolated_tab_returns_with_its_readings() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;

        a.evaluate("heartchain.isolate(true)").await?;
        let alone = "node => { const s = node.status(); return s.isolated && s.peers === 0 && s.relays.every(r => !r.connected); }";
        a.until("no connection left", alone).await?;
        b.until("to miss it", "node => node.status().peers === 0").await?;
        a.enter(71).await?;
        b.enter(72).await?;
        for tab in [&a, &b] {
            tab.until("its own block", "node => node.status().tip.index === 2").await?;
        }
        ensure!(a.tip().await? != b.tip().await?, "two branches");
        // Waits longer than any pause between two dials: the tab stays isolated although the page resumed.
        a.evaluate("dispatchEvent(new Event('online'))").await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let still = a.evaluate(&format!("({alone})(heartchain)")).await?;
        ensure!(still == true, "it is still cut off");

        a.evaluate("heartchain.isolate(false)").await?;
        a.until_within(RECONNECT_TIMEOUT, "a peer again", "node => node.status().peers === 1").await?;
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
async fn mining_limit_is_respected() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate("heartchain.limitMining(500)").await?;
        tab.enter(70).await?;
        // A block takes 65,536 tries on average, so about two minutes at this speed.
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
