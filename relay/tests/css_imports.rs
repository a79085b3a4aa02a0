//! Runs the unit tests of `build/css_imports.rs`: that file is part of the build script, where Cargo runs no tests.

#[path = "../build/css_imports.rs"]
mod css_imports;
