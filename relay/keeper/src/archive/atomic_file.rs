//! Files that are whole or not there: written under another name, then renamed. A file that had the name before stays until
//! then.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::store::sync_folder_of;

/// A file that does not have its name yet. Removed when dropped without [`Self::place`].
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    draft: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Creates a draft beside `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut draft_name = std::ffi::OsString::from(".");
        draft_name.push(name);
        draft_name.push(format!(".{}.part", std::process::id()));
        let draft = path.with_file_name(draft_name);
        let mut options = OpenOptions::new();
        // A part that a crash left, of a process with the same number, is of no use.
        options.write(true).create(true).truncate(true);
        let file = Some(BufWriter::new(options.open(&draft)?));
        let path = path.to_owned();
        Ok(Self { path, draft, file })
    }

    /// What is written here is in the draft.
    pub(crate) fn writer(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Puts everything on the disk. Returns where it can be read before it has its name.
    pub(crate) fn finish(&mut self) -> io::Result<&Path> {
        if let Some(mut file) = self.file.take() {
            file.flush()?;
            file.get_ref().sync_all()?;
        }
        Ok(&self.draft)
    }

    /// Gives the finished file its name.
    pub(crate) fn place(mut self) -> io::Result<()> {
        self.finish()?;
        fs::rename(&self.draft, &self.path)?;
        self.draft.clear();
        sync_folder_of(&self.path)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.draft.as_os_str().is_empty() {
            // What cannot be removed is a part that no one takes for a whole file.
            let _ = fs::remove_file(&self.draft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("export.json");
        fs::write(&path, "before").expect("written");
        let mut dropped = AtomicFile::create(&path).expect("a draft");
        dropped
            .writer()
            .expect("a file")
            .write_all(b"half")
            .expect("written");
        drop(dropped);
        assert_eq!(fs::read(&path).expect("a file"), b"before");
        let mut placed = AtomicFile::create(&path).expect("a draft");
        placed
            .writer()
            .expect("a file")
            .write_all(b"whole")
            .expect("written");
        let draft = placed.finish().expect("finished").to_owned();
        assert_eq!(fs::read(&draft).expect("the draft"), b"whole");
        assert_eq!(fs::read(&path).expect("a file"), b"before");
        placed.place().expect("placed");
        assert_eq!(fs::read(&path).expect("a file"), b"whole");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
