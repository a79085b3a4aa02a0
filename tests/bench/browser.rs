//! Benchmarks of block validation and mining in a real browser. `tests/run.sh bench` runs them in release mode.
#![cfg(target_arch = "wasm32")]
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a benchmark has no public API"
)]

mod report;
mod rules;
mod workload;

use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn validation_and_mining_against_raw_crypto() {
    let mut report = report::Report::default();
    rules::measure(&mut report, &js_sys::Date::now, 2_000, 5);
    console_log!("{}", report.table());
}
