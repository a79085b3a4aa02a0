//! A tab with a long chain: how long it takes to open, what it takes on disk and in memory, and how long another tab
//! takes to catch up. Short in the normal run, so that measuring stays tested; `HEARTCHAIN_BENCH` measures 10,000 blocks,
//! and `HEARTCHAIN_BENCH_LONG` 100,000 besides, which takes minutes to mine.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    header::Header,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};
use serde_json::{Value, json};

use super::smooth;
use crate::harness::{Outcome, Stage, Tab, TaskWatch, on_stage};

/// Readings of a block, each of another author.
const READINGS: u8 = 10;
/// Bytes of a reading.
const READING_LEN: f64 = 114.0;
/// Bytes of a block.
const BLOCK_LEN: usize = Header::LEN + 4 + READINGS as usize * Reading::LEN;
/// Blocks of a packed record, as the store packs them.
const SHELF: usize = 256;
/// Ms from block to block: the room's own interval, so that the work stays at the least.
const STEP: u64 = 1_000;
/// Readings that each of two tabs records at ten a second, for the page to be watched meanwhile.
const LIVELY_READINGS: u32 = 60;
/// The longest chain that another tab fetches; of a longer one it is given what is to be on its disk.
const CAUGHT_UP: usize = 10_000;
/// How long opening, or catching up, may take before the test fails: many times what is measured.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_long_chain_is_opened_and_handed_on() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        for blocks in sizes() {
            measure(stage, blocks)
                .await
                .with_context(|| format!("{blocks} blocks"))?;
        }
        Ok(())
    })
    .await
}

fn sizes() -> Vec<usize> {
    let mut sizes = vec![if env::var_os("HEARTCHAIN_BENCH").is_some() {
        10_000
    } else {
        600
    }];
    if env::var_os("HEARTCHAIN_BENCH_LONG").is_some() {
        sizes.push(100_000);
    }
    sizes
}

