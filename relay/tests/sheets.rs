//! How the build joins the page's style sheets, tested where a test can reach it.

#[path = "../build/sheets.rs"]
mod sheets;
