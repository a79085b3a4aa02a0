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
    let create = |draft: &Path| open_private(draft, Existing::Refused);
    let mut file = AtomicFile::open(path, ".part", create)?;
    file.writer()?.write_all(text.as_bytes())?;
    file.place()
}

/// What becomes of a file that exists when a private one is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and the call fails.
    Refused,
    /// It stays and loses its content.
    Emptied,
    /// It is opened as it is.
    Kept,
}

/// Opens a file to read and write, and creates it so that only this user may read it.
pub(crate) fn open_private(path: &Path, existing: Existing) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    match existing {
        Existing::Refused => options.create_new(true),
        Existing::Emptied => options.truncate(true),
        Existing::Kept => options.truncate(false),
    };
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
        Self::open(path, &ending, |draft| File::create_new(draft))
    }

    fn open(
        path: &Path,
        ending: &str,
        create: impl FnOnce(&Path) -> io::Result<File>,
    ) -> io::Result<Self> {
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
        let file = create(&draft)?;
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
    fn private_file_is_opened_as_it_was_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.lock");
        for (existing, kept) in [
            (Existing::Kept, Some("text")),
            (Existing::Emptied, Some("")),
            (Existing::Refused, None),
        ] {
            let mut file = open_private(&path, existing).expect("created");
            file.write_all(b"text").expect("written");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = file.metadata().expect("a file").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            let again = open_private(&path, existing);
            let is_refused = |error: io::Error| error.kind() == ErrorKind::AlreadyExists;
            assert_eq!(again.is_err_and(is_refused), kept.is_none(), "{existing:?}");
            let found = fs::read_to_string(&path).expect("a file");
            assert_eq!(found, kept.unwrap_or("text"), "{existing:?}");
            fs::remove_file(&path).expect("removed");
        }
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
