//! The page's files, as the build put them into the binary; nothing is read from disk at run time.

use std::fmt;

/// One file of the page and its compressed forms.
pub(crate) struct Asset {
    /// Relative to the page's root, with `/` between folders.
    pub(crate) path: &'static str,
    /// SHA-256 of the file, in hex.
    pub(crate) sha256: &'static str,
    pub(crate) plain: &'static [u8],
    /// Absent where compressing gains nothing.
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

/// The folder of all versions of the page; `build/versions.rs` writes it into the page.
const VERSIONS: &str = "v/";
/// Keeps the page in the browser; a newer one must be found at the address of the older.
const SERVICE_WORKER: &str = "service-worker.js";

/// How an address names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// Whatever this build has there.
    Current,
    /// What this version has there, now and always.
    Versioned,
}

/// The file at an address, if the page has one. Code has addresses of its version only, or a page that is open would
/// load a part of another version.
pub(crate) fn at(address: &str) -> Option<(&'static Asset, Address)> {
    let Some(versioned) = address.strip_prefix(VERSIONS) else {
        let asset = find(address)?;
        return (!is_code(asset.path)).then_some((asset, Address::Current));
    };
    let (version, path) = versioned.split_once('/')?;
    if version != VERSION {
        return None;
    }
    Some((find(path)?, Address::Versioned))
}

/// Whether a file is a part of a page's behaviour or look that a page can load at any time.
fn is_code(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    path != SERVICE_WORKER && ["js", "mjs", "wasm", "css"].contains(&extension)
}

/// The file of this path, if the page has one.
fn find(path: &str) -> Option<&'static Asset> {
    let at = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    ASSETS.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_by_its_path() {
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
    fn code_is_found_at_its_version_only() {
        for asset in ASSETS {
            let versioned = format!("v/{VERSION}/{}", asset.path);
            let found = at(&versioned).map(|(found, address)| (found.path, address));
            assert_eq!(found, Some((asset.path, Address::Versioned)));
            assert!(at(&format!("v/0{VERSION}/{}", asset.path)).is_none());
            assert_eq!(at(asset.path).is_none(), is_code(asset.path));
        }
        for address in ["v", "v/", "v//", "v//index.html", "v/v"] {
            assert!(at(address).is_none(), "{address}");
        }
        assert!(!is_code("service-worker.js") && !is_code("index.html"));
        assert!(is_code("lessons/step.js") && is_code("pkg/wasm_node_bg.wasm"));
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