async fn measure(stage: &mut Stage, blocks: usize) -> Result<()> {
    let name = format!("long {blocks}");
    let room = Room::new(RoomParams::with_defaults(RoomName::new(&name)?));
    let page = format!("{}#room={}", stage.relay.page(), name.replace(' ', "%20"));
    let chain = tokio::task::spawn_blocking({
        let room = room.clone();
        move || grown(&room, blocks)
    })
    .await??;

    let empty = stage.browser.open(&page).await?;
    empty.until("the node", "() => true").await?;
    let memory_before = memory(&empty).await?;
    empty.close().await?;

    let a = opened_on(stage, &room, &chain, &page).await?;
    let here = format!("node => node.status().tip.index === {blocks} && performance.now()");
    let migrated = number(&a.until_within(LIMIT, "its chain", &here).await?)?;
    expect_all_checked(&a).await?;

    let (mut usable, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..openings() {
        a.reload().await?;
        usable.push(number(&a.until_within(LIMIT, "its chain", &here).await?)?);
        verified.push(expect_all_checked(&a).await?);
    }
    let memory = memory(&a).await? - memory_before;
    let usage = number(
        &a.evaluate("navigator.storage.estimate().then(({ usage }) => usage)")
            .await?,
    )?;
    let readings = f64::from(READINGS) * f64::from(u32::try_from(blocks)?);

    println!("| a chain of {blocks} blocks of {READINGS} readings | |\n|---|---|");
    println!(
        "| page start to all of it, usable | {} |",
        spread(&mut usable)
    );
    println!(
        "| page start to all of it, verified | {} |",
        spread(&mut verified)
    );
    println!("| the same, the first time after version 1 of the database | {migrated:.0} ms |");
    println!(
        "| on disk, times the {READING_LEN} bytes of a reading | {:.2} |",
        usage / readings / READING_LEN
    );
    println!("| memory above an empty tab | {:.1} MB |", memory / 1e6);
    if blocks <= CAUGHT_UP {
        hand_on(stage, &a, &page, blocks).await?;
    } else {
        let b = opened_on(stage, &room, &chain, &page).await?;
        expect_all_checked(&b).await?;
        stay_smooth(stage, &a, &b).await?;
        b.close().await?;
    }
    a.close().await
}

/// Another tab fetches all of it; then bodies that the first one's disk garbles come back from there.
async fn hand_on(stage: &mut Stage, a: &Tab, page: &str, blocks: usize) -> Result<()> {
    let here = format!("node => node.status().tip.index === {blocks} && performance.now()");
    let b = stage.browser.open(page).await?;
    b.until("a peer", "node => node.status().peers > 0").await?;
    let began = number(&b.evaluate("performance.now()").await?)?;
    let caught_up = number(&b.until_within(LIMIT, "all of it", &here).await?)? - began;
    ensure!(
        a.tip().await? == b.tip().await?,
        "it caught up with something else"
    );
    let path = b
        .evaluate("heartchain.peers().find(({ path }) => path !== 'relay').path")
        .await?;

    // Its next start reads what it has written itself, most of it packed as it came, and fetches again what it has not.
    let (unpacked, shelves) = (count(&b, "blocks").await?, count(&b, "shelves").await?);
    b.reload().await?;
    let again = number(&b.until_within(LIMIT, "its chain", &here).await?)?;
    expect_all_checked(&b).await?;
    ensure!(
        shelves > 0 && 4 * unpacked <= blocks,
        "{unpacked} of {blocks} blocks are not packed, the others on {shelves} shelves"
    );
    println!("| catching up, tab to tab ({path}) | {caught_up:.0} ms |");
    println!(
        "| page start to all of it in the tab that has just fetched it, with {unpacked} blocks not packed and {shelves} shelves | {again:.0} ms |"
    );

    heal(stage, a, page).await?;
    a.enter(99).await?;
    let next =
        format!("node => node.status().tip.index === {blocks} + 1 && node.status().mempool === 0");
    tokio::try_join!(
        a.until("one more block", &next),
        b.until("one more block", &next)
    )?;
    let newest = b.evaluate("(async () => (await heartchain.blocks(heartchain.status().tip.index, heartchain.status().tip.index))[0].readings.map(({ bpm }) => bpm))()").await?;
    ensure!(newest == json!([99]), "the newest block has {newest}");
    stay_smooth(stage, a, &b).await?;
    b.close().await
}

/// Both record, ten times a second each, and a person looks around in one of them.
async fn stay_smooth(stage: &Stage, a: &Tab, b: &Tab) -> Result<()> {
    a.resize(1280, 900).await?;
    let watch = TaskWatch::begin(&stage.browser).await?;
    for tab in [a, b] {
        tab.evaluate(&format!(
            "globalThis.recording = (async () => {{
                for (let i = 0; i < {LIVELY_READINGS}; i += 1) {{
                    await Promise.all([heartchain.record(60 + (i % 40)), new Promise((done) => setTimeout(done, 100))]);
                }}
            }})(), undefined"
        ))
        .await?;
    }
    smooth::choose_range(a, 0).await?;
    for place in [0.2, 0.9, 0.5, 0.0] {
        smooth::scroll_to(a, place).await?;
    }
    for tab in [a, b] {
        tab.evaluate("recording").await?;
    }
    smooth::expect_short_tasks("20 readings a second from two peers", &watch.end().await?)
}

