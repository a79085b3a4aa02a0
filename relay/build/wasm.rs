//! Compiles `wasm-node` to wasm with a separate Cargo process, and generates its JavaScript glue with wasm-bindgen.

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

use crate::{assets::sha256, progress::report_progress, wasm_names::ShortNames, wasm_order};

const TARGET: &str = "wasm32-unknown-unknown";

/// Environment variable with the Cargo profile for `wasm-node`. `wasm-fast` takes seconds, and `wasm` minutes.
pub(crate) const PROFILE: &str = "HEARTCHAIN_WASM_PROFILE";
/// The profile that is used if [`PROFILE`] is not set.
const RELEASE_PROFILE: &str = "wasm";

/// Environment variable that keeps the names of functions in the wasm, for CPU profiles in a browser. The page then downloads more.
pub(crate) const NAMES: &str = "HEARTCHAIN_WASM_NAMES";

/// The profile for development. With it, the page prints traces where it is asked to.
const FAST_PROFILE: &str = "wasm-fast";

/// Longest file that is compressed in another profile, in bytes: compressing the wasm takes longer than building it.
const MAX_COMPRESSED_FAST: usize = 256 * 1024;

/// The output of wasm-bindgen that is served: the wasm, its glue, and the TypeScript types for users of the API.
const PACKAGE_FILES: [&str; 3] = ["wasm_node_bg.wasm", "wasm_node.js", "wasm_node.d.ts"];

/// Environment variables that the inner Cargo must not inherit: flags and wrappers for the outer target, such as
/// Clippy's.
const NOT_INHERITED: [&str; 4] = [
    "RUSTFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];
/// Prefixes of the `CARGO_...` variables that the inner Cargo inherits: the ones that say where crates come from.
///
/// All others are removed, such as the target folder, whose lock the outer Cargo holds.
const INHERITED: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_COLOR",
];

/// The profile of this build.
fn profile() -> String {
    env::var(PROFILE).unwrap_or_else(|_| RELEASE_PROFILE.to_owned())
}

fn keeps_names() -> bool {
    env::var_os(NAMES).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Whether this build is for users, and not for work on `wasm-node`.
pub(crate) fn is_release() -> bool {
    profile() == RELEASE_PROFILE
}

/// Longest file that is worth compressing in this build, in bytes.
pub(crate) fn max_compressed() -> usize {
    if is_release() {
        usize::MAX
    } else {
        MAX_COMPRESSED_FAST
    }
}

/// Builds the wasm and its glue into the folder `package`, and returns that folder.
pub(crate) fn build(workspace: &Path, package: &Path) -> Result<PathBuf> {
    ensure_target(workspace)?;
    let wasm = build_wasm(workspace)?;
    generate_glue(&wasm, package)?;
    Ok(package.to_owned())
}

/// Installs the wasm target if it is missing. rustup usually does that automatically because of rust-toolchain.toml,
/// but not if `RUSTUP_AUTO_INSTALL=0` is set.
fn ensure_target(workspace: &Path) -> Result<()> {
    if has_target()? {
        return Ok(());
    }
    report_progress(&format!("installing the Rust target {TARGET}"));
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
        "the Rust target {TARGET} is missing and could not be installed.\n\
         Run this command and try again:\n\n    rustup target add {TARGET}\n\n{reason}"
    )
}

fn has_target() -> Result<bool> {
    let rustc = env::var_os("RUSTC").context("this build script must be run by Cargo")?;
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run rustc")?;
    let folder = String::from_utf8(output.stdout)
        .context("the path that rustc prints is not valid UTF-8")?;
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}

fn build_wasm(workspace: &Path) -> Result<PathBuf> {
    // The same folder for every outer profile. Not the outer target folder, whose lock the outer Cargo holds.
    let target = workspace.join("target").join("wasm");
    let profile = profile();
    let wasm = target.join(TARGET).join(&profile).join("wasm_node.wasm");
    let mut cargo =
        Command::new(env::var_os("CARGO").context("this build script must be run by Cargo")?);
    cargo
        .args(["build", "--locked", "--package", "wasm-node", "--lib"])
        .args(["--target", TARGET, "--profile", &profile, "--target-dir"])
        .arg(&target)
        .current_dir(workspace);
    if profile == FAST_PROFILE {
        cargo.args(["--no-default-features", "--features", "trace"]);
    }
    for (name, _) in env::vars_os() {
        if !is_inherited(&name) {
            cargo.env_remove(name);
        }
    }
    // These flags contain the path of the workspace, so other checkouts could not share the output of a fast build.
    if profile == RELEASE_PROFILE {
        cargo.env("CARGO_ENCODED_RUSTFLAGS", path_remapping_flags(workspace));
    }

    let message = if wasm.exists() {
        "updating the browser code (wasm-node)"
    } else {
        "building the browser code (wasm-node); the first build takes a few minutes"
    };
    report_progress(message);
    let start = Instant::now();
    let output = cargo.output().context("cannot run the inner Cargo")?;
    if !output.status.success() {
        bail!(
            "cannot build the browser code (wasm-node):\n\n{}",
            without_progress(&String::from_utf8_lossy(&output.stderr))
        );
    }
    report_progress(&format!(
        "built the browser code in {} s",
        start.elapsed().as_secs()
    ));
    ensure!(wasm.is_file(), "{} was not built", wasm.display());
    Ok(wasm)
}

