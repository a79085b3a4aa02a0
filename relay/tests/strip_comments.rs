//! Runs the unit tests of `build/strip_comments.rs`: that file is part of the build script, where Cargo runs no tests.

#[path = "../build/strip_comments.rs"]
mod strip_comments;
