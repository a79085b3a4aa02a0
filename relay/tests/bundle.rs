//! Runs the unit tests of `build/bundle.rs`: that file is part of the build script, where Cargo runs no tests.

#[path = "../build/bundle.rs"]
mod bundle;
#[path = "../build/module_preloads.rs"]
mod module_preloads;
