//! Tests of the JavaScript API in a real browser: a single tab, no relay, and a mining worker of the tests' own. The
//! scenarios are in `browser/*.js`, because the API is called from JavaScript. Uses the public API only.
#![cfg(target_arch = "wasm32")]

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::future_to_promise;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use wasm_node::{ApiError, HeartchainNode, NodeOptions};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen(module = "/tests/browser/check.js")]
extern "C" {
    #[wasm_bindgen(js_name = inWords, catch)]
    fn expect_message(error: &JsValue, what: &str) -> Result<(), JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = aloneOptions)]
    fn alone_options() -> NodeOptions;

    #[wasm_bindgen(js_name = invalidOptionsAreRefused, catch)]
    async fn invalid_options_are_refused(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = loneNodeMatchesDocumentation, catch)]
    async fn lone_node_matches_documentation(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = onlyHeartRatesAreRecorded, catch)]
    async fn invalid_heart_rates_are_refused(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = invalidBlockRangesAreRefused, catch)]
    async fn invalid_block_ranges_are_refused(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = stoppedNodeIsSilent, catch)]
    async fn stopped_node_is_silent(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = stoppedNodeLeavesItsSlot, catch)]
    async fn stopped_node_leaves_its_slot(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = startCanBeCanceled, catch)]
    async fn start_can_be_canceled(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = failuresAreReported, catch)]
    async fn failures_are_reported(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = unreachableRelayIsShown, catch)]
    async fn unreachable_relay_is_shown(node: &JsValue) -> Result<JsValue, JsValue>;
}

/// Searches for a nonce like `mineBatch`: header, start, tries. Lets a worker of the tests mine on this thread.
type Mine = Closure<dyn Fn(Vec<u8>, u64, u32) -> Option<u64>>;

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = recordedReadingIsMined, catch)]
    async fn recorded_reading_is_mined(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = workerGetsMiningLimit, catch)]
    async fn worker_gets_mining_limit(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = failedWorkerIsRestarted, catch)]
    async fn failed_worker_is_restarted(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = ownReadingsAreListed, catch)]
    async fn own_readings_are_listed(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = dryRunChangesNothing, catch)]
    async fn dry_run_changes_nothing(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = settingsCanBeChanged, catch)]
    async fn settings_can_be_changed(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = checkFindsAlteredFields, catch)]
    async fn check_finds_altered_fields(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = exportIsComplete, catch)]
    async fn export_is_complete(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = exportCanBeImported, catch)]
    async fn export_can_be_imported(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = importsTakeTurns, catch)]
    async fn imports_take_turns(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = namesAreSetAndExported, catch)]
    async fn names_are_set_and_exported(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = invalidFilesAreRefused, catch)]
    async fn invalid_files_are_refused(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = roomIsListedAndDeleted, catch)]
    async fn room_is_listed_and_deleted(
        node: &JsValue,
        module: &JsValue,
    ) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = authorMovesWithItsFile, catch)]
    async fn author_moves_with_its_file(
        node: &JsValue,
        module: &JsValue,
    ) -> Result<JsValue, JsValue>;
}

/// The exports of the module that need no node, which a page imports.
fn module() -> JsValue {
    let rooms: Closure<dyn Fn() -> Promise> =
        Closure::new(|| promise(async { wasm_node::rooms().await }));
    let label_room: Closure<dyn Fn(JsValue, JsValue) -> Promise> = Closure::new(|room, label| {
        promise(async {
            wasm_node::label_room(room, label)
                .await
                .map(|()| JsValue::UNDEFINED)
        })
    });
    let delete_room: Closure<dyn Fn(JsValue) -> Promise> = Closure::new(|room| {
        promise(async {
            wasm_node::delete_room(room)
                .await
                .map(|()| JsValue::UNDEFINED)
        })
    });
    let import_identity: Closure<dyn Fn(JsValue, JsValue) -> Promise> =
        Closure::new(|file, passphrase| promise(wasm_node::import_identity(file, passphrase)));
    let exports = [
        ("rooms", rooms.into_js_value()),
        ("labelRoom", label_room.into_js_value()),
        ("deleteRoom", delete_room.into_js_value()),
        ("importIdentity", import_identity.into_js_value()),
    ];
    let module = Object::new();
    for (name, export) in exports {
        Reflect::set(&module, &name.into(), &export).expect("an object");
    }
    module.into()
}

