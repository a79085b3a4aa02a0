//! Measures the README's figures: sizes, and latencies as a person experiences them. Without `HEARTCHAIN_BENCH` each is
//! measured once, so that the measuring code stays tested; `HEARTCHAIN_BENCH=20` measures twenty times.

use std::env;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// Notes when the form takes a reading (the module that defines it has run to its end) and when the page has its node, in ms
/// since the start of the page.
pub(super) const MARKS: &str = r#"
    globalThis.marks = {};
    const define = CustomElementRegistry.prototype.define;
    CustomElementRegistry.prototype.define = function (name, ...rest) {
        define.call(this, name, ...rest);
        if (name === 'record-form') queueMicrotask(() => (marks.form = performance.now()));
    };
    const seen = setInterval(() => {
        if (globalThis.heartchain === undefined) return;
        marks.node = performance.now();
        clearInterval(seen);
    }, 1);
"#;

/// The measured values of one figure.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    values: Vec<f64>,
}

#[tokio::test]
async fn figures_of_the_readme() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let runs = runs()?;
        let mut figures = Vec::new();
        let a = env.tab().await?;
        a.until("the node", "() => true").await?;
        figures.extend(sizes(&a).await?);

        let mut form = Figure::new("page start to a form that takes a reading", "ms");
        let mut node = Figure::new("page start to a running node", "ms");
        let mut first_peer = Figure::new("page start to first synced peer", "ms");
        for _ in 0..runs {
            let b = env.browser.open_with(env.relay.page(), MARKS).await?;
            b.until_page("the marks", "() => marks.form && marks.node")
                .await?;
            form.values.push(number(&b.evaluate("marks.form").await?)?);
            node.values.push(number(&b.evaluate("marks.node").await?)?);
            first_peer.values.push(time_to_first_peer(&b).await?);
            b.close().await?;
            a.until_peers(0).await?;
        }
        figures.extend([form, node, first_peer]);

        let b = env.tab().await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        let mut shown = Figure::new("entering a BPM to its appearance in another tab", "ms");
        let mut mined = Figure::new("entering a BPM to its block in another tab", "ms");
        for run in 0..runs {
            let (waiting, in_block) = time_to_other_tab(&a, &b, run).await?;
            shown.values.push(waiting);
            mined.values.push(in_block);
            agreement(&[&a, &b], run + 1).await?;
        }
        figures.extend([shown, mined]);

        let mut speed = Figure::new("hashes in the mining worker", "1/s");
        for _ in 0..runs.min(5) {
            speed.values.push(hashes_per_second(&a).await?);
        }
        figures.push(speed);
        print(&figures);
        Ok(())
    })
    .await
}

/// How often to measure.
fn runs() -> Result<usize> {
    match env::var("HEARTCHAIN_BENCH") {
        Ok(number) => {
            let runs = number.parse().context("HEARTCHAIN_BENCH is not a number")?;
            ensure!(
                (1..=380).contains(&runs),
                "HEARTCHAIN_BENCH takes 1 to 380 runs, not {runs}"
            );
            Ok(runs)
        }
        Err(_) => Ok(1),
    }
}

/// Sizes of the wasm package's files, as transferred and as decoded.
async fn sizes(tab: &Tab) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (file, raw, sent) in [
        ("wasm_node_bg.wasm", "wasm, raw", "wasm, as sent"),
        ("wasm_node.js", "glue, raw", "glue, as sent"),
    ] {
        let of_file = format!(
            "performance.getEntriesByType('resource').find(e => e.name.endsWith('/pkg/{file}'))"
        );
        for (name, field) in [(raw, "decodedBodySize"), (sent, "encodedBodySize")] {
            let bytes = number(&tab.evaluate(&format!("{of_file}.{field}")).await?)?;
            figures.push(Figure {
                values: vec![bytes / 1000.0],
                ..Figure::new(name, "kB")
            });
        }
    }
    Ok(figures)
}

/// Time from the start of the page load until the node has a peer and is in sync.
async fn time_to_first_peer(tab: &Tab) -> Result<f64> {
    let holds = "node => { const s = node.status(); return s.peers > 0 && s.state === 'synced' && performance.now(); }";
    number(&tab.until("a synced peer", holds).await?)
}

/// Time from pressing Enter in `a` until the reading is visible in `b`: waiting, and in a block.
async fn time_to_other_tab(a: &Tab, b: &Tab, run: usize) -> Result<(f64, f64)> {
    let bpm = u16::try_from(run + 20)?;
    let clock = "performance.timeOrigin + performance.now()";
    a.evaluate(&format!(
        "addEventListener('submit', () => (globalThis.submittedAt = {clock}), {{ capture: true, once: true }})"
    ))
    .await?;
    let seen = |list: &str| {
        format!("() => document.querySelector('{list} data.bpm[value=\"{bpm}\"]') && {clock}")
    };
    let waiting = seen(":is(pending-list, chain-list)");
    let in_block = seen("chain-list");
    let (_, waiting, in_block) = tokio::try_join!(
        a.enter(bpm),
        b.until_page("the reading", &waiting),
        b.until_page("the reading in a block", &in_block),
    )?;
    let start = number(&a.evaluate("globalThis.submittedAt").await?)?;
    Ok((number(&waiting)? - start, number(&in_block)? - start))
}

/// Runs the page's mining worker for some seconds on a header that no nonce solves.
async fn hashes_per_second(tab: &Tab) -> Result<f64> {
    let measure = r#"
        (async () => {
            const near = (file) => new URL(file, document.querySelector('script[src$="index.js"]').src);
            const module = await WebAssembly.compileStreaming(fetch(near('pkg/wasm_node_bg.wasm')));
            const worker = new Worker(near('miner.js'), { type: 'module' });
            const header = new Uint8Array(93);
            header.set([1, 0, 0, 3], 81); // bits 0x03000001: a target of 1
            let hashes = 0, ms = 0;
            return new Promise((resolve, reject) => {
                worker.onmessage = ({ data }) => {
                    if (data.error) reject(new Error(data.error));
                    if (data.ready) worker.postMessage({ id: 1, header, start: '0' });
                    if (data.hashes === undefined) return;
                    hashes += data.hashes;
                    ms += data.ms;
                    if (ms < 3000) return;
                    worker.terminate();
                    resolve(hashes / ms * 1000);
                };
                worker.postMessage({ module });
            });
        })()"#;
    number(&tab.evaluate(measure).await?)
}

fn number(value: &Value) -> Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("{value} is not a number"))
}

/// Prints the figures as a Markdown table.
fn print(figures: &[Figure]) {
    println!("\n| figure | median | least | most | unit | runs |\n|---|---|---|---|---|---|");
    for figure in figures {
        let mut sorted = figure.values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (median, most) = (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)));
        println!(
            "| {} | {median:.0} | {:.0} | {most:.0} | {} | {} |",
            figure.name,
            at(0),
            figure.unit,
            sorted.len()
        );
    }
}

impl Figure {
    const fn new(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            values: Vec::new(),
        }
    }
}
