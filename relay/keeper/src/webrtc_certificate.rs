//! The file with the certificate that browsers see when they dial WebRTC-direct. Its hash is in the address, so a keeper keeps
//! it. It proves nothing else: a lost or damaged one is replaced, and only the address changes.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::Path,
};

use libp2p_webrtc_direct::Certificate;

use crate::store::OpenError;

/// Reads the certificate at `path`, or creates it.
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
    let draft = path.with_extension("certificate-draft");
    let written = write(&draft, &certificate.to_pem()).and_then(|()| fs::rename(&draft, path));
    written.map_err(OpenError::io("create", path))?;
    Ok(certificate)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
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
