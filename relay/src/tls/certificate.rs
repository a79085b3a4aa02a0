//! A certificate with its key, and what is wrong with one that cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    Error, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
    time::ASN1Time,
};

use crate::bounded_file::{ReadError, read_at_most};

/// Bytes of a certificate or key file that are read: a chain of several certificates is some 10 KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A certificate that the relay can use.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// The DNS names in it, which may begin with a wildcard.
    pub(crate) names: Arc<[String]>,
    pub(crate) expires: ASN1Time,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {} ({flag}): {reason}", path.display())]
    Read {
        /// The file that was read.
        path: PathBuf,
        /// The command-line flag that names it.
        flag: &'static str,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The file contains no certificate.
    #[error("{} contains no certificate in PEM format ({flag})", path.display())]
    NoCertificate {
        /// The file that was read.
        path: PathBuf,
        /// The command-line flag that names it.
        flag: &'static str,
    },
    /// The file contains no private key.
    #[error("{} contains no private key in PEM format (--tls-key)", path.display())]
    NoKey {
        /// The file that was read.
        path: PathBuf,
    },
    /// The certificate is for another key.
    #[error(
        "the certificate in {} is not for the key in {}: give the two files that were issued together",
        certificate.display(), key.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate is no longer valid.
    #[error("the certificate in {} expired on {at}: renew it", path.display())]
    Expired {
        /// The file that was read.
        path: PathBuf,
        /// The end of its validity.
        at: String,
    },
    /// The certificate is not valid yet.
    #[error(
        "the certificate in {} is valid from {at} only: check this computer's clock",
        path.display()
    )]
    NotYetValid {
        /// The file that was read.
        path: PathBuf,
        /// The beginning of its validity.
        at: String,
    },
    /// The certificate or its key is of a kind that TLS or the library does not support.
    #[error("cannot use the certificate in {}: {reason}", path.display())]
    Unsupported {
        /// The file that was read.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
}

impl Certificate {
    /// Reads a chain of certificates and its key from PEM files.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain_pem = read(certificate, "--tls-cert")?;
        let key_pem = read(key, "--tls-key")?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let private = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|_| CertificateError::NoKey { path: key.into() })?;
        Self::new(chain, private, certificate, key)
    }

    /// Checks a chain of certificates and its key. The paths are for the error messages.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        private: PrivateKeyDer<'static>,
        path: &Path,
        key_path: &Path,
    ) -> Result<Self, CertificateError> {
        let unsupported = |reason: String| CertificateError::Unsupported {
            path: path.into(),
            reason,
        };
        let first = chain
            .first()
            .ok_or_else(|| CertificateError::NoCertificate {
                path: path.into(),
                flag: "--tls-cert",
            })?;
        let (_, parsed) =
            X509Certificate::from_der(first).map_err(|error| unsupported(error.to_string()))?;
        let (validity, now) = (parsed.validity(), now());
        if now > validity.not_after {
            return Err(CertificateError::Expired {
                path: path.into(),
                at: validity.not_after.to_string(),
            });
        }
        if now < validity.not_before {
            return Err(CertificateError::NotYetValid {
                path: path.into(),
                at: validity.not_before.to_string(),
            });
        }
        let expires = validity.not_after;
        let names = names_in(&parsed).into();
        let key = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
            if error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
                return CertificateError::Mismatch {
                    certificate: path.into(),
                    key: key_path.into(),
                };
            }
            unsupported(error.to_string())
        })?;
        Ok(Self {
            key: Arc::new(key),
            names,
            expires,
        })
    }

    /// Seconds until the certificate expires; negative when it has.
    pub(crate) fn seconds_left(&self) -> i64 {
        self.expires.timestamp().saturating_sub(now().timestamp())
    }
}

/// The DNS names that a certificate is for.
pub(super) fn names_in(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice());
    let dns = names.unwrap_or_default().iter().filter_map(|name| {
        if let GeneralName::DNSName(name) = name {
            return Some(name.to_ascii_lowercase());
        }
        None
    });
    dns.collect()
}

fn now() -> ASN1Time {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(seconds).unwrap_or_else(|_| ASN1Time::now())
}

/// The content of a PEM file.
pub(super) fn read(path: &Path, flag: &'static str) -> Result<Vec<u8>, CertificateError> {
    read_at_most(path, MAX_FILE_BYTES).map_err(|error| CertificateError::Read {
        path: path.into(),
        flag,
        reason: match error {
            ReadError::Io(reason) => reason,
            ReadError::TooLong { .. } => {
                io::Error::other(format!("{error}, which is no certificate or key"))
            }
        },
    })
}

/// All cryptography of TLS.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
