//! How the build gives the page's files addresses of their version, tested where a test can reach it.

#[path = "../build/versions.rs"]
mod versions;
