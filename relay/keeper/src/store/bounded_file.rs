//! The file of a database, which does not grow past a limit. The database treats the limit as a full disk.

use std::{
    fs::OpenOptions,
    io::{Error, ErrorKind},
    ops::Bound,
    path::Path,
    str::FromStr,
};

use core::fmt::{self, Display};

use redb::{BackendError, StorageBackend, backends::FileBackend};

/// How many bytes the store of one room may take on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskLimit(u64);

/// Bytes of one mebibyte, the unit `M`.
const MEBIBYTE: u64 = 1 << 20;
/// Bytes of one gibibyte, the unit `G`.
const GIBIBYTE: u64 = 1 << 30;

impl DiskLimit {
    /// Some 100 million readings: far more than a class records, and far less than fills a server unnoticed.
    pub const DEFAULT: Self = Self(16 * GIBIBYTE);

    /// A limit of this many bytes. One below what a store has refuses all that needs more.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The least limit that a flag may set: an empty store takes less than a tenth.
    const MIN: Self = Self(MEBIBYTE);
}

impl FromStr for DiskLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size: write a number and M or G, such as 16G");
        let parts = text.split_at_checked(text.len().saturating_sub(1));
        let (number, unit) = parts.ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "M" => MEBIBYTE,
            "G" => GIBIBYTE,
            _ => return Err(wrong()),
        };
        let limit = Self(number.saturating_mul(unit));
        match limit < Self::MIN {
            true => Err(format!("a store needs at least {}", Self::MIN)),
            false => Ok(limit),
        }
    }
}

impl Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= GIBIBYTE && bytes.is_multiple_of(GIBIBYTE) => {
                write!(f, "{}G", bytes / GIBIBYTE)
            }
            bytes if bytes >= MEBIBYTE && bytes.is_multiple_of(MEBIBYTE) => {
                write!(f, "{}M", bytes / MEBIBYTE)
            }
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// The store has reached its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has reached its limit of {0} (--max-disk)")]
pub(super) struct LimitReached(pub(super) DiskLimit);

/// The file of a database.
#[derive(Debug)]
pub(super) struct BoundedFile {
    file: FileBackend,
    limit: DiskLimit,
}

impl BoundedFile {
    /// Opens the file of a database that exists.
    ///
    /// # Errors
    /// If it cannot be opened, or is empty: a database would be made of it.
    pub(super) fn open(path: &Path, limit: DiskLimit) -> Result<Self, redb::Error> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() == 0 {
            return Err(redb::Error::Corrupted("it is empty".to_owned()));
        }
        let file = FileBackend::new(file)?;
        Ok(Self { file, limit })
    }
}

impl StorageBackend for BoundedFile {
    fn len(&self) -> Result<u64, Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.file.read(offset, out)
    }

    /// A file that was larger before the limit was set may stay so, and shrink.
    fn set_len(&self, len: u64) -> Result<(), Error> {
        if len > self.limit.0 && len > self.file.len()? {
            let reached = LimitReached(self.limit);
            return Err(Error::new(ErrorKind::StorageFull, reached));
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), Error> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_number_and_a_unit() {
        for (text, shown) in [
            ("1M", "1M"),
            ("512M", "512M"),
            ("16G", "16G"),
            ("2048M", "2G"),
        ] {
            let limit: DiskLimit = text.parse().expect(text);
            assert_eq!(limit.to_string(), shown);
        }
        assert_eq!(DiskLimit::DEFAULT.to_string(), "16G");
        for wrong in [
            "", "G", "16", "16g", "0G", "0M", "-1G", "1.5G", "16 G", "16Ğ",
        ] {
            assert!(wrong.parse::<DiskLimit>().is_err(), "{wrong}");
        }
        let most = "99999999999999G".parse::<DiskLimit>();
        assert_eq!(most, Ok(DiskLimit(u64::MAX)));
    }

    #[test]
    fn file_ends_at_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [1; 100]).expect("written");
        let open = |limit| BoundedFile::open(&path, DiskLimit(limit)).expect("it opens");
        let file = open(150);
        file.set_len(150).expect("within the limit");
        let error = file.set_len(151).expect_err("past the limit");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(file.len().expect("its length"), 150);
        // A lower limit takes nothing away.
        let file = open(20);
        file.set_len(150).expect("as long as before");
        file.set_len(120).expect("shorter");
        file.set_len(121).expect_err("longer");
    }
}
