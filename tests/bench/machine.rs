//! Native benchmarks of the validation rules and the sync machine. `cargo bench -p heartchain-sync --bench machine`
//! prints the table. Arguments after `--` choose parts of it: `rules`, `catch_up`, `reorganise`, `wire`.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a benchmark has no public API"
)]

mod catch_up;
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
        rules::measure(&mut report, &clock_ms, 10_000, 5);
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

/// CPU time of this process in milliseconds: other load on the computer does not count.
#[cfg(target_os = "linux")]
pub fn clock_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Elapsed time in milliseconds, where CPU time is not available.
#[cfg(not(target_os = "linux"))]
pub fn clock_ms() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    start.elapsed().as_secs_f64() * 1e3
}
