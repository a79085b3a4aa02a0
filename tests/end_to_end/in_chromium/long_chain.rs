//! Measures a tab with a long chain: how long it takes to open, how much disk and memory it uses, and how long another
//! tab takes to catch up. The normal run is short, so that the measuring code stays tested. `HEARTCHAIN_BENCH` measures
//! 10,000 blocks, and `HEARTCHAIN_BENCH_LONG` also 100,000, which take minutes to mine.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    content::ReadingForm,
    header::Header,
    key::SecretKey,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};
use heartchain_test_support::Branch;
use serde_json::{Value, json};

use super::smoothness;
use crate::harness::{Outcome, Tab, TaskTrace, TestEnv, run_test};

/// Readings per block, each of another author.
const READINGS: u8 = 10;
/// Encoded length of a reading, in bytes.
const READING_LEN: f64 = 114.0;
/// Encoded length of a block, in bytes.
const BLOCK_LEN: usize = Header::LEN + 4 + READINGS as usize * ReadingForm::Open.reading_len();
/// Blocks per segment at the most, as the store packs them.
const BLOCKS_PER_SEGMENT: usize = 256;
/// Bytes per segment at the most, in which the store reads it.
const SEGMENT_LEN: usize = 512 * 1024;
/// Milliseconds from block to block: the room's block interval, so that the difficulty stays at the floor.
const STEP: u64 = 1_000;
/// Readings that each of two tabs records at ten per second while the page is traced.
const LIVELY_READINGS: u32 = 60;
/// The longest chain that the second tab fetches. A longer one is written to its disk instead.
const MAX_FETCHED: usize = 10_000;
/// Time limit of opening or catching up: many times what is measured.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn long_chain_opens_and_syncs() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        for blocks in sizes() {
            measure(env, blocks)
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

async fn measure(env: &mut TestEnv, blocks: usize) -> Result<()> {
    let name = format!("long {blocks}");
    let room = Room::new(RoomParams::with_defaults(RoomName::new(&name)?));
    let page = format!("{}#room={}", env.relay.page(), name.replace(' ', "%20"));
    let chain = tokio::task::spawn_blocking({
        let room = room.clone();
        move || cached_chain(&room, blocks)
    })
    .await??;

    let empty = env.browser.open(&page).await?;
    empty.until("the node", "() => true").await?;
    let memory_before = memory(&empty).await?;
    empty.close().await?;

    let a = open_with_chain(env, &room, &chain, &page).await?;
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
    if blocks <= MAX_FETCHED {
        sync_to_second_tab(env, &a, &page, blocks).await?;
    } else {
        let b = open_with_chain(env, &room, &chain, &page).await?;
        expect_all_checked(&b).await?;
        stay_smooth(env, &a, &b).await?;
        b.close().await?;
    }
    a.close().await
}

/// Another tab fetches the whole chain; then it supplies the bodies that the first tab's disk has damaged.
async fn sync_to_second_tab(env: &mut TestEnv, a: &Tab, page: &str, blocks: usize) -> Result<()> {
    let here = format!("node => node.status().tip.index === {blocks} && performance.now()");
    let b = env.browser.open(page).await?;
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

    // The next start reads what the tab has written, most of it packed as it arrived, and fetches what is missing.
    let (unpacked, segments) = (count(&b, "blocks").await?, count(&b, "shelves").await?);
    b.reload().await?;
    let again = number(&b.until_within(LIMIT, "its chain", &here).await?)?;
    expect_all_checked(&b).await?;
    ensure!(
        segments > 0 && 4 * unpacked <= blocks,
        "{unpacked} of {blocks} blocks are not packed, the others in {segments} segments"
    );
    println!("| catching up, tab to tab ({path}) | {caught_up:.0} ms |");
    println!(
        "| page start to all of it in the tab that has just fetched it, with {unpacked} blocks not packed and {segments} segments | {again:.0} ms |"
    );

    damage_and_repair(env, a, page).await?;
    a.enter(99).await?;
    let next =
        format!("node => node.status().tip.index === {blocks} + 1 && node.status().mempool === 0");
    tokio::try_join!(
        a.until("one more block", &next),
        b.until("one more block", &next)
    )?;
    let newest = b.evaluate("(async () => (await heartchain.blocks(heartchain.status().tip.index, heartchain.status().tip.index))[0].readings.map(({ bpm }) => bpm))()").await?;
    ensure!(newest == json!([99]), "the newest block has {newest}");
    stay_smooth(env, a, &b).await?;
    b.close().await
}

