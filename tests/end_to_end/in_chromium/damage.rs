//! The database is damaged, of a newer version, or out of space: the tab starts, reports it, and repairs what it can.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{scripts::expect_valid_chain, syncing::expect_bpms};
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// Opens the database of the tab's slot, and defines helpers that damage it.
const DATABASE: &str = r#"
    const resultOf = (request) => new Promise((done, failed) => {
        request.onsuccess = () => done(request.result);
        request.onerror = () => failed(request.error);
    });
    const { name, version } = (await indexedDB.databases()).find(({ name }) => name.startsWith("heartchain/"));
    const database = await resultOf(indexedDB.open(name));
    const change = async (store, how) => {
        const writing = database.transaction(store, "readwrite");
        const records = writing.objectStore(store);
        const [keys, values] = [await resultOf(records.getAllKeys()), await resultOf(records.getAll())];
        how(records, keys, values);
        await new Promise((done, failed) => { writing.oncomplete = done; writing.onabort = failed; });
    };
    const flipped = (buffer, at) => {
        const bytes = new Uint8Array(buffer.slice(0));
        bytes[at < 0 ? bytes.length + at : at] ^= 1;
        return bytes.buffer;
    };
    const hex = (key) => [...new Uint8Array(key)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    // The position of the best branch's block at this height; other branches may have blocks there, too.
    const at = (keys, height) => keys.findIndex((key) => hex(key).endsWith(best[height]));
"#;

/// Descriptions and scripts of the damage.
const DAMAGES: [(&str, &str); 11] = [
    (
        "a block is deleted",
        r#"await change("blocks", (records, keys) => records.delete(keys[at(keys, 2)]));"#,
    ),
    (
        "a bit of a header is flipped",
        r#"await change("blocks", (records, keys, values) => records.put(flipped(values[at(keys, 2)], 20), keys[at(keys, 2)]));"#,
    ),
    (
        "a bit of a signature is flipped",
        r#"await change("blocks", (records, keys, values) => records.put(flipped(values[at(keys, 2)], -1), keys[at(keys, 2)]));"#,
    ),
    (
        "a block is cut short",
        r#"await change("blocks", (records, keys, values) => records.put(values[at(keys, 3)].slice(0, 100), keys[at(keys, 3)]));"#,
    ),
    (
        "records are no records",
        r#"await change("blocks", (records, keys) => { records.put("text", keys[0]); records.put(7, "key"); records.put({}, 3); });"#,
    ),
    (
        "one copy of the key is deleted",
        r#"await change("meta", (records) => records.delete("key"));"#,
    ),
    (
        "a bit of the other copy is flipped",
        r#"await change("meta", (records, keys, values) => records.put(flipped(values[1], 3), keys[1]));"#,
    ),
    (
        "both copies of the key in the database are damaged",
        r#"await change("meta", (records, keys, values) => { records.put(flipped(values[0], 3), keys[0]); records.delete(keys[1]); });"#,
    ),
    (
        "an entry of the journal is deleted",
        r#"await change("journal", (records) => records.delete(1));"#,
    ),
    (
        "a bit of a journal's entry is flipped",
        r#"await change("journal", (records, keys, values) => records.put(flipped(values[0], 8), keys[0]));"#,
    ),
    (
        "a migration stopped half-way",
        r#"
        const kept = {};
        for (const store of ["meta", "journal"]) await change(store, (_, keys, values) => (kept[store] = [keys, values]));
        database.close();
        await resultOf(indexedDB.deleteDatabase(name));
        const opening = indexedDB.open(name, version);
        opening.onupgradeneeded = () => {
            for (const [store, [keys, values]] of Object.entries(kept)) {
                const records = opening.result.createObjectStore(store);
                keys.forEach((key, at) => records.put(values[at], key));
            }
        };
        (await resultOf(opening)).close();
        "#,
    ),
];

#[tokio::test]
async fn damage_is_reported_and_repaired() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        let bpms = [70, 71, 72, 73, 74];
        for (count, bpm) in (1..).zip(bpms) {
            a.enter(bpm).await?;
            agreement(&[&a, &b], count).await?;
        }
        let name = a.peer_id().await?;
        let page = env.relay.page().to_owned();
        for (description, damage) in DAMAGES {
            let hashes = a
                .evaluate("heartchain.blocks(0, 5).then(blocks => blocks.map(({ hash }) => hash))");
            let best = format!("const best = {};", hashes.await?);
            leave_page(&a, &page).await?;
            a.evaluate(&format!(
                "(async () => {{ {best} {DATABASE} {damage} database.close(); }})()"
            ))
            .await
            .context(description)?;
            a.go(&page).await?;
            a.until(
                "a node that has repaired",
                "node => node.status().storage.repaired > 0",
            )
            .await
            .with_context(|| format!("when {description}"))?;
            agreement(&[&a, &b], bpms.len())
                .await
                .context(description)?;
            expect_whole(&a, &name, &bpms)
                .await
                .with_context(|| format!("when {description}"))?;

            // The next start finds nothing to repair.
            leave_page(&a, &page).await?;
            a.go(&page).await?;
            expect_whole(&a, &name, &bpms)
                .await
                .with_context(|| format!("after {description}"))?;
            let repaired = a.status().await?["storage"]["repaired"].take();
            ensure!(
                repaired == 0,
                "{description}: there was more to repair: {repaired}"
            );
        }
        a.enter(75).await?;
        agreement(&[&a, &b], 6).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn newer_database_is_left_untouched() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let a = env.tab().await?;
        a.enter(70).await?;
        agreement(&[&a], 1).await?;
        let page = env.relay.page().to_owned();
        let name = a.peer_id().await?;
        leave_page(&a, &page).await?;
        a.evaluate(&format!(
            "(async () => {{ {DATABASE} database.close(); (await resultOf(indexedDB.open(name, version + 1))).close(); }})()"
        ))
        .await?;
        a.go(&page).await?;
        a.until("a node", "() => true").await?;
        let storage = a.status().await?["storage"].take();
        ensure!(
            storage["kind"] == "memory" && storage["reason"] == "newer-version",
            "it does not say why: {storage}"
        );
        ensure!(a.peer_id().await? != name, "it signs with a key that it cannot journal for");
        // The tab works nevertheless.
        a.enter(71).await?;
        agreement(&[&a], 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn full_disk_is_reported_and_nothing_is_torn() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        // Caching the page may also exceed the quota; it is cached another time.
        env.expect_message("QuotaExceededError");
        let a = env.tab().await?;
        a.enter(70).await?;
        agreement(&[&a], 1).await?;
        let page = env.relay.page().to_owned();

        // Chromium checks the quota every 30 s, not at every write.
        set_quota(&a, &page, Some(1)).await?;
        let kept = a
            .evaluate(&format!(
                "(async () => {{ for (let kept = 1; ; kept++) {{ {RECORD} if (refused) return kept; await pause(); }} }})()"
            ))
            .await?;
        let status = a.status().await?;
        ensure!(status["storage"]["failing"] == true, "it does not report failing writes: {status}");
        a.enter(71).await?;
        a.until_shows("record-form", "couldn't save the reading").await?;
        let own = "heartchain.ownReadings().length";
        ensure!(a.evaluate(own).await? == kept, "what was refused is kept");
        // Readings that wait to be written are shown nevertheless.
        a.until("the chain", "async node => (await heartchainTest.readings()).length + node.status().mempool === node.ownReadings().length").await?;

        set_quota(&a, &page, None).await?;
        a.evaluate(&format!(
            "(async () => {{ for (;;) {{ {RECORD} if (!refused) return; await pause(); }} }})()"
        ))
        .await?;
        a.until("a node that writes again", "node => !node.status().storage.failing").await?;
        let all = usize::try_from(kept.as_u64().context("a number")?)? + 1;
        agreement(&[&a], all).await?;
        let before = ids(&a).await?;
        a.reload().await?;
        // A block that was not written yet is mined again: its readings are in the journal.
        agreement(&[&a], all).await?;
        ensure!(ids(&a).await? == before, "what is on disk is something else");
        ensure!(a.evaluate(own).await? == all, "its own readings are others");
        Ok(())
    })
    .await
}

