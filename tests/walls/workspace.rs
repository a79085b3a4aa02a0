//! Finds the crates and files of this workspace.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use cargo_metadata::{Metadata, MetadataCommand};

/// Folders that contain no sources of the workspace.
const NOT_SOURCES: [&str; 3] = ["node_modules", "pkg", "target"];

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What cargo knows about all crates and their dependencies, for every target platform.
pub(crate) fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .other_options(["--locked".to_owned()])
            .exec()
            .expect("cargo metadata")
    })
}

/// The texts of all files with one extension in a folder of the workspace and below, keyed by their path relative to
/// that folder.
pub(crate) fn files(folder: &str, extension: &str) -> BTreeMap<String, String> {
    let root = root().join(folder);
    let mut files = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder).expect("a folder of sources can be read") {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let file = path
                    .strip_prefix(&root)
                    .expect("the path is below the root");
                let text = fs::read_to_string(&path).expect("sources are text");
                files.insert(file.to_string_lossy().replace('\\', "/"), text);
            }
        }
    }
    files
}

/// The texts of all files of the workspace with these extensions, keyed by their path relative to the root. Without what is
/// built, downloaded or hidden.
pub(crate) fn texts(extensions: &[&str]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder).expect("a folder of sources can be read") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || NOT_SOURCES.contains(&&*name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if extensions.contains(&&*extension) {
                let file = path
                    .strip_prefix(root())
                    .expect("the path is below the root");
                let text = fs::read_to_string(&path).expect("sources are text");
                texts.insert(file.to_string_lossy().replace('\\', "/"), text);
            }
        }
    }
    texts
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}
