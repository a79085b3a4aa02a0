//! What the build leaves out of the page's scripts and styles, tested where a test can reach it.

#[path = "../build/comments.rs"]
mod comments;
