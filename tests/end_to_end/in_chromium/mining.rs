//! The tabs of one browser that are in one room mine in turns.

use anyhow::{Result, ensure};

use super::slots::isolated_pair;
use crate::harness::{Outcome, Tab, TestEnv, run_test};

/// Takes the lock that gives a turn, as a tab does that mines: `globalThis.endTurn()` releases it. The lock's name is that of the
/// tab's slot with another ending.
const TAKE_TURN: &str = r#"
  navigator.locks.query().then(({ held }) => {
    const slot = held.find(({ name }) => /^heartchain\/[0-9a-f]+\/\d+$/.test(name)).name;
    const lock = slot.replace(/\d+$/, "mining");
    return new Promise((taken) =>
      navigator.locks.request(lock, () => new Promise((end) => {
        globalThis.endTurn = end;
        taken(true);
      })));
  })"#;

/// How many tabs wait for their turns.
const WAITING: &str = r#"() => navigator.locks.query().then(({ pending }) => pending.filter(({ name }) => name.endsWith("/mining")).length)"#;

#[tokio::test]
async fn tabs_of_a_browser_mine_in_turns() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tabs = isolated_pair(env).await?;
        let [first, second] = &tabs;
        first.evaluate(TAKE_TURN).await?;
        for tab in &tabs {
            tab.enter(70).await?;
        }
        first
            .until_page(
                "two tabs in line",
                &format!("() => ({WAITING})().then((n) => n === 2)"),
            )
            .await?;
        for tab in &tabs {
            ensure!(
                tab.status().await?["tip"]["index"] == 0,
                "it mined out of turn"
            );
        }
        first.evaluate("endTurn()").await?;
        for tab in &tabs {
            expect_block(tab).await?;
        }

        // A tab that is gone ends its turn.
        first.evaluate(TAKE_TURN).await?;
        second.enter(71).await?;
        second
            .until_page(
                "a tab in line",
                &format!("() => ({WAITING})().then((n) => n === 1)"),
            )
            .await?;
        let [first, second] = tabs;
        first.close_keeping_storage().await?;
        second
            .until("the second block", "node => node.status().tip.index === 2")
            .await?;
        Ok(())
    })
    .await
}

async fn expect_block(tab: &Tab) -> Result<()> {
    tab.until("a block", "node => node.status().tip.index === 1")
        .await?;
    Ok(())
}
