//! The file with the key of a room's author. It is created once and never overwritten: the key is the author.

use std::{fs, io::ErrorKind, path::Path};

use heartchain_chain::key::SecretKey;

use crate::{atomic_file::write_private, store::OpenError};

/// The first line of the file. A change of the format raises the number.
const HEAD: &str = "heartchain author key 1: keep this file secret, it signs as this author";

/// Where the key of a keeper's author comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// A file in the data folder, which the first start creates.
    #[default]
    File,
    /// A number that anyone can guess, for tests only.
    Seed(u64),
}

/// Reads the key at `path`. Without a file, creates it, unless there is a store whose author it would be (`has_store`).
///
/// # Errors
/// If the file is missing beside its store, is damaged, or cannot be read or created.
pub(crate) fn load(
    source: KeySource,
    path: &Path,
    has_store: bool,
) -> Result<SecretKey, OpenError> {
    if let KeySource::Seed(number) = source {
        return Ok(seeded(number));
    }
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).ok_or_else(|| OpenError::KeyDamaged {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(OpenError::KeyDamaged {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound && has_store => {
            Err(OpenError::KeyMissing {
                path: path.to_owned(),
            })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => create(path),
        Err(error) => Err(OpenError::io("read", path)(error)),
    }
}

/// The key of a number: its little-endian bytes, followed by zeros.
fn seeded(number: u64) -> SecretKey {
    let mut seed = [0; 32];
    for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    SecretKey::from_seed(seed)
}

/// Writes a fresh key, so that a crash leaves a whole file or none. The caller holds the room's lock, so no file can appear in
/// between.
fn create(path: &Path) -> Result<SecretKey, OpenError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let key = SecretKey::from_seed(seed);
    write_private(path, &text(&key)).map_err(OpenError::io("create", path))?;
    Ok(key)
}

fn text(key: &SecretKey) -> String {
    let (seed, author) = (hex::encode(key.seed()), key.author());
    format!("{HEAD}\nseed {seed}\nauthor {author}\n")
}

/// Parses the content of a key file. The author tells a damaged seed; nothing else is accepted than what [`text`] writes.
fn parse(found: &str) -> Option<SecretKey> {
    let mut seed = [0; 32];
    let line = found.lines().nth(1)?.strip_prefix("seed ")?;
    hex::decode_to_slice(line, &mut seed).ok()?;
    let key = SecretKey::from_seed(seed);
    (text(&key) == found).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_created_once_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("room.key");
        let author = load(KeySource::File, &path, false).expect("a key").author();
        let bytes = fs::read(&path).expect("the file");
        let again = load(KeySource::File, &path, true).expect("the key");
        assert_eq!(again.author(), author);
        assert_eq!(fs::read(&path).expect("the file"), bytes);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn damaged_or_missing_key_is_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("room.key");
        let missing = load(KeySource::File, &path, true);
        assert!(matches!(missing, Err(OpenError::KeyMissing { .. })));
        load(KeySource::File, &path, false).expect("a key");
        let text = fs::read_to_string(&path).expect("text");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("written");
            let found = load(KeySource::File, &path, false);
            assert!(
                matches!(found, Err(OpenError::KeyDamaged { .. })),
                "byte {at}"
            );
            assert_eq!(fs::read(&path).expect("the file"), bytes);
            fs::write(&path, &bytes[..at]).expect("written");
            let cut = load(KeySource::File, &path, false);
            assert!(
                matches!(cut, Err(OpenError::KeyDamaged { .. })),
                "{at} bytes"
            );
        }
        fs::write(&path, [0xff; 40]).expect("written");
        let found = load(KeySource::File, &path, false);
        assert!(matches!(found, Err(OpenError::KeyDamaged { .. })));
    }

    #[test]
    fn seeded_keys_are_fixed() {
        assert_eq!(seeded(7).author(), seeded(7).author());
        assert_ne!(seeded(7).author(), seeded(8).author());
    }
}
