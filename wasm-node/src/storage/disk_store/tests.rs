//! Tests of the store on disk, by its results and by the calls that it makes to the browser.

use futures::StreamExt;
use heartchain_sync::{driver::StoreAnswer, io::WriteId};
use js_sys::Function;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::storage::{
    Answer, Queue, fault_injector::FaultInjector, segments::MAX_SEGMENT_BLOCKS, suite,
};

#[test]
async fn indexed_db_passes_the_suite() {
    let mut stores = 0;
    suite::check(async || {
        stores += 1;
        IndexedDb::open_empty(&format!("suite {stores}"), &suite::room()).await
    })
    .await;
}

/// Logs when segments of a database are requested, read and written. Returns a function that ends this and returns the
/// log.
const WATCH: &str = r#"
    const [store, notes] = [IDBObjectStore.prototype, []];
    const { get, put } = store;
    const here = (records) => records.name === "shelves" && records.transaction.db.name === database;
    store.get = function (key) {
        const request = get.call(this, key);
        if (here(this)) {
            notes.push(`ask ${key}`);
            request.addEventListener("success", () => notes.push(`get ${key}`));
        }
        return request;
    };
    store.put = function (value, key) {
        if (here(this)) notes.push(`put ${key}`);
        return put.call(this, value, key);
    };
    return () => {
        Object.assign(store, { get, put });
        return notes.join(", ");
    };
"#;

fn watch(database: &str) -> Function {
    let watch = Function::new_with_args("database", WATCH);
    let notes = watch.call1(&JsValue::NULL, &database.into());
    notes.expect("it runs").into()
}

fn notes(watch: &Function) -> Option<String> {
    watch.call0(&JsValue::NULL).expect("it runs").as_string()
}

#[test]
async fn one_segment_is_in_memory_at_a_time() {
    let name = "one at a time";
    let mut store = IndexedDb::open_empty(name, &suite::room()).await;
    let blocks = suite::branch(1, 3 * MAX_SEGMENT_BLOCKS as u64, 1);
    suite::write(&mut store, blocks.iter().cloned().map(suite::put).collect()).await;
    assert!(store.rows.is_empty());
    let lost = [7, 300, 600, 8].map(|at| blocks[at].clone());

    let watch_reads = watch(name);
    let bodies = store.bodies(&lost.each_ref().map(|(hash, _)| *hash)).await;
    let found = lost
        .each_ref()
        .map(|(_, block)| Some(block.readings.clone()));
    assert_eq!(bodies, Ok(found.to_vec()));
    assert_eq!(
        notes(&watch_reads).as_deref(),
        Some("ask 1, get 1, ask 257, get 257, ask 513, get 513")
    );

    let watch_writes = watch(name);
    suite::write(&mut store, lost.map(suite::put).to_vec()).await;
    assert_eq!(
        notes(&watch_writes).as_deref(),
        Some("ask 1, get 1, put 1, ask 257, get 257, put 257, ask 513, get 513, put 513")
    );
    assert_eq!(store.rows.len(), 4);
}

#[test]
async fn blocks_leave_space_for_own_readings() {
    // One eighth is reserved for own readings, another one for protected blocks.
    let (quota, reserved) = (800_000, 200_000);
    let small = FaultInjector::small_disk(0, quota);
    let mut store = IndexedDb::open_empty("room", &suite::room()).await;
    store.health.refresh_estimate(true).await;
    let mut written = 0;
    let mut full = None;
    for (hash, block) in suite::branch(1, 200, 100) {
        let len = block.encoded_len();
        let batch = Batch {
            operations: vec![suite::put((hash, block))],
            strict: false,
        };
        match store.write(batch).await {
            Ok(()) => written += len,
            Err(error) => {
                full = Some(error);
                break;
            }
        }
    }
    let left = u64::from(quota) - written as u64;
    assert_eq!(full, Some(StoreError::Reserved { left }));
    let block = suite::branch(1, 1, 100)[0].1.encoded_len() as u64;
    assert!(
        (reserved..reserved + block).contains(&left),
        "{left} bytes are left"
    );
    // There is still space for a protected block.
    let (hash, protected) = suite::branch(201, 1, 100).remove(0);
    let protected = Batch {
        operations: vec![
            suite::put((hash, protected)),
            StoreOperation::PutRecovery(hash),
        ],
        strict: false,
    };
    assert_eq!(store.write(protected).await, Ok(()));
    store.health.note_refused(true);
    // Own readings and deletions are written all the same.
    suite::write(&mut store, vec![entry()]).await;
    let gone = Batch {
        operations: vec![StoreOperation::DeleteBlock(suite::branch(1, 1, 100)[0].0)],
        strict: false,
    };
    assert_eq!(store.write(gone).await, Ok(()));
    // The failure is reported until blocks can be written again.
    assert!(store.health.failing());
    drop(small);
    let block = suite::branch(301, 1, 100).remove(0);
    let batch = Batch {
        operations: vec![suite::put(block)],
        strict: false,
    };
    assert_eq!(store.write(batch).await, Ok(()));
    assert!(!store.health.failing());
}

/// An operation that writes a journal entry.
fn entry() -> StoreOperation {
    StoreOperation::PutJournal(0, suite::journal_entry(0))
}

#[test]
async fn written_reading_does_not_hide_full_disk() {
    let _small = FaultInjector::small_disk(800_000, 800_000);
    let store = IndexedDb::open_empty("no room", &suite::room()).await;
    let health = store.health.clone();
    health.refresh_estimate(true).await;
    let (mut queue, mut answers) = Queue::new(store, health.clone());
    let block = Batch {
        operations: vec![suite::put(suite::small_block(1))],
        strict: false,
    };
    assert!(queue.write(WriteId(1), block).is_ok());
    let refused = answers.next().await;
    assert!(
        matches!(
            refused,
            Some(Answer::Machine(StoreAnswer::WriteFailed {
                id: WriteId(1),
                full: true
            }))
        ),
        "{refused:?}"
    );
    assert!(health.failing());
    let reading = Batch {
        operations: vec![entry()],
        strict: true,
    };
    assert!(queue.write(WriteId(2), reading).is_ok());
    let kept = answers.next().await;
    assert!(
        matches!(
            kept,
            Some(Answer::Machine(StoreAnswer::Written(WriteId(2))))
        ),
        "{kept:?}"
    );
    assert!(health.failing());
}

#[test]
async fn unreadable_segment_fails_the_whole_batch() {
    let name = "one illegible";
    let mut store = IndexedDb::open_empty(name, &suite::room()).await;
    let blocks = suite::branch(1, 2 * MAX_SEGMENT_BLOCKS as u64, 1);
    suite::write(&mut store, blocks.iter().cloned().map(suite::put).collect()).await;
    let gone = [7, 300].map(|at| blocks[at].0);
    let batch = Batch {
        operations: gone.map(StoreOperation::DeleteBlock).to_vec(),
        strict: false,
    };
    let refusal = FaultInjector::unreadable(name, SEGMENTS, &records::number_key(257));
    assert!(store.write(batch.clone()).await.is_err());
    drop(refusal);
    let here = store.bodies(&gone).await.expect("they can be read");
    assert!(here.iter().all(Option::is_some));
    assert_eq!(store.write(batch).await, Ok(()));
    assert_eq!(store.bodies(&gone).await, Ok(vec![None, None]));
}
