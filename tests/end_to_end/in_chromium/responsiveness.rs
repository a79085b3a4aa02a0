//! Measures whether a person can type while a tab does long work: start, export, import, and catching up with another tab.
//! The normal run is short, so that the measuring code stays tested. `HEARTCHAIN_BENCH` measures the workloads of
//! docs/benchmarks.md, at the computer's speed and four times slower, as on a phone.

use std::{
    env, fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream::FuturesUnordered};
use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    key::SecretKey,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};
use heartchain_test_support::Branch;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::long_chain;
use crate::harness::{Outcome, Tab, TestEnv, run_test};

/// Authors of a chain at the most. Each records several readings per block if blocks have more readings.
const MAX_AUTHORS: u64 = 64;
/// Milliseconds from block to block: the room's block interval, so that the difficulty stays at the floor.
const STEP: u64 = 1_000;
/// Time between two key presses.
const KEY_INTERVAL: Duration = Duration::from_millis(100);
/// Time limit of each job: many times what is measured.
pub(super) const LIMIT: Duration = Duration::from_secs(300);
/// Length in UTF-16 units of the pieces in which an exported file moves from tab to tab.
const FILE_PIECE: usize = 4_000_000;
/// Event Timing reports no event that was faster, in ms.
const FASTEST_REPORTED_MS: f64 = 16.0;

/// Records long tasks and how long key presses take until the next frame. A reload records from the start.
const OBSERVE: &str = "globalThis.observed = { tasks: [], keys: [] };
    new PerformanceObserver((list) => observed.tasks.push(...list.getEntries().map(({ duration }) => duration)))
        .observe({ type: 'longtask', buffered: true });
    new PerformanceObserver((list) => observed.keys.push(
        ...list.getEntries().filter(({ name }) => name === 'keydown').map(({ duration }) => duration)))
        .observe({ type: 'event', durationThreshold: 16 });";

/// Environment variable with a folder for CPU profiles of the page's thread, one for each job. DevTools opens them. They name the
/// functions of a wasm that was built with `HEARTCHAIN_WASM_NAMES=1`.
const PROFILES: &str = "HEARTCHAIN_PROFILES";
/// Time between two samples of a profile, in microseconds.
const SAMPLE_INTERVAL: u32 = 500;

/// One chain, and how much slower than the computer the measured tab runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    pub(super) blocks: u64,
    /// Readings per block.
    pub(super) readings: u64,
    pub(super) slowdown: u32,
}

#[tokio::test]
async fn typing_works_during_long_work() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        println!("| work | chain | slower | took | thread busy | longest task | long tasks in all | key p50 | p95 | slowest | keys |");
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for workload in workloads()? {
            measure(env, workload)
                .await
                .with_context(|| format!("{workload:?}"))?;
        }
        Ok(())
    })
    .await
}

/// `HEARTCHAIN_WORKLOADS` names others, as `blocks x readings x slowdown`: `100x1024x4,5000x10x1`.
fn workloads() -> Result<Vec<Workload>> {
    let default = if env::var_os("HEARTCHAIN_BENCH").is_some() {
        "100x1024x1,100x1024x4,5000x10x1,5000x10x4"
    } else {
        "4x1024x1"
    };
    let named = env::var("HEARTCHAIN_WORKLOADS").unwrap_or_else(|_| default.to_owned());
    let parse = |text: &str| {
        let numbers: Vec<u64> = text.split('x').map(str::parse).collect::<Result<_, _>>()?;
        let [blocks, readings, slowdown] = numbers[..] else {
            anyhow::bail!("{text} is no workload");
        };
        let slowdown = u32::try_from(slowdown)?;
        Ok(Workload {
            blocks,
            readings,
            slowdown,
        })
    };
    named.split(',').map(parse).collect()
}

