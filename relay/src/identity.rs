//! Who the relay is: an Ed25519 key, which gives its peer id, and a WebRTC certificate, whose hash is part of
//! its address. Both live in the data folder, so that addresses survive a restart. What is on disk is never
//! overwritten: a file that cannot be read is an error, because a new identity would break every known address.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;
use libp2p_webrtc::tokio::Certificate;

/// Name of the key's file in the data folder: libp2p's protobuf encoding of the key pair.
const KEY_FILE: &str = "identity.key";
/// Name of the certificate's file in the data folder: PEM, with its private key.
const CERTIFICATE_FILE: &str = "webrtc.pem";

/// Where the relay's identity comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// Key and certificate live in this folder and are made there on the first run.
    Folder(PathBuf),
    /// The key is derived from a number that anybody can guess: for tests. The certificate lives in the
    /// folder if there is one, and otherwise in memory.
    Seed {
        /// The number; equal numbers give equal peer ids.
        seed: u64,
        /// Folder of the certificate.
        folder: Option<PathBuf>,
    },
}

/// The relay's key pair and its WebRTC certificate.
#[derive(Clone)]
pub struct Identity {
    pub(crate) keypair: Keypair,
    pub(crate) certificate: Certificate,
}

impl fmt::Debug for Identity {
    /// Names the peer and shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("peer_id", &self.keypair.public().to_peer_id())
            .finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file or folder could not be read or made.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The key's file holds something else.
    #[error(
        "{} is damaged or no Ed25519 key: restore it from a backup, or remove it and the relay makes a new one (its peer id and addresses change)",
        path.display()
    )]
    DamagedKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate's file holds something else.
    #[error(
        "{} is damaged or no certificate: restore it from a backup, or remove it and the relay makes a new one (its webrtc-direct address changes)",
        path.display()
    )]
    DamagedCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Key or certificate could not be made.
    #[error("cannot generate the relay's identity: {reason}")]
    Generate {
        /// The library's words.
        reason: String,
    },
}

impl Identity {
    /// Reads the identity, and makes what is not there yet.
    ///
    /// # Errors
    ///
    /// When a file is damaged, or cannot be read or made.
    pub fn load(source: &IdentitySource) -> Result<Self, IdentityError> {
        let (keypair, certificate) = match source {
            IdentitySource::Folder(folder) => {
                make_folder(folder)?;
                (stored_key(folder)?, stored_certificate(folder)?)
            }
            IdentitySource::Seed { seed, folder } => {
                let certificate = match folder {
                    Some(folder) => {
                        make_folder(folder)?;
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

/// The key of the tutorial's `--secret-key-seed`: the number, little-endian, and zeros.
fn seeded_key(seed: u64) -> Result<Keypair, IdentityError> {
    let mut secret = [0; 32];
    for (byte, of_seed) in secret.iter_mut().zip(seed.to_le_bytes()) {
        *byte = of_seed;
    }
    Keypair::ed25519_from_bytes(secret).map_err(generate_error)
}

fn stored_certificate(folder: &Path) -> Result<Certificate, IdentityError> {
    let path = folder.join(CERTIFICATE_FILE);
    let bytes = read_or_create(&path, || {
        Ok(new_certificate()?.serialize_pem().into_bytes())
    })?;
    String::from_utf8(bytes)
        .ok()
        .and_then(|pem| Certificate::from_pem(&pem).ok())
        .ok_or(IdentityError::DamagedCertificate { path })
}

fn new_certificate() -> Result<Certificate, IdentityError> {
    Certificate::generate(&mut rand::rng()).map_err(generate_error)
}

fn generate_error(error: impl fmt::Display) -> IdentityError {
    IdentityError::Generate {
        reason: error.to_string(),
    }
}

/// Makes `folder` for its owner alone. One that is there keeps its mode: it may be somebody else's.
fn make_folder(folder: &Path) -> Result<(), IdentityError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(io_error("make folder", folder))
}

/// What is in `path`; made by `create` and written first if there is no such file.
fn read_or_create(
    path: &Path,
    create: impl FnOnce() -> Result<Vec<u8>, IdentityError>,
) -> Result<Vec<u8>, IdentityError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_new(path, &create()?)?;
            // Not what was just made: another relay may have been faster, and then its file counts.
            fs::read(path).map_err(io_error("read", path))
        }
        found => found.map_err(io_error("read", path)),
    }
}

/// Writes `path` whole or not at all, for its owner alone, and leaves one that is there as it is.
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
    // The draft is only another name now, or a failed attempt.
    let _ = fs::remove_file(&draft);
    written
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left behind by a process of the same number that was killed.
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
    fn equal_seeds_give_equal_peer_ids_and_certificates_of_their_folder() {
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
        // What rust-libp2p's relay tutorial gets from `--secret-key-seed 1`.
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
    fn secrets_are_for_their_owner_alone() {
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
    fn damaged_files_are_named_and_left_alone() {
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
