//! Runs the unit tests of `build/versioned_urls.rs`: that file is part of the build script, where Cargo runs no tests.

#[path = "../build/versioned_urls.rs"]
mod versioned_urls;
