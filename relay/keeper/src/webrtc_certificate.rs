//! The file with the certificate that browsers see when they dial WebRTC-direct. Its hash is in the address, so a keeper keeps
//! it. It proves nothing else: a lost or damaged one is replaced, and only the address changes.

use std::{fs, io::ErrorKind, path::Path};

use libp2p_webrtc_direct::Certificate;

use crate::{atomic_file::write_private, store::OpenError};

/// Reads the certificate at `path`, or creates it. The caller holds the room's lock.
///
/// # Errors
/// If the file cannot be read or created, or the system gives no random numbers for a new one.
pub(crate) fn load(path: &Path) -> Result<Certificate, OpenError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            if let Ok(certificate) = Certificate::from_pem(&text) {
                return Ok(certificate);
            }
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {}
        Err(error) => return Err(OpenError::io("read", path)(error)),
    }
    let certificate =
        Certificate::generate().map_err(|error| OpenError::Certificate(error.to_string()))?;
    let written = write_private(path, &certificate.to_pem());
    written.map_err(OpenError::io("create", path))?;
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_kept_and_a_damaged_one_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("room.certificate");
        let first = load(&path).expect("a certificate").fingerprint();
        assert_eq!(load(&path).expect("the same").fingerprint(), first);
        fs::write(&path, [0xff, 0xfe]).expect("written");
        let second = load(&path).expect("another").fingerprint();
        assert_ne!(second, first);
        assert_eq!(load(&path).expect("the same").fingerprint(), second);
    }
}
