//! Runs the unit tests of `build/module_preloads.rs`: that file is part of the build script, where Cargo runs no tests.

#[path = "../build/module_preloads.rs"]
mod module_preloads;