/// The IDs of the readings in the tab's chain, sorted.
async fn ids(tab: &Tab) -> Result<Value> {
    let sorted = "heartchainTest.readings().then(readings => readings.map(({ id }) => id).sort())";
    tab.evaluate(sorted).await
}

/// Records once; `refused` says whether that was refused.
const RECORD: &str = r#"
    const pause = () => new Promise((go) => setTimeout(go, 500));
    const refused = await heartchain.record(72).then(() => false, ({ message }) => {
        if (!message.includes("make room")) throw new Error(message);
        return true;
    });
"#;

/// Navigates to a document of the same origin that runs no node.
async fn leave_page(tab: &Tab, page: &str) -> Result<()> {
    tab.go(&format!("{page}relay.json")).await?;
    tab.until_page("no node", "() => typeof heartchain === 'undefined'")
        .await?;
    Ok(())
}

/// Sets the storage quota of the page's origin in bytes; `None` restores the default.
pub(super) async fn set_quota(tab: &Tab, page: &str, bytes: Option<u64>) -> Result<()> {
    let mut params = json!({ "origin": page });
    if let Some(bytes) = bytes {
        params["quotaSize"] = bytes.into();
    }
    tab.call("Storage.overrideQuotaForOrigin", params).await?;
    Ok(())
}

/// The tab is the same peer, with its whole chain and all its readings in order.
async fn expect_whole(tab: &Tab, name: &str, bpms: &[u16]) -> Result<()> {
    ensure!(tab.peer_id().await? == name, "it is another peer");
    expect_valid_chain(tab).await?;
    expect_bpms(tab, bpms).await?;
    let own = tab.evaluate("heartchain.ownReadings()").await?;
    let own = own.as_array().context("a list")?;
    let (mut seqs, mut own_bpms): (Vec<u64>, Vec<u64>) = own
        .iter()
        .filter_map(|reading| Some((reading["seq"].as_u64()?, reading["bpm"].as_u64()?)))
        .unzip();
    seqs.reverse();
    own_bpms.reverse();
    let expected: Vec<u64> = bpms.iter().copied().map(u64::from).collect();
    ensure!(
        own_bpms == expected && seqs == (0..).take(bpms.len()).collect::<Vec<u64>>(),
        "its own readings are {own:?}"
    );
    ensure!(
        tab.evaluate("heartchain.pending().length").await? == 0,
        "something waits"
    );
    ensure!(
        tab.status().await?["storage"]["failing"] == Value::Bool(false),
        "writes fail"
    );
    Ok(())
}
