//! Bodies on shelves, checked while the tab is at work already: whether the disk still has what was written.
//!
//! A shelf whose bytes have the digest in its summary holds the bodies that were checked when they were written. Of any
//! other each body is held against its header's Merkle root; what is damaged goes, and is told, so that it is fetched
//! again; the summary keeps its block's place. A shelf that has no summary yet gets one. Both records are changed in one
//! transaction, and a crash before it changes nothing: the next start checks the shelf again.
//!
//! A record that cannot be read is not called damaged for that: the browser may be out of memory, or about to close the
//! database. Its shelf is looked at again later, and is given up only if it alone cannot be read, time and again.

use std::future::IntoFuture;

use chain::hash::BlockHash;
use futures::future::{join_all, try_join_all};
use js_sys::{Object, Uint8Array};
use sha2::{Digest as _, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::{
    Check, StoreError,
    indexed_db::IndexedDb,
    records,
    schema::{self, SHELVES, SUMMARIES},
    shelves::Shelf,
    summary::{Digest, Summary},
};
use crate::config::{CHECKED_SHELVES, MAX_CHECK_TRIES, MAX_SHELF_LEN};

impl IndexedDb {
    /// Checks the next shelves.
    pub(super) async fn check_some(&mut self) -> Check {
        if self.lost.len() > self.max_lost {
            return Check::Later;
        }
        let firsts = self.shelves.unchecked(CHECKED_SHELVES);
        if firsts.is_empty() {
            return if self.shelves.begin_round() {
                Check::Later
            } else {
                Check::Done
            };
        }
        let mut lost = Vec::new();
        if self.check_shelves(&firsts, &mut lost).await.is_err() {
            // One that cannot be read takes its transaction with it, and whatever else was to be read there.
            for first in firsts {
                let checked = self.shelves.is_checked(first);
                if !checked && self.check_shelves(&[first], &mut lost).await.is_err() {
                    // The disk may be full as well, or the database give nothing at all.
                    let unread = self.pair(first).await.is_err() && self.load_tip().await.is_ok();
                    // Until then each body is looked at when it is asked for.
                    self.shelves.put_off(first, unread);
                }
            }
        }
        self.health()
            .note_unchecked(self.shelves.unchecked_blocks());
        self.health().note_healed(lost.len());
        self.lost.extend(&lost);
        Check::Lost(lost)
    }

    async fn check_shelves(
        &mut self,
        firsts: &[u32],
        lost: &mut Vec<BlockHash>,
    ) -> Result<(), StoreError> {
        let suspects = self.suspects(firsts).await?;
        for first in firsts {
            if suspects.contains(first) {
                let shelf = self.mend(*first).await?;
                lost.extend(shelf.lost());
                if shelf.known().is_empty() {
                    self.shelves.note_gone(*first);
                }
            }
            self.shelves.note_checked(*first);
        }
        Ok(())
    }

    /// Those of these shelves that are not as their summaries say.
    async fn suspects(&self, firsts: &[u32]) -> Result<Vec<u32>, StoreError> {
        let pairs = self.pairs(firsts).await?;
        let matches = join_all(
            firsts
                .iter()
                .zip(&pairs)
                .map(async |(first, (shelf, summary))| {
                    let summary = Summary::read(*first, summary.as_ref()?)?;
                    let digest = digest(shelf.as_ref()?).await?;
                    (summary.digest? == digest).then_some(())
                }),
        );
        let matches = matches.await;
        let suspects = firsts.iter().zip(matches);
        Ok(suspects
            .filter_map(|(first, matches)| matches.is_none().then_some(*first))
            .collect())
    }

    /// Writes a shelf anew as far as its bodies are whole, and returns it.
    async fn mend(&self, first: u32) -> Result<Shelf, StoreError> {
        let shelf = self.read_shelf(first).await?;
        let write = self.writing(&[SHELVES, SUMMARIES], false)?;
        let put = shelf.put(&write, first);
        schema::all_or_nothing(write, put).await?;
        Ok(shelf)
    }

    /// A shelf, as far as its bodies are whole.
    async fn read_shelf(&self, first: u32) -> Result<Shelf, StoreError> {
        let pairs = self.pairs(&[first]).await?;
        let (shelf, summary) = pairs.into_iter().next().unwrap_or_default();
        Ok(Shelf::read(
            self.room,
            first,
            shelf.as_ref(),
            summary.as_ref(),
        ))
    }

    /// The two records of each shelf.
    ///
    /// # Errors
    /// If one of them cannot be read. That says nothing of any of them.
    async fn pairs(
        &self,
        firsts: &[u32],
    ) -> Result<Vec<(Option<JsValue>, Option<JsValue>)>, StoreError> {
        if let [first] = firsts {
            return Ok(vec![self.pair(*first).await?]);
        }
        let read = self.reading(&[SHELVES, SUMMARIES])?;
        let (shelves, summaries) = (read.object_store(SHELVES)?, read.object_store(SUMMARIES)?);
        let mut requests = Vec::with_capacity(2 * firsts.len());
        for first in firsts {
            for store in [&shelves, &summaries] {
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

    /// The two records of a shelf. One that could not be read again and again, while others could, is as good as none.
    async fn pair(&self, first: u32) -> Result<(Option<JsValue>, Option<JsValue>), StoreError> {
        let key = records::number_key(first.into());
        if self.shelves.vain_tries(first) >= MAX_CHECK_TRIES {
            let shelf = self.legible(SHELVES, key.clone()).await?;
            return Ok((shelf, self.legible(SUMMARIES, key).await?));
        }
        let shelf = self.record(SHELVES, key.clone()).await?;
        Ok((shelf, self.record(SUMMARIES, key).await?))
    }
}

/// SHA-256 of a record, by the browser and off this thread where it has that.
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
        let bytes = records::from_js(record, MAX_SHELF_LEN + chain::block::MAX_BLOCK_LEN)?;
        return Some(Sha256::digest(bytes).into());
    };
    let digest = JsFuture::from(promise).await.ok()?;
    Uint8Array::new(&digest).to_vec().try_into().ok()
}

#[cfg(test)]
mod tests {
    use chain::{block::Block, header::Header};
    use js_sys::ArrayBuffer;
    use sync::Stored;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        config::{MAX_SHELF_BLOCKS, SETTLED_DEPTH},
        storage::{Health, Storage, misfortune::Misfortune, suite},
    };

    /// Blocks that are packed: as many as two shelves take.
    const PACKED: usize = 2 * MAX_SHELF_BLOCKS;

    /// What is on two shelves, what is not settled, and the one that settles the last of the others.
    fn blocks() -> Vec<(BlockHash, Block)> {
        (1..=PACKED as u64 + SETTLED_DEPTH + 1)
            .map(suite::small_block)
            .collect()
    }

    async fn reopened(name: &str, store: IndexedDb) -> IndexedDb {
        drop(store);
        let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
        opened.expect("it opens")
    }

    /// A store that has these blocks, opened anew, and not loaded.
    async fn packed(name: &str) -> IndexedDb {
        let mut store = IndexedDb::anew(name, suite::room().id()).await;
        for part in blocks().chunks(256) {
            suite::write(&mut store, part.iter().cloned().map(suite::put).collect()).await;
        }
        while store.tidy().await {}
        let gaps: Vec<_> = store.shelves.gaps().collect();
        assert_eq!(gaps, [(PACKED as u64 + 1, u64::MAX)]);
        reopened(name, store).await
    }

    async fn load(store: &mut IndexedDb, whole: bool) -> Vec<Stored> {
        let mut all = Vec::new();
        let loaded = store.load_blocks(whole, |blocks| all.extend(blocks)).await;
        loaded.expect("it can be loaded");
        all
    }

    fn hashes(blocks: &[Stored]) -> Vec<BlockHash> {
        blocks.iter().map(|block| *block.hash()).collect()
    }

    fn known(blocks: &[Stored]) -> usize {
        let known = |block: &&Stored| matches!(block, Stored::Known(_));
        blocks.iter().filter(known).count()
    }

    /// Looks at everything; returns what is lost.
    async fn check(store: &mut IndexedDb) -> Vec<BlockHash> {
        let mut lost = Vec::new();
        loop {
            match store.check().await {
                Check::Lost(some) => lost.extend(some),
                Check::Later => panic!("it is not all checked"),
                Check::Done => break,
            }
        }
        assert_eq!(store.health().unchecked(), 0);
        lost
    }

    async fn change(store: &IndexedDb, name: &str, first: u32, how: impl Fn(&mut Vec<u8>)) {
        let write = store.writing(&[name], true).expect("it opens");
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
        schema::committed(write).await.expect("it is written");
    }

    #[test]
    async fn a_tab_is_at_work_before_settled_bodies_are_looked_at() {
        let mut store = packed("checking fine").await;
        let loaded = load(&mut store, false).await;
        let all: Vec<BlockHash> = blocks().iter().map(|(hash, _)| *hash).collect();
        assert_eq!(hashes(&loaded), all);
        assert_eq!(known(&loaded), PACKED);
        assert_eq!(store.health().unchecked(), PACKED);
        assert_eq!(check(&mut store).await, []);
        assert_eq!(store.health().healed(), 0);
    }

    #[test]
    async fn a_damaged_body_is_lost_alone_and_its_block_keeps_its_place() {
        let name = "checking damaged";
        let mut store = packed(name).await;
        // In the signature of the reading in the third block: each has one.
        let len = suite::small_block(1).1.encoded_len();
        change(&store, SHELVES, 1, |bytes| bytes[3 * len - 1] ^= 1).await;
        let loaded = load(&mut store, false).await;
        let (third, block) = suite::small_block(3);
        // Not even before it was found.
        assert_eq!(store.bodies(&[third]).await, Ok(vec![None]));
        assert_eq!(check(&mut store).await, [third]);
        assert_eq!(store.health().healed(), 1);

        let others = [suite::small_block(2), suite::small_block(4)];
        let bodies = others
            .each_ref()
            .map(|(_, block)| Some(block.readings.clone()));
        let asked = others.each_ref().map(|(hash, _)| *hash);
        assert_eq!(store.bodies(&asked).await, Ok(bodies.to_vec()));

        // Until it came again each start says so.
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
    async fn a_garbled_length_takes_no_other_block_with_it() {
        for (name, garbled) in [("checking long", 255), ("checking short", 0)] {
            let mut store = packed(name).await;
            let len = suite::small_block(1).1.encoded_len();
            // The third block's number of readings.
            let at = 2 * len + Header::LEN;
            change(&store, SHELVES, 1, |bytes| bytes[at] = garbled).await;
            load(&mut store, false).await;
            let (third, (fourth, block)) = (suite::small_block(3).0, suite::small_block(4));
            let bodies = vec![None, Some(block.readings)];
            // Not even before it was found.
            assert_eq!(store.bodies(&[third, fourth]).await, Ok(bodies));
            assert_eq!(check(&mut store).await, [third]);
        }
    }

    #[test]
    async fn a_shelf_that_is_gone_takes_no_block_with_it() {
        let mut store = packed("checking gone").await;
        let write = store.writing(&[SHELVES], true).expect("it opens");
        let shelves = write.object_store(SHELVES).expect("the store");
        shelves.delete(records::number_key(1)).expect("a request");
        schema::committed(write).await.expect("it is written");
        let loaded = load(&mut store, false).await;
        assert_eq!(loaded.len(), blocks().len());
        let first: Vec<BlockHash> = hashes(&loaded)[..MAX_SHELF_BLOCKS].to_vec();
        assert_eq!(check(&mut store).await, first);
    }

    #[test]
    async fn a_shelf_of_which_nothing_is_left_leaves_its_heights_to_others() {
        let mut store = packed("checking nothing").await;
        change(&store, SHELVES, 1, |bytes| bytes.truncate(10)).await;
        change(&store, SUMMARIES, 1, |bytes| bytes[100] ^= 1).await;
        let loaded = load(&mut store, false).await;
        assert_eq!(loaded.len(), blocks().len() - MAX_SHELF_BLOCKS);
        // Its records may yet be read: nothing is to take their place before they were looked at.
        assert!(!store.shelves.is_free(1, 1));
        assert_eq!(check(&mut store).await, []);
        assert!(store.shelves.is_free(1, 1));
        // They come again one by one, and are packed.
        let again = blocks().into_iter().take(MAX_SHELF_BLOCKS);
        suite::write(&mut store, again.map(suite::put).collect()).await;
        while store.tidy().await {}
        let gaps: Vec<_> = store.shelves.gaps().collect();
        assert_eq!(gaps, [(PACKED as u64 + 1, u64::MAX)]);
    }

    #[test]
    async fn a_damaged_summary_is_made_anew_from_its_shelf() {
        let name = "checking summary";
        let mut store = packed(name).await;
        change(&store, SUMMARIES, 257, |bytes| bytes[100] ^= 1).await;
        let loaded = load(&mut store, false).await;
        assert_eq!(
            (loaded.len(), known(&loaded)),
            (blocks().len(), PACKED - MAX_SHELF_BLOCKS)
        );
        assert_eq!(check(&mut store).await, []);
        let mut store = reopened(name, store).await;
        assert_eq!(known(&load(&mut store, false).await), PACKED);
    }

    #[test]
    async fn whoever_asks_for_all_of_it_gets_bodies_too() {
        let mut store = packed("checking whole").await;
        let loaded = load(&mut store, true).await;
        assert_eq!(known(&loaded), PACKED);
        assert_eq!(loaded.len(), PACKED + blocks().len());
        assert!(loaded.is_sorted_by_key(Stored::index));
    }

    #[test]
    async fn a_deleted_block_leaves_its_summary_too() {
        let name = "checking deleted";
        let mut store = packed(name).await;
        load(&mut store, false).await;
        let (gone, _) = suite::small_block(7);
        suite::write(&mut store, vec![sync::StoreOperation::DeleteBlock(gone)]).await;
        let mut store = reopened(name, store).await;
        let loaded = load(&mut store, false).await;
        assert_eq!(loaded.len(), blocks().len() - 1);
        assert!(!hashes(&loaded).contains(&gone));
        assert_eq!(check(&mut store).await, []);
    }

    #[test]
    async fn a_record_that_cannot_be_read_for_now_is_not_lost() {
        let name = "checking refused";
        let mut store = packed(name).await;
        let all = load(&mut store, false).await;
        for refused in [SHELVES, SUMMARIES] {
            let refusal = Misfortune::unreadable(name, refused, &records::number_key(1));
            // The other one is looked at all the same.
            assert_eq!(store.check().await, Check::Lost(Vec::new()));
            assert_eq!(store.health().unchecked(), MAX_SHELF_BLOCKS);
            assert_eq!(store.check().await, Check::Later);
            drop(refusal);
        }
        assert_eq!(check(&mut store).await, []);
        let mut store = reopened(name, store).await;
        assert_eq!(load(&mut store, false).await, all);
        assert_eq!(check(&mut store).await, []);
    }

    #[test]
    async fn a_record_that_alone_can_never_be_read_is_lost() {
        let name = "checking illegible";
        let mut store = packed(name).await;
        let all = hashes(&load(&mut store, false).await);
        let refusal = Misfortune::unreadable(name, SHELVES, &records::number_key(1));
        for _ in 0..MAX_CHECK_TRIES {
            assert_eq!(store.check().await, Check::Lost(Vec::new()));
            assert_eq!(store.check().await, Check::Later);
        }
        assert_eq!(check(&mut store).await, all[..MAX_SHELF_BLOCKS]);
        drop(refusal);
        let mut store = reopened(name, store).await;
        assert_eq!(hashes(&load(&mut store, false).await), all);
    }

    #[test]
    async fn a_full_disk_is_no_sign_that_a_record_cannot_be_read() {
        let name = "checking full";
        let mut store = packed(name).await;
        let len = suite::small_block(1).1.encoded_len();
        change(&store, SHELVES, 1, |bytes| bytes[3 * len - 1] ^= 1).await;
        load(&mut store, false).await;
        let key = records::number_key(1);
        let full = Misfortune::unwritable(name, SHELVES, &key);
        for _ in 0..MAX_CHECK_TRIES {
            assert_eq!(store.check().await, Check::Lost(Vec::new()));
            assert_eq!(store.check().await, Check::Later);
        }
        drop(full);
        // It can be written again, and for a moment not be read.
        let refusal = Misfortune::unreadable(name, SHELVES, &key);
        assert_eq!(store.check().await, Check::Lost(Vec::new()));
        assert_eq!(store.check().await, Check::Later);
        drop(refusal);
        assert_eq!(check(&mut store).await, [suite::small_block(3).0]);
    }

    #[test]
    async fn checking_waits_for_what_is_lost_and_goes_on() {
        let mut store = packed("checking on").await;
        store.max_lost = 0;
        let len = suite::small_block(1).1.encoded_len();
        change(&store, SHELVES, 1, |bytes| bytes[3 * len - 1] ^= 1).await;
        load(&mut store, false).await;
        let (third, block) = suite::small_block(3);
        assert_eq!(store.check().await, Check::Lost(vec![third]));
        for _ in 0..3 {
            assert_eq!(store.check().await, Check::Later);
        }
        suite::write(&mut store, vec![suite::put((third, block))]).await;
        assert_eq!(check(&mut store).await, []);
    }
}
