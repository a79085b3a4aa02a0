//! A first visit on a slow phone: the form works long before the wasm is there, and keeps what is entered meanwhile.
//! `HEARTCHAIN_BENCH=5` measures five visits on each network, for docs/benchmarks.md.

use std::env;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::figures::MARKS;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// How many times slower the processor is than this computer's.
const CPU_RATE: u32 = 4;

/// Names, round trips in ms, and kilobits a second of networks: what Lighthouse and Chromium's DevTools call slow 4G.
const NETWORKS: [(&str, f64, f64); 2] = [
    ("slow 4G of Lighthouse", 150.0, 1_600.0),
    ("slow 4G of DevTools", 562.5, 1_440.0),
];

/// Enters a heart rate once the form is there, as a person does who does not wait for the rest.
const ENTER_EARLY: &str = r#"
    (async () => {
        while (!globalThis.marks.form) await new Promise((next) => setTimeout(next, 10));
        document.querySelector('#bpm').value = '72';
        document.querySelector('record-form form').requestSubmit();
        await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
        const wasm = performance.getEntriesByType('resource').find(({ name }) => name.endsWith('.wasm'));
        return {
            words: document.querySelector('.recorded').textContent,
            waits: globalThis.heartchain === undefined && !(wasm?.responseEnd > 0),
        };
    })()
"#;

#[tokio::test]
async fn first_reading_is_kept_while_the_wasm_loads() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let runs: usize = env::var("HEARTCHAIN_BENCH").map_or(Ok(1), |runs| runs.parse())?;
        let page = env.relay.page().to_owned();
        for (network, round_trip_ms, kilobits) in NETWORKS {
            let (mut form, mut node) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                let tab = env.browser.open_with("about:blank", MARKS).await?;
                slow_down(&tab, round_trip_ms, kilobits).await?;
                tab.go(&page).await?;
                tab.until_page("the page", "() => globalThis.marks").await?;
                let entered = tab.evaluate(ENTER_EARLY).await?;
                ensure!(
                    entered["waits"] == true && entered["words"] == "1 reading is waiting for the page to load, and will be recorded then.",
                    "{network}: {entered}"
                );
                agreement(&[&tab], 1).await?;
                tab.until_shows("record-form", "72 BPM recorded").await?;
                form.push(number(&tab.evaluate("marks.form").await?)?);
                node.push(number(&tab.evaluate("marks.node").await?)?);
                tab.close().await?;
            }
            println!("{network}, CPU x{CPU_RATE}: form {} (target 2,000), node {} (target 5,000)", spread(&mut form), spread(&mut node));
        }
        Ok(())
    })
    .await
}

async fn slow_down(tab: &Tab, round_trip_ms: f64, kilobits: f64) -> Result<()> {
    tab.call(
        "Emulation.setCPUThrottlingRate",
        json!({ "rate": CPU_RATE }),
    )
    .await?;
    tab.call("Network.enable", json!({})).await?;
    let bytes = kilobits * 1_000.0 / 8.0;
    let network = json!({ "offline": false, "latency": round_trip_ms, "downloadThroughput": bytes, "uploadThroughput": bytes / 2.0 });
    tab.call("Network.emulateNetworkConditions", network)
        .await?;
    Ok(())
}

/// Median and range in ms. Sorts the values.
fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let at = |index: usize| times.get(index).copied().unwrap_or(f64::NAN);
    format!(
        "{:.0} ms ({:.0} to {:.0})",
        at(times.len() / 2),
        at(0),
        at(times.len().saturating_sub(1))
    )
}

fn number(value: &Value) -> Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("{value} is not a number"))
}

/// What a finger can hit, and whose text is so small that a phone zooms in when it is focused.
const TOO_SMALL: &str = r#"
    [...document.querySelectorAll('button, input, summary, .segments label')]
        // The whole card opens its block.
        .filter((target) => target.checkVisibility() && !target.matches('.visually-hidden, [type=radio], .block-open'))
        .filter((target) => {
            const { height } = target.getBoundingClientRect();
            const text = Number.parseFloat(getComputedStyle(target).fontSize);
            return height < 44 || (target.matches('input') && text < 16);
        })
        .map((target) => target.id || target.className || target.textContent)
"#;

#[tokio::test]
async fn targets_are_large_enough_for_fingers() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.browser.open("about:blank").await?;
        let touch = json!({ "enabled": true });
        tab.call("Emulation.setTouchEmulationEnabled", touch)
            .await?;
        tab.resize(360, 740).await?;
        tab.go(env.relay.page()).await?;
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        tab.until_shows("your-name", "Not now").await?;
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        tab.until_shows("room-bar", "Open a link").await?;
        let found = tab.evaluate(TOO_SMALL).await?;
        ensure!(found == json!([]), "too small: {found}");
        Ok(())
    })
    .await
}