/// A bit of one shelf is flipped and another shelf is gone: the tab has its whole chain all the same, says what is damaged,
/// and gets it from the other one.
async fn heal(stage: &Stage, a: &Tab, page: &str) -> Result<()> {
    let tip = a.tip().await?;
    a.go(&format!("{}relay.json", stage.relay.page())).await?;
    a.until_page("no node", "() => typeof heartchain === 'undefined'")
        .await?;
    a.evaluate(
        r#"(async () => {
            const asked = (request) => new Promise((done, failed) => {
                request.onsuccess = () => done(request.result);
                request.onerror = () => failed(request.error);
            });
            const names = (await indexedDB.databases()).map(({ name }) => name);
            const database = await asked(indexedDB.open(names.find((name) => name.startsWith("heartchain/"))));
            const writing = database.transaction("shelves", "readwrite");
            const shelves = writing.objectStore("shelves");
            const bytes = new Uint8Array(await asked(shelves.get(257)));
            bytes[bytes.length - 1] ^= 1;
            shelves.put(bytes.buffer, 257);
            shelves.delete(1);
            await new Promise((done, failed) => { writing.oncomplete = done; writing.onabort = failed; });
            database.close();
        })()"#,
    )
    .await?;
    a.go(page).await?;
    let lost = SHELF + 1;
    let said = format!("node => node.status().storage.healed === {lost}");
    a.until("what was damaged", &said).await?;
    a.until_shows("page-notices", &format!("{lost} damaged records"))
        .await?;
    ensure!(a.tip().await? == tip, "something was cut off");
    a.evaluate(
        "(async () => { globalThis.again = 0; const look = () => heartchain.blocks(1, 512).then(({ length }) => { again = length; }, () => {}); heartchain.addEventListener('status', look); await look(); })()",
    )
    .await?;
    a.until("all bodies again", "() => again === 512").await?;
    a.reload().await?;
    expect_all_checked(a).await?;
    Ok(())
}

/// How many records a store of the tab's database has.
async fn count(tab: &Tab, store: &str) -> Result<usize> {
    let count = tab
        .evaluate(&format!(
            r#"(async () => {{
                const asked = (request) => new Promise((done, failed) => {{
                    request.onsuccess = () => done(request.result);
                    request.onerror = () => failed(request.error);
                }});
                const slot = heartchain.status().storage.slot;
                const databases = await indexedDB.databases();
                const mine = databases.find(({{ name }}) => name.startsWith("heartchain/") && name.endsWith(`/${{slot}}`));
                const database = await asked(indexedDB.open(mine.name));
                const count = await asked(database.transaction("{store}").objectStore("{store}").count());
                database.close();
                return count;
            }})()"#
        ))
        .await?;
    let count = count
        .as_u64()
        .with_context(|| format!("{count} is no number"))?;
    Ok(usize::try_from(count)?)
}

/// Waits until all that is on disk was checked; returns when that was. Nothing was damaged.
async fn expect_all_checked(tab: &Tab) -> Result<f64> {
    let checked = "node => node.status().storage.unchecked === 0 && performance.now()";
    let checked = tab
        .until_within(LIMIT, "everything checked", checked)
        .await?;
    let storage = tab.status().await?["storage"].take();
    ensure!(storage["healed"] == 0, "something was damaged: {storage}");
    number(&checked)
}

/// How often the chain is opened.
fn openings() -> usize {
    let benches = ["HEARTCHAIN_BENCH", "HEARTCHAIN_BENCH_LONG"];
    if benches.iter().any(|name| env::var_os(name).is_some()) {
        5
    } else {
        1
    }
}

/// The median, and from where to where.
fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let [first, .., last] = &*times else {
        return times.iter().map(|time| format!("{time:.0} ms")).collect();
    };
    let median = times.get(times.len() / 2).unwrap_or(first);
    format!(
        "{median:.0} ms ({first:.0} to {last:.0}, {} runs)",
        times.len()
    )
}

/// The chain, as it was mined by an earlier run, or mined now.
fn grown(room: &Room, blocks: usize) -> Result<Vec<Block>> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("long-{blocks}.chain"));
    if let Ok(bytes) = fs::read(&path) {
        let encoded = bytes.chunks(BLOCK_LEN).map(Block::decode);
        return Ok(encoded.collect::<Result<_, _>>()?);
    }
    let chain = grow(room, blocks)?;
    let bytes: Vec<u8> = chain.iter().flat_map(Block::encode).collect();
    // Whole or not at all.
    let making = path.with_extension("making");
    fs::write(&making, bytes)?;
    fs::rename(making, path)?;
    Ok(chain)
}