/// Both tabs record ten times a second while a person looks around in one of them.
async fn stay_smooth(env: &TestEnv, a: &Tab, b: &Tab) -> Result<()> {
    a.resize(1280, 900).await?;
    let watch = TaskTrace::begin(&env.browser).await?;
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
    smoothness::choose_range(a, 0).await?;
    for position in [0.2, 0.9, 0.5, 0.0] {
        smoothness::scroll_to(a, position).await?;
    }
    for tab in [a, b] {
        tab.evaluate("recording").await?;
    }
    smoothness::expect_short_tasks("20 readings a second from two peers", &watch.end().await?)
}

/// Flips a bit in one segment and deletes another: the tab keeps its whole chain, reports the damage, and fetches the
/// bodies from the other tab.
async fn damage_and_repair(env: &TestEnv, a: &Tab, page: &str) -> Result<()> {
    let tip = a.tip().await?;
    a.go(&format!("{}relay.json", env.relay.page())).await?;
    a.until_page("no node", "() => typeof heartchain === 'undefined'")
        .await?;
    a.evaluate(
        r#"(async () => {
            const resultOf = (request) => new Promise((done, failed) => {
                request.onsuccess = () => done(request.result);
                request.onerror = () => failed(request.error);
            });
            const names = (await indexedDB.databases()).map(({ name }) => name);
            const database = await resultOf(indexedDB.open(names.find((name) => name.startsWith("heartchain/"))));
            const writing = database.transaction("shelves", "readwrite");
            const segments = writing.objectStore("shelves");
            const bytes = new Uint8Array(await resultOf(segments.get(257)));
            bytes[bytes.length - 1] ^= 1;
            segments.put(bytes.buffer, 257);
            segments.delete(1);
            await new Promise((done, failed) => { writing.oncomplete = done; writing.onabort = failed; });
            database.close();
        })()"#,
    )
    .await?;
    a.go(page).await?;
    let lost = BLOCKS_PER_SEGMENT + 1;
    let all_repaired = format!("node => node.status().storage.repaired === {lost}");
    a.until("all damage repaired", &all_repaired).await?;
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

/// The number of records in a store of the tab's database.
async fn count(tab: &Tab, store: &str) -> Result<usize> {
    let count = tab
        .evaluate(&format!(
            r#"(async () => {{
                const resultOf = (request) => new Promise((done, failed) => {{
                    request.onsuccess = () => done(request.result);
                    request.onerror = () => failed(request.error);
                }});
                const slot = heartchain.status().storage.slot;
                const databases = await indexedDB.databases();
                const mine = databases.find(({{ name }}) => name.startsWith("heartchain/") && name.endsWith(`/${{slot}}`));
                const database = await resultOf(indexedDB.open(mine.name));
                const count = await resultOf(database.transaction("{store}").objectStore("{store}").count());
                database.close();
                return count;
            }})()"#
        ))
        .await?;
    let count = count
        .as_u64()
        .with_context(|| format!("{count} is not a number"))?;
    Ok(usize::try_from(count)?)
}

/// Waits until everything on disk is verified, checks that nothing was damaged, and returns the time.
async fn expect_all_checked(tab: &Tab) -> Result<f64> {
    let checked = "node => node.status().storage.unchecked === 0 && performance.now()";
    let checked = tab
        .until_within(LIMIT, "everything checked", checked)
        .await?;
    let storage = tab.status().await?["storage"].take();
    ensure!(storage["repaired"] == 0, "something was damaged: {storage}");
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

/// The median and the range.
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

/// The chain, mined now or read from the cache of an earlier run.
fn cached_chain(room: &Room, blocks: usize) -> Result<Vec<Block>> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("long-{blocks}.chain"));
    if let Ok(bytes) = fs::read(&path) {
        let encoded = bytes
            .chunks(BLOCK_LEN)
            .map(|block| Block::decode(ReadingForm::Open, block));
        return Ok(encoded.collect::<Result<_, _>>()?);
    }
    let chain = grow(room, blocks)?;
    let bytes: Vec<u8> = chain.iter().flat_map(Block::encode).collect();
    // Renames a complete file, so that an aborted run leaves no partial cache.
    let making = path.with_extension("making");
    fs::write(&making, bytes)?;
    fs::rename(making, path)?;
    Ok(chain)
}

