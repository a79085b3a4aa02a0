//! Checks in the background, after the start, that the bodies in segments are still intact.
//!
//! A segment that matches the digest in its summary holds the bodies that were verified when they were written. In any
//! other segment, each body is checked against its header's Merkle root. A corrupt body is removed and reported, so
//! that it is fetched again; its block stays in the summary. A segment without a summary gets one. Both records change
//! in one transaction; after a crash before it, the next start checks the segment again.
//!
//! An unreadable record does not count as corrupt at once: the browser may be out of memory, or about to close the
//! database. Its segment is checked again later, and given up only after repeated attempts in which other records could
//! be read.

use std::future::IntoFuture;

use futures::future::{join_all, try_join_all};
use heartchain_chain::hash::BlockHash;
use js_sys::{Object, Uint8Array};
use sha2::{Digest as _, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::{
    indexed_db::{CHECKED_SEGMENTS, IndexedDb},
    records,
    schema::{self, SEGMENTS, SUMMARIES},
    segments::{MAX_SEGMENT_LEN, Segment},
    store::{CheckProgress, StoreError},
    summary::{Digest, Summary},
};

/// A record counts as corrupt if this many attempts to read it fail, `CHECK_RETRY` apart, while other records can be
/// read.
const MAX_CHECK_ATTEMPTS: u32 = 3;

impl IndexedDb {
    /// Checks the next segments.
    pub(super) async fn check_next_segments(&mut self) -> CheckProgress {
        if self.missing.len() > self.max_missing {
            return CheckProgress::Later;
        }
        let firsts = self.segments.unchecked(CHECKED_SEGMENTS);
        if firsts.is_empty() {
            return if self.segments.start_next_round() {
                CheckProgress::Later
            } else {
                CheckProgress::Done
            };
        }
        let mut missing = Vec::new();
        if self.check_segments(&firsts, &mut missing).await.is_err() {
            // An unreadable record aborts the transaction for all of them, so each is checked on its own.
            for first in firsts {
                let checked = self.segments.is_checked(first);
                if !checked && self.check_segments(&[first], &mut missing).await.is_err() {
                    // The cause may also be a full disk, or a database that cannot be read at all.
                    let unread = self.read_record_pair(first).await.is_err()
                        && self.load_tip().await.is_ok();
                    // Until then, each body is checked when it is requested.
                    self.segments.defer(first, unread);
                }
            }
        }
        self.health()
            .note_unchecked(self.segments.unchecked_blocks());
        self.health().note_repaired(missing.len());
        self.missing.extend(&missing);
        CheckProgress::Missing(missing)
    }

    async fn check_segments(
        &mut self,
        firsts: &[u32],
        missing: &mut Vec<BlockHash>,
    ) -> Result<(), StoreError> {
        let mismatched_segments = self.mismatched_segments(firsts).await?;
        for first in firsts {
            if mismatched_segments.contains(first) {
                let segment = self.repair_segment(*first).await?;
                missing.extend(segment.missing());
                if segment.indexed().is_empty() {
                    self.segments.remove_segment(*first);
                }
            }
            self.segments.mark_checked(*first);
        }
        Ok(())
    }

    /// Those of these segments that do not match their summaries.
    async fn mismatched_segments(&self, firsts: &[u32]) -> Result<Vec<u32>, StoreError> {
        let pairs = self.read_record_pairs(firsts).await?;
        let matches = join_all(firsts.iter().zip(&pairs).map(
            async |(first, (segment, summary))| {
                let summary = Summary::read(*first, summary.as_ref()?)?;
                let digest = digest(segment.as_ref()?).await?;
                (summary.digest? == digest).then_some(())
            },
        ));
        let matches = matches.await;
        let mismatched_segments = firsts.iter().zip(matches);
        Ok(mismatched_segments
            .filter_map(|(first, matches)| matches.is_none().then_some(*first))
            .collect())
    }

    /// Rewrites a segment with its intact bodies, and returns it.
    async fn repair_segment(&self, first: u32) -> Result<Segment, StoreError> {
        let segment = self.read_segment(first).await?;
        let write = self.write_transaction(&[SEGMENTS, SUMMARIES], false)?;
        let put = segment.put(&write, first);
        schema::commit_or_abort(write, put).await?;
        Ok(segment)
    }

    /// Reads a segment with its intact bodies.
    async fn read_segment(&self, first: u32) -> Result<Segment, StoreError> {
        let pairs = self.read_record_pairs(&[first]).await?;
        let (segment, summary) = pairs.into_iter().next().unwrap_or_default();
        Ok(Segment::read(
            &self.room,
            first,
            segment.as_ref(),
            summary.as_ref(),
        ))
    }

    /// The two records of each segment.
    ///
    /// # Errors
    /// If any of them cannot be read. The others may be readable.
    async fn read_record_pairs(
        &self,
        firsts: &[u32],
    ) -> Result<Vec<(Option<JsValue>, Option<JsValue>)>, StoreError> {
        if let [first] = firsts {
            return Ok(vec![self.read_record_pair(*first).await?]);
        }
        let read = self.read_transaction(&[SEGMENTS, SUMMARIES])?;
        let (segments, summaries) = (read.object_store(SEGMENTS)?, read.object_store(SUMMARIES)?);
        let mut requests = Vec::with_capacity(2 * firsts.len());
        for first in firsts {
            for store in [&segments, &summaries] {
                let key = records::number_key((*first).into());
                requests.push(store.get(key)?.into_future());
            }
        }
        let mut values = try_join_all(requests).await?.into_iter();
        Ok(firsts
            .iter()
            .map(|_| (values.next().flatten(), values.next().flatten()))
            .collect())
    }

    /// The two records of a segment. After [`MAX_CHECK_ATTEMPTS`] failed reads, an unreadable record counts as missing.
    async fn read_record_pair(
        &self,
        first: u32,
    ) -> Result<(Option<JsValue>, Option<JsValue>), StoreError> {
        let key = records::number_key(first.into());
        if self.segments.failed_reads(first) >= MAX_CHECK_ATTEMPTS {
            let segment = self.readable_record(SEGMENTS, key.clone()).await?;
            return Ok((segment, self.readable_record(SUMMARIES, key).await?));
        }
        let segment = self.read_record(SEGMENTS, key.clone()).await?;
        Ok((segment, self.read_record(SUMMARIES, key).await?))
    }
}

/// SHA-256 of a record, computed by the browser off this thread if it supports that.
async fn digest(record: &JsValue) -> Option<Digest> {
    let object: &Object = record.dyn_ref()?;
    let promise = web_sys::window()
        .and_then(|window| window.crypto().ok())
        .map(|crypto| crypto.subtle())
        .filter(|subtle| !subtle.is_undefined())
        .and_then(|subtle| {
            subtle
                .digest_with_str_and_buffer_source("SHA-256", object)
                .ok()
        });
    let Some(promise) = promise else {
        let bytes = records::from_js(
            record,
            MAX_SEGMENT_LEN + heartchain_chain::block::MAX_BLOCK_LEN,
        )?;
        return Some(Sha256::digest(bytes).into());
    };
    let digest = JsFuture::from(promise).await.ok()?;
    Uint8Array::new(&digest).to_vec().try_into().ok()
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{block::Block, header::Header};
    use heartchain_sync::StoredBlock;
    use js_sys::ArrayBuffer;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{
        Health, Storage,
        fault_injector::FaultInjector,
        segments::{MAX_SEGMENT_BLOCKS, SETTLED_DEPTH},
        suite,
    };

    /// The number of compacted blocks: two full segments.
    const COMPACTED: usize = 2 * MAX_SEGMENT_BLOCKS;

    /// Blocks for two segments, unsettled blocks, and the block that settles the last of the former.
    fn blocks() -> Vec<(BlockHash, Block)> {
        (1..=COMPACTED as u64 + SETTLED_DEPTH + 1)
            .map(suite::small_block)
            .collect()
    }

    async fn reopened(name: &str, store: IndexedDb) -> IndexedDb {
        drop(store);
        let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
        opened.expect("it opens")
    }

    /// A store with these blocks, opened again and not loaded.
    async fn compacted_store(name: &str) -> IndexedDb {
        let mut store = IndexedDb::open_empty(name, &suite::room()).await;
        for part in blocks().chunks(256) {
            suite::write(&mut store, part.iter().cloned().map(suite::put).collect()).await;
        }
        while store.compact().await {}
        let gaps: Vec<_> = store.segments.gaps().collect();
        assert_eq!(gaps, [(COMPACTED as u64 + 1, u64::MAX)]);
        reopened(name, store).await
    }

    async fn load(store: &mut IndexedDb, with_bodies: bool) -> Vec<StoredBlock> {
        let mut all = Vec::new();
        let loaded = store
            .load_blocks(with_bodies, |blocks| all.extend(blocks))
            .await;
        loaded.expect("it can be loaded");
        all
    }

    fn hashes(blocks: &[StoredBlock]) -> Vec<BlockHash> {
        blocks.iter().map(|block| *block.hash()).collect()
    }

    fn known(blocks: &[StoredBlock]) -> usize {
        let known = |block: &&StoredBlock| matches!(block, StoredBlock::Indexed(_));
        blocks.iter().filter(known).count()
    }

    /// Checks everything. Returns the missing blocks.
    async fn check(store: &mut IndexedDb) -> Vec<BlockHash> {
        let mut missing = Vec::new();
        loop {
            match store.check().await {
                CheckProgress::Missing(some) => missing.extend(some),
                CheckProgress::Later => panic!("it is not all checked"),
                CheckProgress::Done => break,
            }
        }
        assert_eq!(store.health().unchecked(), 0);
        missing
    }

    async fn change(store: &IndexedDb, name: &str, first: u32, how: impl Fn(&mut Vec<u8>)) {
        let write = store.write_transaction(&[name], true).expect("it opens");
        let records = write.object_store(name).expect("the store");
        let key = records::number_key(first.into());
        let record = records.get(key.clone()).expect("a request").await;
        let record: ArrayBuffer = record
            .expect("an answer")
            .expect("a record")
            .unchecked_into();
        let mut bytes = Uint8Array::new(&record).to_vec();
        how(&mut bytes);
        records
            .put(&records::to_js(&bytes), Some(&key))
            .expect("a request");
        schema::commit(write).await.expect("it is written");
    }

    #[test]
    async fn start_does_not_read_settled_bodies() {
        let mut store = compacted_store("checking fine").await;
        let loaded = load(&mut store, false).await;
        let all: Vec<BlockHash> = blocks().iter().map(|(hash, _)| *hash).collect();
        assert_eq!(hashes(&loaded), all);
        assert_eq!(known(&loaded), COMPACTED);
        assert_eq!(store.health().unchecked(), COMPACTED);
        assert_eq!(check(&mut store).await, []);
        assert_eq!(store.health().repaired(), 0);
    }

    #[test]
    async fn corrupt_body_does_not_remove_its_block() {
        let name = "checking damaged";
        let mut store = compacted_store(name).await;
        // In the signature of the reading in the third block: each has one.
        let len = suite::small_block(1).1.encoded_len();
        change(&store, SEGMENTS, 1, |bytes| bytes[3 * len - 1] ^= 1).await;
        let loaded = load(&mut store, false).await;
        let (third, block) = suite::small_block(3);
        // A corrupt body is not returned even before the check finds it.
        assert_eq!(store.bodies(&[third]).await, Ok(vec![None]));
        assert_eq!(check(&mut store).await, [third]);
        assert_eq!(store.health().repaired(), 1);

        let others = [suite::small_block(2), suite::small_block(4)];
        let bodies = others
            .each_ref()
            .map(|(_, block)| Some(block.readings.clone()));
        let asked = others.each_ref().map(|(hash, _)| *hash);
        assert_eq!(store.bodies(&asked).await, Ok(bodies.to_vec()));

        // Each start reports it until the body is fetched again.
        let mut store = reopened(name, store).await;
        assert_eq!(load(&mut store, false).await, loaded);
        assert_eq!(check(&mut store).await, [third]);
        suite::write(&mut store, vec![suite::put((third, block.clone()))]).await;
        let mut store = reopened(name, store).await;
        let again = load(&mut store, false).await;
        assert_eq!(hashes(&again), hashes(&loaded));
        assert_eq!(check(&mut store).await, []);
        assert_eq!(store.bodies(&[third]).await, Ok(vec![Some(block.readings)]));
    }

    #[test]
    async fn corrupt_length_affects_one_block() {
        for (name, corrupt) in [("checking long", 255), ("checking short", 0)] {
            let mut store = compacted_store(name).await;
            let len = suite::small_block(1).1.encoded_len();
            // The third block's number of readings.
            let at = 2 * len + Header::LEN;
            change(&store, SEGMENTS, 1, |bytes| bytes[at] = corrupt).await;
            load(&mut store, false).await;
            let (third, (fourth, block)) = (suite::small_block(3).0, suite::small_block(4));
            let bodies = vec![None, Some(block.readings)];
            // A corrupt body is not returned even before the check finds it.
            assert_eq!(store.bodies(&[third, fourth]).await, Ok(bodies));
            assert_eq!(check(&mut store).await, [third]);
        }
    }

    #[test]
    async fn missing_segment_keeps_its_blocks_indexed() {
        let mut store = compacted_store("checking gone").await;
        let write = store
            .write_transaction(&[SEGMENTS], true)
            .expect("it opens");
        let segments = write.object_store(SEGMENTS).expect("the store");
        segments.delete(records::number_key(1)).expect("a request");
        schema::commit(write).await.expect("it is written");
        let loaded = load(&mut store, false).await;
        assert_eq!(loaded.len(), blocks().len());
        let first: Vec<BlockHash> = hashes(&loaded)[..MAX_SEGMENT_BLOCKS].to_vec();
        assert_eq!(check(&mut store).await, first);
    }

    #[test]
    async fn destroyed_segment_frees_its_heights() {
        let mut store = compacted_store("checking nothing").await;
        change(&store, SEGMENTS, 1, |bytes| bytes.truncate(10)).await;
        change(&store, SUMMARIES, 1, |bytes| bytes[100] ^= 1).await;
        let loaded = load(&mut store, false).await;
        assert_eq!(loaded.len(), blocks().len() - MAX_SEGMENT_BLOCKS);
        // The records may still be readable, so their heights stay reserved until they are checked.
        assert!(!store.segments.is_free(1, 1));
        assert_eq!(check(&mut store).await, []);
        assert!(store.segments.is_free(1, 1));
        // The blocks are fetched again one by one, and compacted.
        let again = blocks().into_iter().take(MAX_SEGMENT_BLOCKS);
        suite::write(&mut store, again.map(suite::put).collect()).await;
        while store.compact().await {}
        let gaps: Vec<_> = store.segments.gaps().collect();
        assert_eq!(gaps, [(COMPACTED as u64 + 1, u64::MAX)]);
    }

    #[test]
    async fn corrupt_summary_is_rebuilt_from_its_segment() {
        let name = "checking summary";
        let mut store = compacted_store(name).await;
        change(&store, SUMMARIES, 257, |bytes| bytes[100] ^= 1).await;
        let loaded = load(&mut store, false).await;
        assert_eq!(
            (loaded.len(), known(&loaded)),
            (blocks().len(), COMPACTED - MAX_SEGMENT_BLOCKS)
        );
        assert_eq!(check(&mut store).await, []);
        let mut store = reopened(name, store).await;
        assert_eq!(known(&load(&mut store, false).await), COMPACTED);
    }

    #[test]
    async fn full_load_includes_bodies() {
        let mut store = compacted_store("checking whole").await;
        let loaded = load(&mut store, true).await;
        assert_eq!(known(&loaded), COMPACTED);
        assert_eq!(loaded.len(), COMPACTED + blocks().len());
        assert!(loaded.is_sorted_by_key(StoredBlock::index));
    }

    #[test]
    async fn deleted_block_leaves_its_summary() {
        let name = "checking deleted";
        let mut store = compacted_store(name).await;
        load(&mut store, false).await;
        let (gone, _) = suite::small_block(7);
        suite::write(
            &mut store,
            vec![heartchain_sync::StoreOperation::DeleteBlock(gone)],
        )
        .await;
        let mut store = reopened(name, store).await;
        let loaded = load(&mut store, false).await;
        assert_eq!(loaded.len(), blocks().len() - 1);
        assert!(!hashes(&loaded).contains(&gone));
        assert_eq!(check(&mut store).await, []);
    }

    #[test]
    async fn temporarily_unreadable_segment_is_not_lost() {
        let name = "checking refused";
        let mut store = compacted_store(name).await;
        let all = load(&mut store, false).await;
        for refused in [SEGMENTS, SUMMARIES] {
            let refusal = FaultInjector::unreadable(name, refused, &records::number_key(1));
            // The other segment is checked all the same.
            assert_eq!(store.check().await, CheckProgress::Missing(Vec::new()));
            assert_eq!(store.health().unchecked(), MAX_SEGMENT_BLOCKS);
            assert_eq!(store.check().await, CheckProgress::Later);
            drop(refusal);
        }
        assert_eq!(check(&mut store).await, []);
        let mut store = reopened(name, store).await;
        assert_eq!(load(&mut store, false).await, all);
        assert_eq!(check(&mut store).await, []);
    }

    #[test]
    async fn persistently_unreadable_segment_is_lost() {
        let name = "checking illegible";
        let mut store = compacted_store(name).await;
        let all = hashes(&load(&mut store, false).await);
        let refusal = FaultInjector::unreadable(name, SEGMENTS, &records::number_key(1));
        for _ in 0..MAX_CHECK_ATTEMPTS {
            assert_eq!(store.check().await, CheckProgress::Missing(Vec::new()));
            assert_eq!(store.check().await, CheckProgress::Later);
        }
        assert_eq!(check(&mut store).await, all[..MAX_SEGMENT_BLOCKS]);
        drop(refusal);
        let mut store = reopened(name, store).await;
        assert_eq!(hashes(&load(&mut store, false).await), all);
    }

    #[test]
    async fn full_disk_is_not_a_read_failure() {
        let name = "checking full";
        let mut store = compacted_store(name).await;
        let len = suite::small_block(1).1.encoded_len();
        change(&store, SEGMENTS, 1, |bytes| bytes[3 * len - 1] ^= 1).await;
        load(&mut store, false).await;
        let key = records::number_key(1);
        let full = FaultInjector::unwritable(name, SEGMENTS, &key);
        for _ in 0..MAX_CHECK_ATTEMPTS {
            assert_eq!(store.check().await, CheckProgress::Missing(Vec::new()));
            assert_eq!(store.check().await, CheckProgress::Later);
        }
        drop(full);
        // Now it can be written again, but is temporarily unreadable.
        let refusal = FaultInjector::unreadable(name, SEGMENTS, &key);
        assert_eq!(store.check().await, CheckProgress::Missing(Vec::new()));
        assert_eq!(store.check().await, CheckProgress::Later);
        drop(refusal);
        assert_eq!(check(&mut store).await, [suite::small_block(3).0]);
    }

    #[test]
    async fn checking_waits_for_missing_bodies() {
        let mut store = compacted_store("checking on").await;
        store.max_missing = 0;
        let len = suite::small_block(1).1.encoded_len();
        change(&store, SEGMENTS, 1, |bytes| bytes[3 * len - 1] ^= 1).await;
        load(&mut store, false).await;
        let (third, block) = suite::small_block(3);
        assert_eq!(store.check().await, CheckProgress::Missing(vec![third]));
        for _ in 0..3 {
            assert_eq!(store.check().await, CheckProgress::Later);
        }
        suite::write(&mut store, vec![suite::put((third, block))]).await;
        assert_eq!(check(&mut store).await, []);
    }
}
