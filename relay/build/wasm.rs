//! Builds `wasm-node` for the browser with a Cargo of its own, and the JavaScript glue around it.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use wasm_bindgen_cli_support::Bindgen;

use crate::{assets::sha256, tell::tell};

const TARGET: &str = "wasm32-unknown-unknown";

/// Names the Cargo profile of the browser's part; `wasm-fast` builds in seconds what `wasm` does in minutes.
pub(crate) const PROFILE: &str = "HEARTCHAIN_WASM_PROFILE";
/// What people get.
const RELEASE_PROFILE: &str = "wasm";

/// What wasm-bindgen makes that is served: the wasm, its glue, and the types of both for whoever writes a script.
const PACKAGE_FILES: [&str; 3] = ["wasm_node_bg.wasm", "wasm_node.js", "wasm_node.d.ts"];

/// Variables of ours that the inner Cargo must not see: flags and wrappers for the outer target (Clippy's
/// among them), and a target folder that the outer Cargo holds the lock of.
const NOT_INHERITED: [&str; 4] = [
    "RUSTFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];
/// Beginnings of the `CARGO_...` variables that it must see: where crates come from.
const INHERITED: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_COLOR",
];

/// Builds the wasm and its glue into `package`, and returns that.
pub(crate) fn build(workspace: &Path, package: &Path) -> Result<PathBuf> {
    ensure_target(workspace)?;
    let wasm = build_wasm(workspace)?;
    make_glue(&wasm, package)?;
    Ok(package.to_owned())
}

/// Installs the wasm target where it is missing. rustup usually does that by itself, told by
/// rust-toolchain.toml, but not where `RUSTUP_AUTO_INSTALL=0` is set.
fn ensure_target(workspace: &Path) -> Result<()> {
    if has_target()? {
        return Ok(());
    }
    tell(&format!("installs the Rust target {TARGET}"));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(workspace)
        .output();
    let reason = match added {
        Ok(output) if output.status.success() && has_target()? => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("cannot run rustup: {error}"),
    };
    bail!(
        "the Rust target {TARGET} is missing, and installing it failed.\n\
         Run this, then try again:\n\n    rustup target add {TARGET}\n\n{reason}"
    )
}

fn has_target() -> Result<bool> {
    let rustc = env::var_os("RUSTC").context("run by Cargo only")?;
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run rustc")?;
    let folder = String::from_utf8(output.stdout).context("rustc names a strange folder")?;
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}

fn build_wasm(workspace: &Path) -> Result<PathBuf> {
    // One fixed folder for every outer profile; never the outer target folder, whose lock is taken.
    let target = workspace.join("target").join("wasm");
    let profile = env::var(PROFILE).unwrap_or_else(|_| RELEASE_PROFILE.to_owned());
    let wasm = target.join(TARGET).join(&profile).join("wasm_node.wasm");
    let mut cargo = Command::new(env::var_os("CARGO").context("run by Cargo only")?);
    cargo
        .args(["build", "--locked", "--package", "wasm-node", "--lib"])
        .args(["--target", TARGET, "--profile", &profile, "--target-dir"])
        .arg(&target)
        .current_dir(workspace);
    for (name, _) in env::vars_os() {
        if !is_inherited(&name) {
            cargo.env_remove(name);
        }
    }
    // Flags that name this folder would keep another checkout from sharing what a fast build has made.
    if profile == RELEASE_PROFILE {
        cargo.env("CARGO_ENCODED_RUSTFLAGS", without_local_paths(workspace));
    }

    let words = if wasm.exists() {
        "brings the browser's part (wasm-node) up to date"
    } else {
        "builds the browser's part (wasm-node); the first time takes a few minutes"
    };
    tell(words);
    let start = Instant::now();
    let output = cargo.output().context("cannot run the inner Cargo")?;
    if !output.status.success() {
        bail!(
            "the browser's part (wasm-node) does not build:\n\n{}",
            without_progress(&String::from_utf8_lossy(&output.stderr))
        );
    }
    tell(&format!(
        "has built the browser's part in {} s",
        start.elapsed().as_secs()
    ));
    ensure!(wasm.is_file(), "{} was not built", wasm.display());
    Ok(wasm)
}

/// Flags that keep this machine's folders out of the messages of panics, which every visitor downloads.
fn without_local_paths(workspace: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry").join("src")).ok());
    let mut folders: Vec<PathBuf> = registries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // Always in one order: other flags would mean to build everything anew.
    folders.sort();
    folders.push(workspace.to_owned());
    let flags: Vec<String> = folders
        .iter()
        .map(|folder| format!("--remap-path-prefix={}=", folder.display()))
        .collect();
    // Cargo's own separator: a folder's name may have spaces in it.
    flags.join("\u{1f}")
}

/// What Cargo said, but for the hundreds of lines that only say how far it is.
fn without_progress(said: &str) -> String {
    let is_progress = |line: &&str| {
        ["Compiling ", "Downloading ", "Downloaded "]
            .iter()
            .any(|start| line.trim_start().starts_with(start))
    };
    let kept: Vec<&str> = said.lines().filter(|line| !is_progress(line)).collect();
    kept.join("\n")
}

fn is_inherited(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    if name.starts_with("CARGO") && name != "CARGO" {
        return INHERITED.iter().any(|start| name.starts_with(start));
    }
    !NOT_INHERITED.contains(&name.as_ref())
}

/// Runs wasm-bindgen, unless it has been run for this very wasm.
fn make_glue(wasm: &Path, package: &Path) -> Result<()> {
    let hash = sha256(&fs::read(wasm)?);
    let made_from = package.with_extension("sha256");
    let is_whole = PACKAGE_FILES
        .iter()
        .all(|name| package.join(name).is_file());
    if is_whole && fs::read_to_string(&made_from).is_ok_and(|made_from| made_from == hash) {
        return Ok(());
    }
    if package.exists() {
        fs::remove_dir_all(package)?;
    }
    Bindgen::new()
        .input_path(wasm)
        .out_name("wasm_node")
        .web(true)?
        .typescript(true)
        // Else a bare `init()` would not know where the wasm is.
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(package)
        .context("wasm-bindgen cannot make the glue")?;
    fs::write(&made_from, hash)?;
    Ok(())
}
