//! Reads a file that a flag names, up to a limit: the path may lead to a device or a pipe, which need not end.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is longer than allowed.
    #[error("it has more than {max} bytes")]
    TooLong {
        /// The most that is allowed.
        max: u64,
    },
}

/// The content of a file of at most `max` bytes.
pub(crate) fn read_at_most(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(max.saturating_add(1));
    file.read_to_end(&mut bytes)?;
    // One byte more than allowed was read.
    if file.limit() == 0 {
        return Err(ReadError::TooLong { max });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    #[test]
    fn file_is_read_up_to_its_limit() {
        let folder = TestFolder::new();
        let path = folder.file("file", "12345");
        assert_eq!(read_at_most(&path, 5).expect("it fits"), b"12345");
        let error = read_at_most(&path, 4).expect_err("too long");
        assert_eq!(error.to_string(), "it has more than 4 bytes");
        let missing = read_at_most(&folder.path().join("none"), 4);
        assert!(matches!(missing, Err(ReadError::Io(_))));
    }

    #[cfg(unix)]
    #[test]
    fn endless_device_is_too_long() {
        let read = read_at_most(Path::new("/dev/zero"), 1_000);
        assert!(matches!(read, Err(ReadError::TooLong { max: 1_000 })));
    }
}