fn promise(work: impl Future<Output = Result<JsValue, ApiError>> + 'static) -> Promise {
    future_to_promise(async { work.await.map_err(JsValue::from) })
}

/// A node without a relay, in a room of its own, as a JavaScript value.
async fn alone() -> JsValue {
    match HeartchainNode::start(Some(alone_options()), None).await {
        Ok(node) => node.into(),
        Err(error) => panic!("the node does not start: {error:?}"),
    }
}

fn mine() -> Mine {
    Closure::new(|header: Vec<u8>, start, tries| {
        wasm_node::mine_batch(&header, start, tries).ok().flatten()
    })
}

#[wasm_bindgen_test]
async fn node_leaves_its_slot_when_stopped() -> Result<(), JsValue> {
    stopped_node_leaves_its_slot(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn canceled_start_leaves_nothing() -> Result<(), JsValue> {
    start_can_be_canceled(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn worker_and_document_failures_are_shown() -> Result<(), JsValue> {
    failures_are_reported(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn node_refuses_invalid_options() -> Result<(), JsValue> {
    invalid_options_are_refused(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn lone_node_is_as_documented() -> Result<(), JsValue> {
    lone_node_matches_documentation(&alone().await)
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_records_only_heart_rates() -> Result<(), JsValue> {
    invalid_heart_rates_are_refused(&alone().await)
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_refuses_invalid_block_ranges() -> Result<(), JsValue> {
    invalid_block_ranges_are_refused(&alone().await)
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_is_silent_once_stopped() -> Result<(), JsValue> {
    stopped_node_is_silent(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn node_shows_unreachable_relay() -> Result<(), JsValue> {
    unreachable_relay_is_shown(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn lone_node_mines_its_reading() -> Result<(), JsValue> {
    recorded_reading_is_mined(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_restarts_failed_worker() -> Result<(), JsValue> {
    failed_worker_is_restarted(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_lists_its_own_readings() -> Result<(), JsValue> {
    own_readings_are_listed(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_finds_altered_fields() -> Result<(), JsValue> {
    check_finds_altered_fields(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn dry_run_gives_verdict_without_effect() -> Result<(), JsValue> {
    dry_run_changes_nothing(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_can_be_isolated_and_limited() -> Result<(), JsValue> {
    settings_can_be_changed(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn node_limits_its_worker() -> Result<(), JsValue> {
    worker_gets_mining_limit(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_exports_its_room() -> Result<(), JsValue> {
    export_is_complete(&alone().await, &mine()).await.map(drop)
}

#[wasm_bindgen_test]
async fn node_imports_what_another_exported() -> Result<(), JsValue> {
    export_can_be_imported(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_imports_one_file_after_another() -> Result<(), JsValue> {
    imports_take_turns(&alone().await, &mine()).await.map(drop)
}

#[wasm_bindgen_test]
async fn node_sets_and_exports_names() -> Result<(), JsValue> {
    names_are_set_and_exported(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn page_lists_and_deletes_rooms() -> Result<(), JsValue> {
    room_is_listed_and_deleted(&alone().await, &module())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn page_moves_an_author() -> Result<(), JsValue> {
    author_moves_with_its_file(&alone().await, &module())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn node_refuses_invalid_files() -> Result<(), JsValue> {
    invalid_files_are_refused(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn every_store_passes_the_suite() {
    wasm_node::storage::suite::check(async || wasm_node::storage::MemoryStore::default()).await;
    let mut stores = 0;
    wasm_node::storage::suite::check(async || {
        stores += 1;
        let room = wasm_node::storage::suite::room();
        wasm_node::storage::IndexedDb::open_empty(&format!("test store {stores}"), &room).await
    })
    .await;
}

#[wasm_bindgen_test]
fn mining_refuses_invalid_headers() -> Result<(), JsValue> {
    for (length, what) in [
        (0, "an empty header"),
        (92, "a truncated header"),
        (94, "a header with a trailing byte"),
        (93, "a header with a target that no hash meets"),
    ] {
        match wasm_node::mine_batch(&vec![0; length], 0, 1) {
            Ok(nonce) => panic!("{what} was accepted and gave {nonce:?}"),
            Err(error) => expect_message(&error.into(), what)?,
        }
    }
    Ok(())
}
