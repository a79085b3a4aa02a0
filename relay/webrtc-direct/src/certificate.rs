//! The self-signed certificate of one end of a connection, and its fingerprint. The fingerprint of a listener is part of
//! its address, so a listener keeps its certificate.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use dimpl::DtlsCertificate;
use libp2p_core::multihash::Multihash;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use sha2::{Digest, Sha256};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::asn1::{GeneralizedTime, UtcTime};
use x509_cert::der::{DateTime, Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate as X509, TbsCertificate};

/// The code of SHA-256 in a multihash.
const MULTIHASH_SHA256: u64 = 0x12;

/// PEM tags of a private key in PKCS#8. `libp2p-webrtc` 0.10 writes the second one.
const KEY_TAGS: [&str; 2] = ["PRIVATE KEY", "PRIVATE_KEY"];
/// PEM tag of a certificate.
const CERTIFICATE_TAG: &str = "CERTIFICATE";

/// A self-signed certificate with its private key.
#[derive(Clone)]
pub struct Certificate {
    /// Shared, because each connection has a copy while it begins.
    der: Arc<[u8]>,
    /// The private key in PKCS#8.
    key: Arc<[u8]>,
}

/// The SHA-256 hash of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is not PEM.
    #[error("not a PEM file: {0}")]
    Pem(#[from] pem::PemError),
    /// There is no private key in the text.
    #[error("there is no block PRIVATE KEY in the PEM file")]
    NoKey,
    /// There is no certificate in the text.
    #[error("there is no block CERTIFICATE in the PEM file")]
    NoCertificate,
    /// The private key is not a P-256 key in PKCS#8.
    #[error("the private key is not a P-256 key in PKCS#8: {0}")]
    Key(p256::pkcs8::Error),
    /// The certificate is malformed, or could not be created.
    #[error("malformed certificate: {0}")]
    Encoding(x509_cert::der::Error),
    /// The certificate belongs to another private key.
    #[error("the certificate does not belong to the private key")]
    Mismatch,
    /// The certificate could not be signed.
    #[error("cannot sign a certificate: {0}")]
    Sign(x509_cert::builder::Error),
}

impl Certificate {
    /// Creates a new key on P-256 and a certificate for it. The certificate names nothing and is always valid, because
    /// peers only compare its fingerprint.
    ///
    /// # Errors
    /// If the certificate cannot be encoded or signed; no input leads to that.
    pub fn generate() -> Result<Self, CertificateError> {
        let key = SigningKey::generate_from_rng(&mut rand::rng());
        let public = SubjectPublicKeyInfoOwned::from_key(key.verifying_key())
            .map_err(|error| CertificateError::Sign(error.into()))?;
        // The first bit stays zero: serial numbers are positive.
        let serial = rand::random::<u64>() >> 1;
        let mut builder =
            CertificateBuilder::new(SelfSigned, SerialNumber::from(serial), always()?, public)
                .map_err(CertificateError::Sign)?;
        builder
            .add_extension(&BasicConstraints {
                ca: false,
                path_len_constraint: None,
            })
            .map_err(CertificateError::Encoding)?;
        let certificate = builder
            .build::<_, DerSignature>(&key)
            .map_err(CertificateError::Sign)?;
        Ok(Self {
            der: certificate
                .to_der()
                .map_err(CertificateError::Encoding)?
                .into(),
            key: key
                .to_pkcs8_der()
                .map_err(CertificateError::Key)?
                .as_bytes()
                .into(),
        })
    }

    /// Reads a key and its certificate, as [`Self::to_pem`] writes them. Also reads the files of `libp2p-webrtc` 0.10, so
    /// that a listener keeps its address. Other blocks are ignored.
    ///
    /// # Errors
    /// If one of the two is missing or malformed, or if they do not belong together.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let blocks = pem::parse_many(text)?;
        let block = |tags: &[&str]| blocks.iter().find(|block| tags.contains(&block.tag()));
        let key = block(&KEY_TAGS).ok_or(CertificateError::NoKey)?.contents();
        let der = block(&[CERTIFICATE_TAG])
            .ok_or(CertificateError::NoCertificate)?
            .contents();
        let public = SigningKey::from_pkcs8_der(key).map_err(CertificateError::Key)?;
        let public = SubjectPublicKeyInfoOwned::from_key(public.verifying_key())
            .map_err(|error| CertificateError::Sign(error.into()))?;
        let certificate = X509::from_der(der).map_err(CertificateError::Encoding)?;
        let certified = certificate.tbs_certificate().subject_public_key_info();
        if certified.subject_public_key != public.subject_public_key {
            return Err(CertificateError::Mismatch);
        }
        Ok(Self {
            der: der.into(),
            key: key.into(),
        })
    }

    /// Writes the private key in PKCS#8 and the certificate as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let [tag, _] = KEY_TAGS;
        pem::encode_many(&[
            pem::Pem::new(tag, self.key.to_vec()),
            pem::Pem::new(CERTIFICATE_TAG, self.der.to_vec()),
        ])
    }

    /// The hash that addresses contain.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    pub(crate) fn to_dtls(&self) -> DtlsCertificate {
        DtlsCertificate {
            certificate: self.der.to_vec(),
            private_key: self.key.to_vec(),
        }
    }
}