/// Mines a chain that ends about now. Each author records once per block.
fn grow(room: &Room, blocks: usize) -> Result<Vec<Block>> {
    let keys: Vec<SecretKey> = (1..=READINGS)
        .map(|number| SecretKey::from_seed([number; 32]))
        .collect();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let start = now - STEP * (blocks as u64 + 60);
    let mut branch = Branch::in_room(room);
    for seq in 0..blocks as u64 {
        let time = start + STEP * seq;
        let bpm = Bpm::new(60 + u16::try_from(seq % 100)?)?;
        let sign = |key: &SecretKey| key.sign(room.id(), seq, UnixMillis::new(time), bpm);
        branch.push_at(keys.iter().map(sign).collect(), time);
    }
    Ok(branch.blocks)
}

/// Opens the page in a tab that has this chain on its disk.
pub(super) async fn open_with_chain(
    env: &mut TestEnv,
    room: &Room,
    chain: &[Block],
    page: &str,
) -> Result<Tab> {
    // A document of the same origin that runs no node.
    let empty = format!("{}relay.json", env.relay.page());
    let tab = env.browser.open(&empty).await?;
    store(&tab, room, chain).await?;
    tab.go(page).await?;
    Ok(tab)
}

/// Writes the chain to the tab's database, as the store does.
async fn store(tab: &Tab, room: &Room, chain: &[Block]) -> Result<()> {
    let name = format!("heartchain/{}/0", room.id());
    tab.evaluate(&format!(
        r#"(async () => {{
            const resultOf = (request) => new Promise((done, failed) => {{
                request.onsuccess = () => done(request.result);
                request.onerror = () => failed(request.error);
            }});
            const opening = indexedDB.open({}, 1);
            opening.onupgradeneeded = () => ["meta", "keys", "journal", "rescue", "blocks", "shelves"]
                .forEach((store) => opening.result.createObjectStore(store));
            const database = await resultOf(opening);
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
    let longest = chain.iter().map(Block::encoded_len).max();
    let blocks = (SEGMENT_LEN / longest.unwrap_or(BLOCK_LEN)).clamp(1, BLOCKS_PER_SEGMENT);
    for (segment, first) in chain.chunks(blocks).zip((1..).step_by(blocks)) {
        let mut hex = String::new();
        for byte in segment.iter().flat_map(Block::encode) {
            write!(hex, "{byte:02x}")?;
        }
        tab.evaluate(&format!("keep({first}, '{hex}')")).await?;
    }
    tab.evaluate("end()").await?;
    Ok(())
}

/// Memory that the page holds, in bytes: JavaScript's, the document's, and WebAssembly's, which DevTools leave out.
async fn memory(tab: &Tab) -> Result<f64> {
    tab.call("HeapProfiler.collectGarbage", json!({})).await?;
    let usage = tab.call("Runtime.getHeapUsage", json!({})).await?;
    let parts = ["usedSize", "embedderHeapUsedSize", "backingStorageSize"];
    let scripts: f64 = parts.iter().filter_map(|part| usage[part].as_f64()).sum();
    // The glue of a running module returns its existing exports.
    let wasm = tab
        .evaluate("import(new URL('pkg/wasm_node.js', document.querySelector('script[src$=\"index.js\"]').src)).then((glue) => glue.default()).then(({ memory }) => memory.buffer.byteLength)")
        .await?;
    Ok(scripts + number(&wasm)?)
}

fn number(value: &Value) -> Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("{value} is not a number"))
}
