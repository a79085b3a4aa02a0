//! Files that are whole or not there: written under another name, then renamed. A file that had the name before stays until
//! then.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// A file that does not have its name yet. Removed when dropped without [`Self::place`].
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    draft: PathBuf,
    file: Option<BufWriter<File>>,
}

/// Writes a file that only this user may read. The caller ensures that no other process does the same, so that a draft with its
/// name was left by a crash.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = AtomicFile::open(path, ".part", &mut private())?;
    file.writer()?.write_all(text.as_bytes())?;
    file.place()
}

/// Options that create files which only this user may read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Waits until a new name in a folder is on the disk.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

impl AtomicFile {
    /// Creates a draft beside `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let ending = format!(".{}.part", std::process::id());
        Self::open(path, &ending, &mut OpenOptions::new())
    }

    fn open(path: &Path, ending: &str, options: &mut OpenOptions) -> io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let mut draft_name = OsString::from(".");
        draft_name.push(name);
        draft_name.push(ending);
        let draft = path.with_file_name(draft_name);
        // A part that a crash left is of no use, and others may be able to read it.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = options.write(true).create_new(true).open(&draft)?;
        Ok(Self {
            path: path.to_owned(),
            draft,
            file: Some(BufWriter::new(file)),
        })
    }

    /// What is written here is in the draft.
    pub(crate) fn writer(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file.as_mut().ok_or_else(|| ErrorKind::NotFound.into())
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

    #[test]
    fn private_file_is_for_this_user_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("room.key");
        // A crash left it, and everyone may read it.
        fs::write(folder.path().join(".room.key.part"), "half").expect("written");
        for text in ["first", "second"] {
            write_private(&path, text).expect("written");
            assert_eq!(fs::read(&path).expect("a file"), text.as_bytes());
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = fs::metadata(&path).expect("a file").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
