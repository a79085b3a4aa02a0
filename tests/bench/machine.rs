//! What the rules and the machine cost, natively. `cargo bench -p sync` prints the table.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a benchmark, on data of its own"
)]

mod catch_up;
mod report;
mod rules;
mod wire;
mod workload;

use std::time::Instant;

use peak_alloc::PeakAlloc;

/// Counts what is allocated.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() {
    let start = Instant::now();
    let clock = move || start.elapsed().as_secs_f64() * 1_000.0;
    let long = std::env::var_os("HEARTCHAIN_BENCH_LONG").is_some();
    let mut report = report::Report::default();
    rules::measure(&mut report, &clock, 10_000, 5);
    catch_up::measure(&mut report, &HEAP, long);
    wire::measure(&mut report);
    println!("{}", report.table());
}