impl fmt::Debug for Certificate {
    /// Shows the fingerprint only, because the key is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate")
            .field(&self.fingerprint())
            .finish()
    }
}

impl Fingerprint {
    /// Hashes a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Returns `None` if `hash` is not a SHA-256 hash.
    #[must_use]
    pub fn from_multihash(hash: &Multihash<64>) -> Option<Self> {
        let digest = hash.digest().try_into().ok()?;
        (hash.code() == MULTIHASH_SHA256).then_some(Self(digest))
    }

    /// The form in which addresses contain the hash.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "32 bytes always fit into 64")]
    pub fn to_multihash(self) -> Multihash<64> {
        Multihash::wrap(MULTIHASH_SHA256, &self.0).expect("32 bytes fit into 64")
    }

    /// The multihash as bytes: its code, its length, and the digest.
    #[must_use]
    pub fn to_multihash_bytes(self) -> [u8; 34] {
        let mut bytes = [0; 34];
        let (head, digest) = bytes.split_at_mut(2);
        head.copy_from_slice(&[0x12, 32]);
        digest.copy_from_slice(&self.0);
        bytes
    }
}

impl fmt::Debug for Fingerprint {
    /// Writes upper-case hexadecimal numbers with colons, as in session descriptions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// From 1975 to 4096, so that no clock is wrong enough to reject it.
fn always() -> Result<Validity, CertificateError> {
    let date = |year| DateTime::new(year, 1, 1, 0, 0, 0).map_err(CertificateError::Encoding);
    Ok(Validity::new(
        Time::UtcTime(UtcTime::from_date_time(date(1975)?).map_err(CertificateError::Encoding)?),
        Time::GeneralTime(GeneralizedTime::from_date_time(date(4096)?)),
    ))
}

/// A certificate that is its own issuer, without extensions that bind it to a use.
struct SelfSigned;

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        Name::from_str("CN=libp2p").unwrap_or_default()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> Result<Vec<Extension>, x509_cert::builder::Error> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_survives_its_file() {
        let certificate = Certificate::generate().expect("a certificate");
        let read = Certificate::from_pem(&certificate.to_pem()).expect("well-formed");
        assert_eq!(read.fingerprint(), certificate.fingerprint());
        assert_eq!(read.key, certificate.key);
        let other = Certificate::generate().expect("a certificate");
        assert_ne!(other.fingerprint(), certificate.fingerprint());
    }

    #[test]
    fn file_of_libp2p_webrtc_keeps_its_fingerprint() {
        let certificate = Certificate::generate().expect("a certificate");
        // It has a block of its own for the time at which the certificate expires, and joins the blocks like this.
        let old = format!(
            "{}\n{}",
            pem::encode(&pem::Pem::new("EXPIRES", vec![0; 8])),
            pem::encode_many(&[
                pem::Pem::new("PRIVATE_KEY", certificate.key.to_vec()),
                pem::Pem::new("CERTIFICATE", certificate.der.to_vec()),
            ])
        );
        let read = Certificate::from_pem(&old).expect("well-formed");
        assert_eq!(read.fingerprint(), certificate.fingerprint());
    }

    #[test]
    fn damaged_files_are_refused() {
        let certificate = Certificate::generate().expect("a certificate");
        let other = Certificate::generate().expect("a certificate");
        let block = |tag: &str, bytes: &[u8]| pem::encode(&pem::Pem::new(tag, bytes));
        let key = block("PRIVATE KEY", &certificate.key);
        let der = block("CERTIFICATE", &certificate.der);
        let of = |text: &str| Certificate::from_pem(text).expect_err("damaged");
        assert!(matches!(of(""), CertificateError::NoKey));
        assert!(matches!(of(&der), CertificateError::NoKey));
        assert!(matches!(of(&key), CertificateError::NoCertificate));
        let foreign = block("CERTIFICATE", &other.der);
        let error = of(&format!("{key}\n{foreign}"));
        assert!(matches!(error, CertificateError::Mismatch), "{error}");
        let error = of(&format!("{}\n{der}", block("PRIVATE KEY", b"x")));
        assert!(matches!(error, CertificateError::Key(_)), "{error}");
        let error = of(&format!("{key}\n{}", block("CERTIFICATE", b"x")));
        assert!(matches!(error, CertificateError::Encoding(_)), "{error}");
    }

    #[test]
    fn fingerprint_round_trips() {
        let fingerprint = Fingerprint::of(b"certificate");
        let hash = fingerprint.to_multihash();
        assert_eq!(hash.to_bytes(), fingerprint.to_multihash_bytes());
        assert_eq!(Fingerprint::from_multihash(&hash), Some(fingerprint));
        let other = Multihash::wrap(0x16, hash.digest()).expect("32 bytes");
        assert_eq!(Fingerprint::from_multihash(&other), None);
        assert_eq!(format!("{fingerprint:?}").len(), 95);
    }
}
