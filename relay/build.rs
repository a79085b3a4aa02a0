//! Builds the page that the relay serves, so `cargo run -p relay` is the only command needed.
//!
//! It compiles `wasm-node` to wasm, generates the JavaScript glue, compresses these and the files of `www`, and writes a
//! table that `src/assets.rs` includes. The modules of `www` are served as they are, but for their comments.
//!
//! Environment variables:
//! - `HEARTCHAIN_SKIP_WASM=1` skips all of that, because Clippy, `cargo check` and tests that need no page also run
//!   build scripts. The relay then serves a page that says so.
//! - `HEARTCHAIN_WASM_PROFILE=wasm-fast` builds faster, for work on `wasm-node`. The result is larger and slower.
//!
//! It downloads nothing itself: Cargo fetches crates, and rustup installs the wasm target if it is missing.

#[path = "build/assets.rs"]
mod assets;
#[path = "build/comments.rs"]
mod comments;
#[path = "build/progress.rs"]
mod progress;
#[path = "build/wasm.rs"]
mod wasm;
#[path = "build/wasm_names.rs"]
mod wasm_names;
#[path = "build/wasm_order.rs"]
mod wasm_order;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

/// Environment variable that leaves the page out if it is set, except to 0 or the empty string.
const SKIP: &str = "HEARTCHAIN_SKIP_WASM";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let relay = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").context("this build script must be run by Cargo")?,
    );
    let out =
        PathBuf::from(env::var_os("OUT_DIR").context("this build script must be run by Cargo")?);
    let workspace = relay.parent().context("the relay is not in a workspace")?;

    for name in [SKIP, wasm::PROFILE, wasm::NAMES] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in ["build.rs", "build"] {
        rerun_if_changed(&relay.join(path));
    }

    let mut files = assets::Files::default();
    let version;
    if env::var_os(SKIP).is_some_and(|value| !value.is_empty() && value != "0") {
        files.add("index.html", relay.join("build/no-page.html"));
        version = files.version()?;
    } else {
        for path in [
            "wasm-node",
            "Cargo.toml",
            "Cargo.lock",
            "rust-toolchain.toml",
            "www",
        ] {
            rerun_if_changed(&workspace.join(path));
        }
        let package = wasm::build(workspace, &out.join("pkg"))?;
        files.add_folder("pkg", &package)?;
        // `www/pkg` is not ours: it may contain the output of a manual wasm-pack run.
        files.add_folder_except("", &workspace.join("www"), "pkg")?;
        if wasm::is_release() {
            files.remove_comments(&out.join("without-comments"))?;
        }
        version = files.version()?;
        files.write_versioned_urls(&out, &version)?;
        files.write_precache(&out, &version)?;
    }
    files.embed(&out, &version, wasm::max_compressed())
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
