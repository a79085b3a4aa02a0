//! Native benchmarks of the validation rules and the sync machine. `cargo bench -p heartchain-sync --bench machine`
//! prints the table. Arguments after `--` choose parts of it: `rules`, `catch_up`, `reorganise`, `wire`.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a benchmark has no public API"
)]

mod catch_up;
mod clock;
mod network;
mod report;
mod rules;
mod wire;
mod workload;

use peak_alloc::PeakAlloc;

/// Counts allocated bytes.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() {
    let long = std::env::var_os("HEARTCHAIN_BENCH_LONG").is_some();
    let mut report = report::Report::default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| *word == part);
    if wanted("rules") {
        rules::measure(&mut report, &clock::clock_ms, 10_000, 5);
    }
    if wanted("catch_up") {
        catch_up::measure(&mut report, &HEAP, long);
    }
    if wanted("reorganise") {
        catch_up::reorganise(&mut report, 1_000);
    }
    if wanted("wire") {
        wire::measure(&mut report);
    }
    println!("{}", report.table());
}
