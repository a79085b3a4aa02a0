//! A neighbour that fills data channels faster than any tab reads them: the tab stays small, bans it, and still serves its
//! person and the others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// Until the flooding neighbour is gone for good. Its second connection takes some seconds.
const BAN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the neighbour then tries in vain to come back.
const BANNED: Duration = Duration::from_secs(5);
/// The most bytes by which the tab's WebAssembly memory may grow.
const MAX_GROWTH: f64 = 16e6;

#[tokio::test]
async fn neighbour_that_fills_channels_is_banned() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let [flooded, other] = env.tabs().await?;
        let script = include_str!("channel_flood.js");
        let attacker = env.browser.open_with(&page, script).await?;
        let id = Value::from(attacker.peer_id().await?);
        let direct =
            format!("node => node.peers().some(p => p.peerId === {id} && p.path === 'direct')");
        flooded.until("the attacker, directly", &direct).await?;
        other.until("the attacker, directly", &direct).await?;
        agreement(&[&flooded, &other], 0).await?;

        let before = wasm_bytes(&flooded).await?;
        attacker.evaluate("heartchainFlood()").await?;
        flooded.enter(72).await?;
        agreement(&[&flooded, &other], 1).await?;
        // Each return to the peers ends with another flood, until the second one within ten minutes.
        flooded
            .evaluate(&format!(
                "globalThis.lastSeen = performance.now();
                 setInterval(() => {{
                     if (heartchain.peers().some(p => p.peerId === {id})) globalThis.lastSeen = performance.now();
                 }}, 50)"
            ))
            .await?;
        let absent = "performance.now() - globalThis.lastSeen";
        until_above(&flooded, absent, BANNED.as_millis()).await?;
        let grown = wasm_bytes(&flooded).await? - before;
        let sent = attacker.evaluate("heartchainFlood.sent").await?;
        println!("grown by {grown} bytes of memory, {sent} bytes sent");
        ensure!(grown <= MAX_GROWTH, "grown by {grown} bytes for {sent}");
        other.enter(73).await?;
        agreement(&[&flooded, &other], 2).await?;
        Ok(())
    })
    .await
}

/// Waits until the value of an expression is above `least`. No event announces that time has passed.
async fn until_above(tab: &Tab, expression: &str, least: u128) -> Result<()> {
    let condition = format!("{expression} > {least}");
    let holds = async {
        while tab.evaluate(&condition).await? != true {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    };
    timeout(BAN_TIMEOUT, holds)
        .await
        .context("the neighbour stays a peer")?
}

/// The size of the tab's WebAssembly memory.
pub(super) async fn wasm_bytes(tab: &Tab) -> Result<f64> {
    // The glue of a running module returns its existing exports.
    let bytes = tab
        .evaluate("import(new URL('pkg/wasm_node.js', document.querySelector('script[src$=\"index.js\"]').src)).then((glue) => glue.default()).then(({ memory }) => memory.buffer.byteLength)")
        .await?;
    bytes.as_f64().context("a number")
}
