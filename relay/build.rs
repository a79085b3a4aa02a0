//! Builds what the relay serves, so that one command is enough: the wasm of `wasm-node`, its JavaScript glue,
//! and the files of `www`, all compressed and written to a table that `src/assets.rs` includes.
//!
//! `HEARTCHAIN_SKIP_WASM=1` leaves all of that out (Clippy and `cargo check` run build scripts, too, and so do
//! tests that need no page); the relay then serves a page that says so. `HEARTCHAIN_WASM_PROFILE=wasm-fast` is for
//! whoever changes `wasm-node` again and again: quickly built, larger and slower.
//!
//! It downloads nothing itself: Cargo fetches crates, and rustup the wasm target where that is missing.

#[path = "build/assets.rs"]
mod assets;
#[path = "build/comments.rs"]
mod comments;
#[path = "build/join.rs"]
mod join;
#[path = "build/preloads.rs"]
mod preloads;
#[path = "build/sheets.rs"]
mod sheets;
#[path = "build/tell.rs"]
mod tell;
#[path = "build/versions.rs"]
mod versions;
#[path = "build/wasm.rs"]
mod wasm;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

/// Any value but the empty one and 0 leaves the page out.
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
    let relay = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("run by Cargo only")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").context("run by Cargo only")?);
    let workspace = relay.parent().context("the relay is in a workspace")?;

    for name in [SKIP, wasm::PROFILE] {
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
        // What somebody's wasm-pack left there is not ours.
        files.add_folder_except("", &workspace.join("www"), "pkg")?;
        files.leave_out_comments(&out.join("uncommented"))?;
        files.join(&out.join("joined"))?;
        files.write_preloads(&out)?;
        version = files.version()?;
        files.write_version(&out, &version)?;
        files.write_precache(&out, &version)?;
    }
    files.embed(&out, &version)
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