async fn measure(env: &mut TestEnv, workload: Workload) -> Result<()> {
    let name = format!("busy {}x{}", workload.blocks, workload.readings);
    let room = Room::new(RoomParams::with_defaults(RoomName::new(&name)?));
    let page = format!("{}#room={}", env.relay.page(), name.replace(' ', "%20"));
    let chain = tokio::task::spawn_blocking({
        let room = room.clone();
        move || grow(&room, workload)
    })
    .await??;
    let tip = chain.last().context("an empty chain")?.header.hash();
    let whole = format!("node => node.status().tip.hash === '{tip}'");

    let a = long_chain::open_with_chain(env, &room, &chain, &page).await?;
    a.until_within(LIMIT, "its chain", &whole).await?;
    a.evaluate("heartchain.isolate(true)").await?;
    let file = file_of(&a, "exportJson").await?;

    let b = fresh_tab(env, &page, workload).await?;
    hand_over(&b, &file).await?;
    let import = "heartchain.importJson(file).then(() => heartchain.status().tip.hash)";
    let result = busy(&b, "import", workload, import).await?;
    ensure!(result == json!(tip.to_string()), "imported up to {result}");
    b.close().await?;

    let c = fresh_tab(env, &page, workload).await?;
    c.evaluate("heartchain.isolate(false)").await?;
    a.evaluate("heartchain.isolate(false)").await?;
    let caught_up = format!(
        "heartchainTest.untilNode({whole}, {}).then(() => 0)",
        LIMIT.as_millis()
    );
    busy(&c, "catch-up", workload, &caught_up).await?;
    a.close().await?;

    busy(
        &c,
        "export",
        workload,
        "heartchain.exportJson().then(({ size }) => size)",
    )
    .await?;
    busy(
        &c,
        "check of a block",
        workload,
        "heartchain.blocks(2, 2).then(([block]) => heartchain.check(block)).then(() => 0)",
    )
    .await?;
    let began = (Instant::now(), 0.0);
    start_profile(&c).await?;
    c.reload().await?;
    c.evaluate(OBSERVE).await?;
    c.until_within(LIMIT, "its chain", &whole).await?;
    c.until_within(
        LIMIT,
        "everything checked",
        "node => node.status().storage.unchecked === 0",
    )
    .await?;
    report(&c, "start", workload, began, 0).await?;
    c.close().await
}

/// A tab without a chain or peers, slowed down, with the form's field in focus.
async fn fresh_tab(env: &mut TestEnv, page: &str, workload: Workload) -> Result<Tab> {
    let tab = env.browser.open(page).await?;
    tab.until("the node", "() => true").await?;
    tab.evaluate("heartchain.isolate(true)").await?;
    let rate = json!({ "rate": workload.slowdown });
    tab.call("Emulation.setCPUThrottlingRate", rate).await?;
    tab.focus("spinbutton", "Heart rate (BPM)").await?;
    tab.evaluate(OBSERVE).await?;
    Ok(tab)
}

/// Types while the page does some work, and prints how it felt. Returns the work's result.
async fn busy(tab: &Tab, what: &str, workload: Workload, work: &str) -> Result<Value> {
    tab.evaluate("observed.tasks.length = observed.keys.length = 0")
        .await?;
    start_profile(tab).await?;
    let began = (Instant::now(), tab.busy_seconds().await?);
    // Key presses are sent on time, whether or not the page has answered the ones before.
    let mut presses = FuturesUnordered::new();
    let mut clock = interval(KEY_INTERVAL);
    let mut working = std::pin::pin!(tab.evaluate(work));
    let mut keys = 0;
    let result = loop {
        tokio::select! {
            result = &mut working => break result?,
            _ = clock.tick() => {
                keys += 1;
                let digit = keys % 2 == 1;
                presses.push(async move {
                    if digit { tab.character("7").await } else { tab.backspace().await }
                });
            }
            Some(pressed) = presses.next() => pressed?,
        }
    };
    while let Some(pressed) = presses.next().await {
        pressed?;
    }
    report(tab, what, workload, began, keys).await?;
    Ok(result)
}

async fn start_profile(tab: &Tab) -> Result<()> {
    if env::var_os(PROFILES).is_some() {
        tab.call("Profiler.enable", json!({})).await?;
        let interval = json!({ "interval": SAMPLE_INTERVAL });
        tab.call("Profiler.setSamplingInterval", interval).await?;
        tab.call("Profiler.start", json!({})).await?;
    }
    Ok(())
}

async fn end_profile(tab: &Tab, what: &str, workload: Workload) -> Result<()> {
    if let Some(folder) = env::var_os(PROFILES) {
        let answer = tab.call("Profiler.stop", json!({})).await?;
        let Workload {
            blocks,
            readings,
            slowdown,
        } = workload;
        let name = format!("{what} {blocks}x{readings}x{slowdown}.cpuprofile");
        fs::write(Path::new(&folder).join(name), answer["profile"].to_string())?;
    }
    Ok(())
}

