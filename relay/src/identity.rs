//! The relay's identity: an Ed25519 key, which determines its peer ID, and a WebRTC certificate, whose hash is part of
//! its WebRTC address.
//!
//! Both are stored in the data folder, so the relay's addresses survive a restart. Existing files are never
//! overwritten: a file that cannot be read is an error, because a new identity would invalidate every address that tabs
//! know.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;
use libp2p_webrtc_direct::Certificate;

/// File name of the key in the data folder. The format is libp2p's protobuf encoding of a key pair.
const KEY_FILE: &str = "identity.key";
/// File name of the certificate in the data folder. The format is PEM and includes the private key.
const CERTIFICATE_FILE: &str = "webrtc.pem";

/// Where the relay's identity comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// Key and certificate are stored in this folder, and created there on the first run.
    Folder(PathBuf),
    /// The key is derived from a number that anyone can guess; for tests only. The certificate is stored in `folder` if
    /// there is one, and otherwise kept in memory.
    Seed {
        /// Equal numbers give equal peer IDs.
        seed: u64,
        /// The folder that stores the certificate.
        folder: Option<PathBuf>,
    },
}

impl IdentitySource {
    /// The data folder, if there is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Seed { folder, .. } => folder.as_deref(),
        }
    }
}

/// The relay's key pair and its WebRTC certificate.
#[derive(Clone)]
pub struct Identity {
    pub(crate) keypair: Keypair,
    pub(crate) certificate: Certificate,
}

impl fmt::Debug for Identity {
    /// Shows the peer ID only, because the rest is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("peer_id", &self.keypair.public().to_peer_id())
            .finish_non_exhaustive()
    }
}

/// Why the identity could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file or folder could not be read or created.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// The operation that failed, as a verb: `read`, `write` or `create folder`.
        verb: &'static str,
        /// The file or folder that the operation was applied to.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The key file does not hold an Ed25519 key.
    #[error(
        "{} is damaged or not an Ed25519 key: restore it from a backup, or remove it to let the relay create a new one (this changes its peer ID and addresses)",
        path.display()
    )]
    DamagedKey {
        /// The path of the key file.
        path: PathBuf,
    },
    /// The certificate file does not hold a certificate.
    #[error(
        "{} is damaged or not a certificate: restore it from a backup, or remove it to let the relay create a new one (this changes its webrtc-direct address)",
        path.display()
    )]
    DamagedCertificate {
        /// The path of the certificate file.
        path: PathBuf,
    },
    /// The key or the certificate could not be generated.
    #[error("cannot generate the relay's identity: {reason}")]
    Generate {
        /// The error message of the cryptographic library.
        reason: String,
    },
}

impl Identity {
    /// Loads the identity, and creates what does not exist yet.
    ///
    /// # Errors
    ///
    /// Fails if a file is damaged, or cannot be read or created.
    pub fn load(source: &IdentitySource) -> Result<Self, IdentityError> {
        let (keypair, certificate) = match source {
            IdentitySource::Folder(folder) => {
                create_folder(folder)?;
                (stored_key(folder)?, stored_certificate(folder)?)
            }
            IdentitySource::Seed { seed, folder } => {
                let certificate = match folder {
                    Some(folder) => {
                        create_folder(folder)?;
                        stored_certificate(folder)?
                    }
                    None => new_certificate()?,
                };
                (seeded_key(*seed)?, certificate)
            }
        };
        Ok(Self {
            keypair,
            certificate,
        })
    }
}

fn stored_key(folder: &Path) -> Result<Keypair, IdentityError> {
    let path = folder.join(KEY_FILE);
    let bytes = read_or_create(&path, || {
        Keypair::generate_ed25519()
            .to_protobuf_encoding()
            .map_err(generate_error)
    })?;
    Keypair::from_protobuf_encoding(&bytes).map_err(|_| IdentityError::DamagedKey { path })
}

/// Derives the key as `--secret-key-seed` of rust-libp2p's relay example does: the secret is the little-endian number,
/// padded with zeros.
fn seeded_key(seed: u64) -> Result<Keypair, IdentityError> {
    let mut secret = [0; 32];
    for (byte, seed_byte) in secret.iter_mut().zip(seed.to_le_bytes()) {
        *byte = seed_byte;
    }
    Keypair::ed25519_from_bytes(secret).map_err(generate_error)
}

fn stored_certificate(folder: &Path) -> Result<Certificate, IdentityError> {
    let path = folder.join(CERTIFICATE_FILE);
    let bytes = read_or_create(&path, || Ok(new_certificate()?.to_pem().into_bytes()))?;
    String::from_utf8(bytes)
        .ok()
        .and_then(|pem| Certificate::from_pem(&pem).ok())
        .ok_or(IdentityError::DamagedCertificate { path })
}

fn new_certificate() -> Result<Certificate, IdentityError> {
    Certificate::generate().map_err(generate_error)
}

