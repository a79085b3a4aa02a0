//! Whether a disk has room for a write, without a risk for the database: the system is asked, and if it says no, or the disk was
//! full before, another file is written and removed.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use super::error::is_full;
use crate::atomic_file::{Existing, open_private};

/// Bytes that are written at a time.
const CHUNK_LEN: usize = 64 * 1_024;

/// Whether the system says that fewer bytes than these are free on the disk of a store. Where it does not know, it is not asked.
#[cfg(unix)]
pub(super) fn is_short(store: &Path, bytes: usize) -> bool {
    rustix::fs::statvfs(store).is_ok_and(|disk| {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // Some file systems of networks do not say how large they are.
        disk.f_blocks > 0 && free < bytes as u64
    })
}

/// As on Unix, if the system could be asked.
#[cfg(not(unix))]
pub(super) const fn is_short(_: &Path, _: usize) -> bool {
    false
}

/// Whether this many bytes can be written beside a store.
///
/// # Errors
/// If the file cannot be written for another reason.
pub(super) fn has_room(store: &Path, bytes: usize) -> io::Result<bool> {
    let path = store.with_extension("room");
    let written = write(&path, bytes);
    match fs::remove_file(&path) {
        // A full disk may have refused to create it.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match written {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = open_private(path, Existing::Emptied)?;
    // A compressing file system has no use for zeros.
    let mut chunk = vec![0; CHUNK_LEN];
    getrandom::fill(&mut chunk).map_err(io::Error::other)?;
    let mut left = bytes;
    while left > 0 {
        let len = left.min(CHUNK_LEN);
        file.write_all(chunk.get(..len).unwrap_or_default())?;
        left -= len;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn system_knows_whether_a_disk_is_short() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_short(folder.path(), 1));
        assert!(is_short(folder.path(), usize::MAX));
        assert!(!is_short(&folder.path().join("none"), usize::MAX));
    }

    #[test]
    fn nothing_is_left_of_the_attempt() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("a.redb");
        assert!(has_room(&store, 3 * CHUNK_LEN + 1).expect("written"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let missing = folder.path().join("none").join("a.redb");
        has_room(&missing, 1).expect_err("no folder");
    }
}
