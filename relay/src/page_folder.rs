//! The page from a folder on disk, for work on it (`--page www`): a changed script or style sheet is there after a reload.
//!
//! Only for the developer of the page. It reads the folder at every request, and nothing outside of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::bounded_file::read_at_most;

/// Prefix of the paths with which the page in the folder names its files. The build puts the version into its place.
const UNVERSIONED: &str = "v/dev/";
/// The document of the page, without which a folder is not the page.
const DOCUMENT: &str = "index.html";
/// The path of the service worker. A page on disk must not have one: it would serve what it cached before.
const SERVICE_WORKER: &str = "service-worker.js";
/// Replaces a service worker that a relay with an embedded page has registered at the same address.
const RETIRING_WORKER: &[u8] = include_bytes!("page_folder/retiring-worker.js");
/// Longest file that is read, in bytes: the page's largest is far below.
const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;

/// A folder with the files of the page.
#[derive(Debug, Clone)]
pub(crate) struct PageFolder {
    /// Absolute and without symbolic links, so that the paths of files can be compared with it.
    root: PathBuf,
}

/// What is at a path of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A file of the folder: its path in the page, and its content.
    File(String, Vec<u8>),
    /// This file is part of the build, not of the folder: the wasm and its glue.
    Built(String),
}

impl PageFolder {
    /// # Errors
    ///
    /// Fails if the folder cannot be read or has no `index.html`.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        if !root.join(DOCUMENT).is_file() {
            let message = format!("it has no {DOCUMENT}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self { root })
    }

    /// Looks up a request path without its leading `/`. Blocks while it reads.
    pub(crate) fn read(&self, path: &str) -> Option<Found> {
        let path = match path {
            "" => DOCUMENT,
            SERVICE_WORKER => return Some(Found::File(path.to_owned(), RETIRING_WORKER.to_vec())),
            path => path.strip_prefix(UNVERSIONED).unwrap_or(path),
        };
        if !path.split('/').all(is_plain_name) {
            return None;
        }
        // `pkg` in the folder may contain the output of another tool.
        if path.starts_with("pkg/") {
            return Some(Found::Built(path.to_owned()));
        }
        let file = self.root.join(path).canonicalize().ok()?;
        // A symbolic link may lead out of the folder.
        if !file.starts_with(&self.root) {
            return None;
        }
        // Reading a pipe would wait for its writer.
        if !file.is_file() {
            return None;
        }
        let content = read_at_most(&file, MAX_FILE_LEN).ok()?;
        Some(Found::File(path.to_owned(), content))
    }
}

/// Whether a segment of a path names an entry of a folder, and no hidden one. Files of the page need no other characters,
/// so nothing is percent-decoded.
fn is_plain_name(segment: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !segment.is_empty() && !segment.starts_with('.') && segment.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::test_folder::TestFolder;

    fn folder() -> (TestFolder, PageFolder) {
        let folder = TestFolder::new();
        folder.file("www/index.html", "page");
        folder.file("www/parts/a.js", "a");
        folder.file("www/.hidden", "hidden");
        folder.file("secret", "secret");
        let page = PageFolder::open(&folder.path().join("www")).expect("a page");
        (folder, page)
    }

    #[test]
    fn folder_without_a_page_is_refused() {
        let (folder, _) = folder();
        assert!(PageFolder::open(folder.path()).is_err());
        assert!(PageFolder::open(&folder.path().join("none")).is_err());
    }

    #[test]
    fn files_are_found_with_and_without_prefix() {
        let (_folder, page) = folder();
        for (path, file, content) in [
            ("", "index.html", "page"),
            ("index.html", "index.html", "page"),
            ("parts/a.js", "parts/a.js", "a"),
            ("v/dev/parts/a.js", "parts/a.js", "a"),
        ] {
            let expected = Found::File(file.to_owned(), content.into());
            assert_eq!(page.read(path), Some(expected), "{path}");
        }
        let wasm = Found::Built("pkg/a.wasm".to_owned());
        assert_eq!(page.read("v/dev/pkg/a.wasm"), Some(wasm));
    }

    #[test]
    fn nothing_outside_of_the_folder_is_found() {
        let (_folder, page) = folder();
        for path in [
            "../secret",
            "v/dev/../../secret",
            "parts/../../secret",
            "%2e%2e/secret",
            "..%2fsecret",
            "..\\secret",
            "/etc/passwd",
            "v/dev//etc/passwd",
            ".hidden",
            "v/dev/.hidden",
            "parts",
            "parts/",
            "none.js",
            "v/0123456789abcdef/parts/a.js",
        ] {
            assert_eq!(page.read(path), None, "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_are_not_followed() {
        use std::os::unix::fs::symlink;

        let (folder, page) = folder();
        let www = folder.path().join("www");
        symlink(folder.path().join("secret"), www.join("out.js")).expect("writable");
        symlink(folder.path(), www.join("up")).expect("writable");
        symlink(www.join("parts/a.js"), www.join("in.js")).expect("writable");
        for path in ["out.js", "up/secret", "v/dev/up/secret"] {
            assert_eq!(page.read(path), None, "{path}");
        }
        assert!(page.read("in.js").is_some());
    }

    #[test]
    fn endless_files_are_not_read() {
        let (folder, page) = folder();
        let file = fs::File::create(folder.path().join("www/long.js")).expect("writable");
        file.set_len(MAX_FILE_LEN + 1).expect("writable");
        assert_eq!(page.read("long.js"), None);
    }
}