fn generate_error(error: impl fmt::Display) -> IdentityError {
    IdentityError::Generate {
        reason: error.to_string(),
    }
}

/// Creates `folder`, accessible by its owner only. An existing folder keeps its mode, because it may serve other
/// purposes.
pub(crate) fn create_folder(folder: &Path) -> Result<(), IdentityError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(io_error("create folder", folder))
}

/// Reads the file at `path`. If it does not exist, first creates it with the content that `create` returns.
pub(crate) fn read_or_create(
    path: &Path,
    create: impl FnOnce() -> Result<Vec<u8>, IdentityError>,
) -> Result<Vec<u8>, IdentityError> {
    warn_if_readable_by_others(path);
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_new(path, &create()?)?;
            // Read back, because another process may have created the file first. Then its content counts.
            fs::read(path).map_err(io_error("read", path))
        }
        found => found.map_err(io_error("read", path)),
    }
}

/// Warns about a secret file that other users of this computer can read.
#[cfg(unix)]
fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let others = 0o077;
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & others != 0) {
        let path = path.display();
        tracing::warn!("other users can read the secret file {path}: run chmod 600 {path}");
    }
}

/// Other systems give a new file the rights of its folder.
#[cfg(not(unix))]
fn warn_if_readable_by_others(_: &Path) {}

/// Atomically creates `path`, readable by its owner only. Leaves an existing file as it is.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.draft", std::process::id()));
    let draft = PathBuf::from(draft);

    let written = write_draft(&draft, bytes)
        .map_err(io_error("write", &draft))
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(io_error("write", path)(error))
            }
            _ => Ok(()),
        });
    // The draft is now either a second link to the file, or the rest of a failed attempt.
    let _ = fs::remove_file(&draft);
    written
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    // A killed process with the same process ID may have left a draft behind.
    if let Err(error) = fs::remove_file(draft)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn io_error<'a>(
    verb: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> IdentityError + 'a {
    move |source| IdentityError::Io {
        verb,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    fn peer_id(identity: &Identity) -> String {
        identity.keypair.public().to_peer_id().to_string()
    }

    #[test]
    fn identity_survives_a_restart() {
        let folder = TestFolder::new();
        let source = IdentitySource::Folder(folder.path().join("deep").join("data"));
        let first = Identity::load(&source).expect("a new folder");
        let second = Identity::load(&source).expect("the same folder");
        assert_eq!(peer_id(&first), peer_id(&second));
        assert_eq!(
            first.certificate.fingerprint(),
            second.certificate.fingerprint()
        );
    }

    #[test]
    fn seed_determines_the_peer_id() {
        let folder = TestFolder::new();
        let seeded = |seed, folder: Option<&Path>| {
            Identity::load(&IdentitySource::Seed {
                seed,
                folder: folder.map(Path::to_owned),
            })
            .expect("a seed is enough")
        };
        let (one, again, two) = (
            seeded(1, Some(folder.path())),
            seeded(1, Some(folder.path())),
            seeded(2, None),
        );
        assert_eq!(peer_id(&one), peer_id(&again));
        assert_ne!(peer_id(&one), peer_id(&two));
        // The peer ID of rust-libp2p's relay example with `--secret-key-seed 1`.
        assert_eq!(
            peer_id(&one),
            "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
        );
        let hash = |identity: &Identity| identity.certificate.fingerprint();
        assert_eq!(hash(&one), hash(&again));
        assert_ne!(hash(&one), hash(&two));
        assert!(!folder.path().join(KEY_FILE).exists());
    }

    #[cfg(unix)]
    #[test]
    fn secret_files_are_readable_by_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = TestFolder::new();
        let data = folder.path().join("data");
        Identity::load(&IdentitySource::Folder(data.clone())).expect("a new folder");

        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&data) & 0o777, 0o700);
        let mut names: Vec<_> = fs::read_dir(&data)
            .expect("it is there")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        names.sort();
        assert_eq!(names, [KEY_FILE, CERTIFICATE_FILE]);
        for name in names {
            assert_eq!(mode(&data.join(name)) & 0o777, 0o600);
        }
    }

    #[test]
    fn damaged_files_are_reported_and_kept() {
        for name in [KEY_FILE, CERTIFICATE_FILE] {
            let folder = TestFolder::new();
            let source = IdentitySource::Folder(folder.path().to_owned());
            Identity::load(&source).expect("a new folder");
            let path = folder.path().join(name);
            for damage in [&b""[..], b"\xff\x00nonsense"] {
                fs::write(&path, damage).expect("writable");
                let error = Identity::load(&source).expect_err("damaged").to_string();
                assert!(error.contains(name), "{error}");
                assert!(error.contains("remove it"), "{error}");
                assert_eq!(fs::read(&path).expect("still there"), damage);
            }
        }
    }
}
