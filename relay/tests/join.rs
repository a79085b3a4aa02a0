//! How the build joins the page's modules, tested where a test can reach it.

#[path = "../build/join.rs"]
mod join;
#[path = "../build/preloads.rs"]
mod preloads;
