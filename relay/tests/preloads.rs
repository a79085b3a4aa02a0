//! What the build tells the page at its beginning, tested where a test can reach it.

#[path = "../build/preloads.rs"]
mod preloads;
