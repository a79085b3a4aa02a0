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

// `static ASSETS: &[Asset]`, sorted by path.
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at `path`, if the page has one.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
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
    fn compressed_forms_are_smaller() {
        for asset in ASSETS {
            for form in [asset.brotli, asset.gzip].into_iter().flatten() {
                assert!(form.len() < asset.plain.len(), "{}", asset.path);
            }
        }
    }
}
