//! The page's files, embedded into the binary by `build.rs`.

use std::fmt;

/// A file of the page, with its compressed forms.
pub(crate) struct Asset {
    /// Relative to the page's root, with `/` between folders.
    pub(crate) path: &'static str,
    /// SHA-256 of the file, in hex.
    pub(crate) sha256: &'static str,
    pub(crate) plain: &'static [u8],
    /// `None` if compression does not make the file smaller.
    pub(crate) brotli: Option<&'static [u8]>,
    pub(crate) gzip: Option<&'static [u8]>,
}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asset")
            .field("path", &self.path)
            .field("sha256", &self.sha256)
            .field("bytes", &self.plain.len())
            .finish_non_exhaustive()
    }
}

// `static VERSION: &str`, and `static ASSETS: &[Asset]`, sorted by path.
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Prefix of every versioned path; `build/assets.rs` writes it into the page.
const VERSION_PREFIX: &str = "v/";
/// The service worker has no versioned path: browsers look for a newer one at the URL of the old one.
const SERVICE_WORKER: &str = "service-worker.js";

/// How a request's path refers to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// By its plain path: the content may change with the next build.
    Current,
    /// By a path with the version in it: the content never changes.
    Versioned,
}

/// Looks up the file for a request path without its leading `/`.
///
/// Scripts, styles and wasm exist only under their version. Otherwise an open page could load a part of another
/// version.
pub(crate) fn lookup(path: &str) -> Option<(&'static Asset, PathKind)> {
    let Some(versioned) = path.strip_prefix(VERSION_PREFIX) else {
        let asset = find(path)?;
        return (!is_code(asset.path)).then_some((asset, PathKind::Current));
    };
    let (version, path) = versioned.split_once('/')?;
    if version != VERSION {
        return None;
    }
    Some((find(path)?, PathKind::Versioned))
}

/// Whether an open page may load the file at any time: scripts, wasm and style sheets.
fn is_code(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    path != SERVICE_WORKER && ["js", "mjs", "wasm", "css"].contains(&extension)
}

/// The file with this plain path.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    let at = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    ASSETS.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_by_path() {
        for asset in ASSETS {
            assert_eq!(
                find(asset.path).map(|found| found.sha256),
                Some(asset.sha256)
            );
        }
        assert!(find("index.html").is_some());
        assert!(find("no-such-file").is_none());
    }

    #[test]
    fn code_is_found_only_under_its_version() {
        for asset in ASSETS {
            let versioned = format!("v/{VERSION}/{}", asset.path);
            let found = lookup(&versioned).map(|(found, kind)| (found.path, kind));
            assert_eq!(found, Some((asset.path, PathKind::Versioned)));
            assert!(lookup(&format!("v/0{VERSION}/{}", asset.path)).is_none());
            assert_eq!(lookup(asset.path).is_none(), is_code(asset.path));
        }
        for address in ["v", "v/", "v//", "v//index.html", "v/v"] {
            assert!(lookup(address).is_none(), "{address}");
        }
        assert!(!is_code("service-worker.js") && !is_code("index.html"));
        assert!(is_code("lessons/current-step.js") && is_code("pkg/wasm_node_bg.wasm"));
    }

    #[test]
    fn compressed_forms_are_smaller() {
        for asset in ASSETS {
            for form in [asset.brotli, asset.gzip].into_iter().flatten() {
                assert!(form.len() < asset.plain.len(), "{}", asset.path);
            }
        }
    }
}