/// Compiler flags that keep local paths out of panic messages, which are part of the wasm that every visitor downloads.
fn path_remapping_flags(workspace: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry").join("src")).ok());
    let mut folders: Vec<PathBuf> = registries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // Sorted, because a different order of the flags would trigger a full rebuild.
    folders.sort();
    folders.push(workspace.to_owned());
    let flags: Vec<String> = folders
        .iter()
        .map(|folder| format!("--remap-path-prefix={}=", folder.display()))
        .collect();
    // The separator of `CARGO_ENCODED_RUSTFLAGS`, because paths may contain spaces.
    flags.join("\u{1f}")
}

/// Cargo's output without the hundreds of lines that only report progress.
fn without_progress(output: &str) -> String {
    let is_progress = |line: &&str| {
        ["Compiling ", "Downloading ", "Downloaded "]
            .iter()
            .any(|start| line.trim_start().starts_with(start))
    };
    let kept: Vec<&str> = output.lines().filter(|line| !is_progress(line)).collect();
    kept.join("\n")
}

fn is_inherited(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    if name.starts_with("CARGO") && name != "CARGO" {
        return INHERITED.iter().any(|start| name.starts_with(start));
    }
    !NOT_INHERITED.contains(&name.as_ref())
}

/// What wasm-bindgen exports as `init()`: two calls at once load two instances, and objects of one use the memory of the
/// other.
const UNSAFE_EXPORT: &str = "export { initSync, __wbg_init as default };";
/// What the package exports instead: all calls wait for the first one. A call after a failure tries again.
const SAFE_EXPORT: &str = "\
let __wbg_initializing;

function __wbg_init_once(module_or_path) {
    __wbg_initializing ??= __wbg_init(module_or_path).catch((error) => {
        __wbg_initializing = undefined;
        throw error;
    });
    return __wbg_initializing;
}

export { initSync, __wbg_init_once as default };";

/// Runs wasm-bindgen, unless its output for this wasm already exists.
fn generate_glue(wasm: &Path, package: &Path) -> Result<()> {
    let names = if keeps_names() { "names" } else { "" };
    let changes = [
        SAFE_EXPORT,
        &NOT_DECLARED.concat(),
        names,
        include_str!("wasm_names.rs"),
        include_str!("wasm_order.rs"),
    ]
    .concat();
    let hash = sha256(&fs::read(wasm)?) + &sha256(changes.as_bytes());
    let made_from = package.with_extension("sha256");
    let is_complete = PACKAGE_FILES
        .iter()
        .all(|name| package.join(name).is_file());
    if is_complete && fs::read_to_string(&made_from).is_ok_and(|made_from| made_from == hash) {
        return Ok(());
    }
    // Before anything changes: what is left of a build that fails has no stamp.
    if made_from.exists() {
        fs::remove_file(&made_from)?;
    }
    if package.exists() {
        fs::remove_dir_all(package)?;
    }
    Bindgen::new()
        .input_path(wasm)
        .out_name("wasm_node")
        .web(true)?
        .typescript(true)
        // Without this, `init()` without arguments would not find the wasm.
        .omit_default_module_path(false)
        .remove_name_section(!keeps_names())
        .remove_producers_section(true)
        .generate(package)
        .context("wasm-bindgen cannot generate the glue")?;
    if is_release() && !keeps_names() {
        make_smaller(package)?;
    }
    load_once(&package.join("wasm_node.js"))?;
    adapt_types(&package.join("wasm_node.d.ts"))?;
    fs::write(&made_from, hash)?;
    Ok(())
}

/// Changes nothing about the wasm and its glue but how well they compress.
fn make_smaller(package: &Path) -> Result<()> {
    let [wasm, glue, types] = PACKAGE_FILES.map(|name| package.join(name));
    let module = fs::read(&wasm)?;
    let mut names = ShortNames::new(&module, &fs::read_to_string(&glue)?)?;
    fs::write(&wasm, wasm_order::reorder(&names.in_module(&module)?)?)?;
    for text in [glue, types, package.join("wasm_node_bg.wasm.d.ts")] {
        fs::write(&text, names.in_text(&fs::read_to_string(&text)?))?;
    }
    Ok(())
}

/// Makes `init()` load the wasm once.
fn load_once(glue: &Path) -> Result<()> {
    let text = fs::read_to_string(glue)?;
    ensure!(
        text.contains(UNSAFE_EXPORT),
        "the glue of this version of wasm-bindgen has another export than {UNSAFE_EXPORT:?}"
    );
    fs::write(glue, text.replace(UNSAFE_EXPORT, SAFE_EXPORT))?;
    Ok(())
}

/// Members that are not for callers: a node lives until it is stopped. The second one does not exist in the libraries of most
/// projects, so that their compilers refuse the types.
const NOT_DECLARED: [&str; 2] = ["free(): void;", "[Symbol.dispose](): void;"];

/// Leaves out [`NOT_DECLARED`], and turns the sections about errors of Rust's documentation into those of TSDoc.
fn adapt_types(types: &Path) -> Result<()> {
    let text = fs::read_to_string(types)?;
    let mut lines: Vec<String> = Vec::new();
    let mut in_heading = false;
    for line in text.lines() {
        if NOT_DECLARED.contains(&line.trim()) {
            continue;
        }
        if line.trim() == "* # Errors" {
            // Rust has an empty line before a heading.
            lines.pop_if(|before| before.trim() == "*");
            in_heading = true;
        } else if std::mem::take(&mut in_heading) {
            lines.push(line.replacen("* ", "* @throws ", 1));
        } else {
            lines.push(line.to_owned());
        }
    }
    fs::write(types, lines.join("\n") + "\n")?;
    Ok(())
}