async fn report(
    tab: &Tab,
    what: &str,
    workload: Workload,
    began: (Instant, f64),
    keys: usize,
) -> Result<()> {
    let took = began.0.elapsed().as_secs_f64();
    let worked = tab.busy_seconds().await? - began.1;
    end_profile(tab, what, workload).await?;
    // Entries arrive after the next frames.
    let observed = tab
        .evaluate("new Promise((done) => setTimeout(() => done(observed), 500))")
        .await?;
    let mut tasks = numbers(&observed["tasks"])?;
    let mut pressed = numbers(&observed["keys"])?;
    pressed.resize(keys.max(pressed.len()), FASTEST_REPORTED_MS);
    for list in [&mut tasks, &mut pressed] {
        list.sort_by(f64::total_cmp);
    }
    let Workload {
        blocks,
        readings,
        slowdown,
    } = workload;
    let longest = tasks.last().copied().unwrap_or_default();
    let total = tasks.iter().sum::<f64>() / 1_000.0;
    let [p50, p95, slowest] = [0.5, 0.95, 1.0].map(|part| quantile(&pressed, part));
    println!(
        "| {what} | {blocks} x {readings} | {slowdown} | {took:.1} s | {worked:.1} s | {longest:.0} ms | {total:.1} s in {} | {p50:.0} ms | {p95:.0} ms | {slowest:.0} ms | {keys} |",
        tasks.len()
    );
    Ok(())
}

fn numbers(value: &Value) -> Result<Vec<f64>> {
    let list = value.as_array().context("a list")?;
    list.iter()
        .map(|number| number.as_f64().context("a number"))
        .collect()
}

/// The smallest value that at least this part of the sorted values does not exceed.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a position in a short list"
    )]
    let position = (part * sorted.len() as f64).ceil() as usize;
    let found = sorted.get(position.saturating_sub(1));
    found.copied().unwrap_or_default()
}

/// The text of an exported file.
pub(super) async fn file_of(tab: &Tab, export: &str) -> Result<String> {
    let text = tab
        .evaluate(&format!(
            "heartchain.{export}().then((blob) => blob.text())"
        ))
        .await?;
    Ok(text.as_str().context("a file is text")?.to_owned())
}

/// Makes the text of a file the page's variable `file`, read as a file that a person chooses is. A text that was joined from pieces
/// would be copied once more when it is used first.
pub(super) async fn hand_over(tab: &Tab, file: &str) -> Result<()> {
    for piece in pieces(file) {
        let add = format!("(globalThis.pieces ??= []).push({})", json!(piece));
        tab.evaluate(&add).await?;
    }
    let read =
        "new Blob(pieces.splice(0)).text().then((text) => { globalThis.file = text; return 0; })";
    tab.evaluate(read).await?;
    Ok(())
}

/// A text in pieces that fit into DevTools messages. An export is ASCII if its room's name is.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let ends = (0..text.len()).step_by(FILE_PIECE);
    ends.filter_map(|from| text.get(from..text.len().min(from + FILE_PIECE)))
}

/// Mines a chain that ends about now.
pub(super) fn grow(room: &Room, workload: Workload) -> Result<Vec<Block>> {
    let authors = workload.readings.min(MAX_AUTHORS);
    let keys: Vec<SecretKey> = (1..=authors)
        .map(|number| Ok(SecretKey::from_seed([u8::try_from(number)?; 32])))
        .collect::<Result<_>>()?;
    let each = workload.readings / authors;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let start = now - STEP * (workload.blocks + 60);
    let mut branch = Branch::in_room(room);
    for index in 0..workload.blocks {
        let time = start + STEP * index;
        let mut readings = Vec::new();
        for seq in index * each..(index + 1) * each {
            let bpm = Bpm::new(60 + u16::try_from(seq % 100)?)?;
            let sign = |key: &SecretKey| key.sign(room.id(), seq, UnixMillis::new(time), bpm);
            readings.extend(keys.iter().map(sign));
        }
        branch.push_at(readings, time);
    }
    Ok(branch.blocks)
}
