//! The clock of the native benchmarks.

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
