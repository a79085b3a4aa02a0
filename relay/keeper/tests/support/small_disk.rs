//! A small disk, for tests of a full one. Needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A small disk in memory, mounted at a folder.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` without the rights to mount it.
    pub(crate) fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Leaves no room on the disk.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        let chunk = [1; 4_096];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}
