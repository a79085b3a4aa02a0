//! The verification workers: one reads a long import, and another verifies what a catch-up brings. A tab whose workers are
//! blocked, fail or are killed in the middle gets the same chain without them.

use anyhow::{Context as _, Result, ensure};
use heartchain_chain::room::{Room, RoomName, RoomParams};
use serde_json::{Value, json};

use super::{
    long_chain,
    responsiveness::{self, LIMIT, Workload},
};
use crate::harness::{Outcome, Tab, TestEnv, run_test};

/// Nine tasks for a worker.
const CHAIN: Workload = Workload {
    blocks: 9,
    readings: 1_024,
    slowdown: 1,
};

/// Counts the verification workers of a tab and their results: chunks of a file, and other bodies. `FAULT` is what happens to a new
/// one: another script answers with an error, and a worker that was killed with nothing.
const WATCH: &str = r#"
    globalThis.verifier = { started: 0, read: 0, verified: 0 };
    globalThis.Worker = class extends Worker {
        constructor(url, options) {
            const verifies = String(url).endsWith("verifier.js");
            const fault = "FAULT";
            if (verifies && fault === "blocked") throw new DOMException("blocked", "SecurityError");
            super(verifies && fault === "failing" ? new URL("miner.js", url) : url, options);
            if (!verifies) return;
            verifier.started += 1;
            let done = 0;
            this.addEventListener("message", ({ data }) => {
                for (const [name, count] of [["blocks", "read"], ["verified", "verified"]]) {
                    if (!(name in data)) continue;
                    verifier[count] += 1;
                    done += 1;
                }
                if (fault === "killed" && done === 2) this.terminate();
            });
        }
    };"#;

#[tokio::test]
async fn tab_catches_up_with_or_without_verifier() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let room = Room::new(RoomParams::with_defaults(RoomName::new("verified")?));
        let page = format!("{}#room=verified", env.relay.page());
        let chain = tokio::task::spawn_blocking({
            let room = room.clone();
            move || responsiveness::grow(&room, CHAIN)
        })
        .await??;
        let tip = chain.last().context("an empty chain")?.header.hash();
        let source = long_chain::open_with_chain(env, &room, &chain, &page).await?;
        let whole = format!("node => node.status().tip.hash === '{tip}'");
        source.until_within(LIMIT, "its chain", &whole).await?;
        source.evaluate("heartchain.isolate(true)").await?;
        let file = responsiveness::file_of(&source, "exportJson").await?;
        // Where the reading worker is of no use, another one verifies the signatures, if it can.
        for (fault, started, read, verified) in [
            ("none", 1, CHAIN.blocks, 0),
            ("killed", 2, 2, 2),
            ("failing", 2, 0, 0),
            ("blocked", 0, 0, 0),
        ] {
            let script = WATCH.replace("FAULT", fault);
            let tab = env.browser.open_with(&page, &script).await?;
            tab.until("the node", "() => true").await?;
            tab.evaluate("heartchain.isolate(true)").await?;
            responsiveness::hand_over(&tab, &file).await?;
            let imported = tab.evaluate("heartchain.importJson(file)").await?;
            ensure!(
                imported["newBlocks"] == CHAIN.blocks,
                "{fault}: imported {imported}"
            );
            tab.until("all of the chain", &whole).await?;
            let verifier = watched(&tab).await?;
            let expected = json!({ "started": started, "read": read, "verified": verified });
            ensure!(verifier == expected, "{fault}: {verifier}");
            tab.close().await?;
        }

        source.evaluate("heartchain.isolate(false)").await?;
        for (fault, least) in [("none", 1), ("killed", 1), ("blocked", 0)] {
            let script = WATCH.replace("FAULT", fault);
            let tab = env.browser.open_with(&page, &script).await?;
            tab.until_within(LIMIT, "the chain from its peer", &whole)
                .await?;
            let verifier = watched(&tab).await?;
            let done = verifier["verified"].as_u64().context("a number")?;
            ensure!(done >= least, "{fault}: {verifier}");
            tab.close().await?;
        }
        Ok(())
    })
    .await
}

async fn watched(tab: &Tab) -> Result<Value> {
    tab.evaluate("verifier").await
}
