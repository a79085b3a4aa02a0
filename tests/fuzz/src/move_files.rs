//! Fuzz target of move files: what is in one, and the file around it.

use crate::move_file::{Cost, MAX_MOVE_FILE_LEN, MoveFileError, MovedIdentity, open, seal};

/// The content of a move file, before it is encrypted and after it is decrypted: an accepted one encodes to the same
/// bytes, and goes through a file. As a file, the same bytes are refused without a panic and without much work.
pub fn move_file(data: &[u8]) {
    let refused = open(data, "fuzz", |_| true);
    // No input has a passphrase and a checksum that fit, except for the seeds.
    assert!(
        !matches!(refused, Err(MoveFileError::Content | MoveFileError::Memory)),
        "{refused:?}"
    );
    let Some(identity) = MovedIdentity::decode(data, |_| true) else {
        return;
    };
    assert_eq!(identity.encode(), data);
    assert!(
        identity.journal.len() <= data.len()
            && identity.unconfirmed_from <= identity.journal.len() as u64
    );
    let cost = Cost {
        memory_kib: 8,
        passes: 1,
    };
    let file = seal(&identity, "fuzz", cost, [1; 16], [2; 12]).expect("it is short");
    assert!(file.len() <= MAX_MOVE_FILE_LEN);
    assert_eq!(open(&file, "fuzz", |_| true), Ok(identity));
    let other = open(&file, "other", |_| true);
    assert_eq!(other, Err(MoveFileError::Passphrase));
}