/// A chain up to now. Each author records once a block.
fn grow(room: &Room, blocks: usize) -> Result<Vec<Block>> {
    let keys: Vec<SecretKey> = (1..=READINGS)
        .map(|number| SecretKey::from_seed([number; 32]))
        .collect();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let start = now - STEP * (blocks as u64 + 60);
    let mut window = Window::genesis(room);
    let mut tip = room.genesis_hash();
    let mut chain = Vec::with_capacity(blocks);
    for seq in 0..blocks as u64 {
        let time = UnixMillis::new(start + STEP * seq);
        let bpm = Bpm::new(60 + u16::try_from(seq % 100)?)?;
        let readings: Vec<_> = keys
            .iter()
            .map(|key| key.sign(room.id(), seq, time, bpm))
            .collect();
        let template = mining::template(&window, tip, time, &readings);
        let header = mining::mine(template, u32::MAX).context("no nonce")?;
        window.push(&header);
        tip = header.hash();
        chain.push(Block { header, readings });
    }
    Ok(chain)
}

/// A tab that opens the page with this chain on its disk.
async fn opened_on(stage: &mut Stage, room: &Room, chain: &[Block], page: &str) -> Result<Tab> {
    // No node runs there, though it is the same origin.
    let empty = format!("{}relay.json", stage.relay.page());
    let tab = stage.browser.open(&empty).await?;
    store(&tab, room, chain).await?;
    tab.go(page).await?;
    Ok(tab)
}

/// Puts the chain where a tab keeps it, as a tab does.
async fn store(tab: &Tab, room: &Room, chain: &[Block]) -> Result<()> {
    let name = format!("heartchain/{}/0", room.id());
    tab.evaluate(&format!(
        r#"(async () => {{
            const asked = (request) => new Promise((done, failed) => {{
                request.onsuccess = () => done(request.result);
                request.onerror = () => failed(request.error);
            }});
            const opening = indexedDB.open({}, 1);
            opening.onupgradeneeded = () => ["meta", "keys", "journal", "rescue", "blocks", "shelves"]
                .forEach((store) => opening.result.createObjectStore(store));
            const database = await asked(opening);
            globalThis.keep = async (first, hex) => {{
                const bytes = Uint8Array.from(hex.match(/../g), (digits) => parseInt(digits, 16));
                const writing = database.transaction("shelves", "readwrite");
                writing.objectStore("shelves").put(bytes.buffer, first);
                await new Promise((done, failed) => {{ writing.oncomplete = done; writing.onabort = failed; }});
            }};
            globalThis.end = () => database.close();
        }})()"#,
        json!(name)
    ))
    .await?;
    for (shelf, first) in chain.chunks(SHELF).zip((1..).step_by(SHELF)) {
        let mut hex = String::new();
        for byte in shelf.iter().flat_map(Block::encode) {
            write!(hex, "{byte:02x}")?;
        }
        tab.evaluate(&format!("keep({first}, '{hex}')")).await?;
    }
    tab.evaluate("end()").await?;
    Ok(())
}

/// Bytes of memory that the page holds: JavaScript's, the document's, and WebAssembly's, which DevTools leave out.
async fn memory(tab: &Tab) -> Result<f64> {
    tab.call("HeapProfiler.collectGarbage", json!({})).await?;
    let said = tab.call("Runtime.getHeapUsage", json!({})).await?;
    let parts = ["usedSize", "embedderHeapUsedSize", "backingStorageSize"];
    let scripts: f64 = parts.iter().filter_map(|part| said[part].as_f64()).sum();
    // Of a module that runs already the glue gives what it exports.
    let wasm = tab
        .evaluate("import(new URL('pkg/wasm_node.js', document.querySelector('script[src$=\"index.js\"]').src)).then((glue) => glue.default()).then(({ memory }) => memory.buffer.byteLength)")
        .await?;
    Ok(scripts + number(&wasm)?)
}

fn number(value: &Value) -> Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("{value} is no number"))
}
