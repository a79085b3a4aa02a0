//! The package as JavaScript sees it, in a real browser: a single tab, no relay, a mining worker of the tests'
//! own. What is checked stands in `browser/*.js`, because that is who will call it. Never looks inside.
#![cfg(target_arch = "wasm32")]

use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use wasm_node::{Node, NodeOptions};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen(module = "/tests/browser/check.js")]
extern "C" {
    #[wasm_bindgen(js_name = inWords, catch)]
    fn in_words(error: &JsValue, what: &str) -> Result<(), JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = aloneOptions)]
    fn alone_options() -> NodeOptions;

    #[wasm_bindgen(js_name = refusesWhatItCannotUse, catch)]
    async fn refuses_what_it_cannot_use(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = looksAsDocumented, catch)]
    async fn looks_as_documented(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = recordsOnlyHeartRates, catch)]
    async fn records_only_heart_rates(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = readsOnlyBlocksThatMayBeAskedFor, catch)]
    async fn reads_only_blocks_that_may_be_asked_for(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = isQuietOnceStopped, catch)]
    async fn is_quiet_once_stopped(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = showsARelayThatIsOutOfReach, catch)]
    async fn shows_a_relay_that_is_out_of_reach(node: &JsValue) -> Result<JsValue, JsValue>;
}

/// Hashes for a worker of the tests' own: header, start, tries, as `mineBatch` takes them.
type Mine = Closure<dyn Fn(Vec<u8>, u64, u32) -> Option<u64>>;

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = minesWhatWasRecorded, catch)]
    async fn mines_what_was_recorded(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = tellsItsWorkerHowFastItMayBe, catch)]
    async fn tells_its_worker_how_fast_it_may_be(
        node: &JsValue,
        mine: &Mine,
    ) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = startsAFailedWorkerAgain, catch)]
    async fn starts_a_failed_worker_again(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = showsItsOwnReadings, catch)]
    async fn shows_its_own_readings(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = rehearsesWithoutHarm, catch)]
    async fn rehearses_without_harm(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = takesItsSwitches, catch)]
    async fn takes_its_switches(node: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = checksABlockAgain, catch)]
    async fn checks_a_block_again(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen(module = "/tests/browser/scenarios.js")]
extern "C" {
    #[wasm_bindgen(js_name = exportsWhatCanBeVerified, catch)]
    async fn exports_what_can_be_verified(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = importsWhatAnotherExported, catch)]
    async fn imports_what_another_exported(node: &JsValue, mine: &Mine)
    -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = refusesFilesInWords, catch)]
    async fn refuses_files_in_words(node: &JsValue, mine: &Mine) -> Result<JsValue, JsValue>;
}

/// A node that knows no relay, in a room of its own, as JavaScript holds it.
async fn alone() -> JsValue {
    match Node::start(alone_options()).await {
        Ok(node) => node.into(),
        Err(error) => panic!("a node starts: {:?}", JsValue::from(error)),
    }
}

fn mine() -> Mine {
    Closure::new(|header: Vec<u8>, start, tries| {
        wasm_node::mine_batch(&header, start, tries).ok().flatten()
    })
}

#[wasm_bindgen_test]
async fn a_node_refuses_in_words_what_it_cannot_use() -> Result<(), JsValue> {
    refuses_what_it_cannot_use(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn a_lone_node_looks_as_documented() -> Result<(), JsValue> {
    looks_as_documented(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn only_heart_rates_are_recorded() -> Result<(), JsValue> {
    records_only_heart_rates(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn only_blocks_that_may_be_asked_for_are_read() -> Result<(), JsValue> {
    reads_only_blocks_that_may_be_asked_for(&alone().await)
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_stopped_node_is_quiet_and_says_so() -> Result<(), JsValue> {
    is_quiet_once_stopped(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn a_relay_that_is_out_of_reach_is_shown_and_is_no_error() -> Result<(), JsValue> {
    shows_a_relay_that_is_out_of_reach(&alone().await)
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_lone_node_mines_what_was_recorded() -> Result<(), JsValue> {
    mines_what_was_recorded(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_worker_that_fails_is_started_again() -> Result<(), JsValue> {
    starts_a_failed_worker_again(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_node_shows_its_own_readings_and_where_they_stand() -> Result<(), JsValue> {
    shows_its_own_readings(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_block_s_sums_are_done_again_from_what_is_passed() -> Result<(), JsValue> {
    checks_a_block_again(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_rehearsal_tells_the_verdict_and_changes_nothing() -> Result<(), JsValue> {
    rehearses_without_harm(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn a_node_is_cut_off_and_slowed_by_switches() -> Result<(), JsValue> {
    takes_its_switches(&alone().await).await.map(drop)
}

#[wasm_bindgen_test]
async fn a_worker_is_told_how_fast_it_may_be() -> Result<(), JsValue> {
    tells_its_worker_how_fast_it_may_be(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn an_export_has_all_that_is_needed_to_verify_it() -> Result<(), JsValue> {
    exports_what_can_be_verified(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn what_one_node_exports_another_imports() -> Result<(), JsValue> {
    imports_what_another_exported(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn files_that_break_a_rule_are_refused_in_words() -> Result<(), JsValue> {
    refuses_files_in_words(&alone().await, &mine())
        .await
        .map(drop)
}

#[wasm_bindgen_test]
async fn every_store_keeps_its_promises() {
    wasm_node::storage::suite::check(async || wasm_node::storage::MemoryStore::default()).await;
    let mut stores = 0;
    wasm_node::storage::suite::check(async || {
        stores += 1;
        let room = wasm_node::storage::suite::room().id();
        wasm_node::storage::IndexedDb::anew(&format!("test store {stores}"), room).await
    })
    .await;
}

#[wasm_bindgen_test]
fn mining_refuses_in_words_what_is_no_header() -> Result<(), JsValue> {
    for (length, what) in [
        (0, "no header"),
        (92, "a header cut short"),
        (94, "a header and more"),
        (93, "a header with a target that no hash meets"),
    ] {
        match wasm_node::mine_batch(&vec![0; length], 0, 1) {
            Ok(nonce) => panic!("{what} is refused, but gave {nonce:?}"),
            Err(error) => in_words(&error.into(), what)?,
        }
    }
    Ok(())
}
