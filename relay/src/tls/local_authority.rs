//! A certificate authority of the relay's own, for a network without a public name, such as a classroom's Wi-Fi. Each
//! device installs its certificate once, and then trusts the relay.
//!
//! The authority is created once and stored in the data folder, readable by its owner only. Name constraints limit it to
//! private addresses and to the relay's own names: even if its key is stolen, it cannot speak for a bank. Certificates for
//! the relay live for at most 90 days, exist in memory only, and are issued again when the computer's addresses change.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PublicKeyData as _, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use tokio::time::interval;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    certificate::{Certificate, CertificateError},
    current_certificate::CurrentCertificate,
};
use crate::{
    hangup::Hangup,
    identity::{IdentityError, create_folder, read_or_create},
};

/// What a local authority needs to know about the relay.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// Returns the current addresses of this computer.
    pub(crate) ips: fn(&[IpAddr]) -> Vec<IpAddr>,
    pub(crate) listen_ips: Vec<IpAddr>,
    /// The names of this computer.
    pub(crate) own_names: Vec<String>,
    /// The names that the operator announces.
    pub(crate) announced_names: Vec<String>,
}

impl Subject {
    /// All names of the relay.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.own_names.iter().chain(&self.announced_names);
        names.cloned().collect()
    }
}

/// File name of the authority in the data folder: its certificate and its key, in PEM format.
const FILE: &str = "local-authority.pem";

/// Networks whose addresses the authority may certify, each with the length of its prefix.
const PRIVATE_NETWORKS: [(&str, u8); 8] = [
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("169.254.0.0", 16),
    ("127.0.0.0", 8),
    ("fc00::", 7),
    ("fe80::", 10),
    ("::1", 128),
];
/// The top-level domain of multicast DNS (RFC 6762).
const MULTICAST_DNS: &str = "local";
const LOCALHOST: &str = "localhost";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority is valid. Installing it again on every device is the work of an afternoon.
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(10 * 365);
/// How long a certificate is valid, with the day by which it is backdated. Some systems refuse long-lived ones.
const CERTIFICATE_LIFETIME: Duration = DAY.saturating_mul(90);
/// Clocks of devices may be behind by this much.
const BACKDATED: Duration = DAY;
/// A certificate is issued again when it is valid for less than this.
const RENEWAL: Duration = DAY.saturating_mul(30);
/// Time between two looks at the computer's addresses.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Addresses in one certificate: several network interfaces, with several addresses each.
const MAX_ADDRESSES: usize = 64;

/// The authority: its certificate, and the key that signs.
#[derive(Debug)]
pub(crate) struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    path: PathBuf,
}

/// Why the local authority cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Its file cannot be read or created.
    #[error(transparent)]
    File(#[from] IdentityError),
    /// Its file is damaged.
    #[error(
        "{} is damaged or no certificate authority: restore it from a backup, or remove it to let the relay create a new one (each device must then install that)",
        path.display()
    )]
    Damaged {
        /// The authority's file.
        path: PathBuf,
    },
    /// A name was announced after the authority was created.
    #[error(
        "the local authority in {} may not certify {name}: remove the file to let the relay create a new one (each device must then install that)",
        path.display()
    )]
    NotCovered {
        /// The announced name.
        name: String,
        /// The authority's file.
        path: PathBuf,
    },
    /// A certificate could not be issued.
    #[error("cannot issue a certificate: {0}")]
    Issue(String),
    /// A certificate was issued, but cannot be used.
    #[error(transparent)]
    Unusable(#[from] CertificateError),
}

impl LocalAuthority {
    /// Loads the authority from the data folder, or creates it there. Without a folder, it lives in memory.
    pub(crate) fn load(folder: Option<&Path>, subject: &Subject) -> Result<Self, AuthorityError> {
        let names = subject.names();
        let (pem, path) = match folder {
            Some(folder) => {
                create_folder(folder)?;
                let path = folder.join(FILE);
                let pem = read_or_create(&path, || {
                    create(&names).map_err(|reason| IdentityError::Generate { reason })
                })?;
                (pem, path)
            }
            None => {
                let pem = create(&names).map_err(AuthorityError::Issue)?;
                (pem, PathBuf::new())
            }
        };
        let authority = Self::parse(&pem, &path)
            .ok_or_else(|| AuthorityError::Damaged { path: path.clone() })?;
        match subject
            .announced_names
            .iter()
            .find(|name| !authority.covers(name))
        {
            Some(name) => Err(AuthorityError::NotCovered {
                name: name.clone(),
                path,
            }),
            None => Ok(authority),
        }
    }

    fn parse(pem: &[u8], path: &Path) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem).ok()?;
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let key = KeyPair::try_from(&key).ok()?;
        // A certificate of another key would verify nothing that this key signs.
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return None;
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        Some(Self {
            issuer,
            certificate,
            path: path.to_owned(),
        })
    }

    /// The certificate that devices install, in DER format.
    pub(crate) fn der(&self) -> &[u8] {
        &self.certificate
    }

    /// Issues a certificate for the addresses and names that the constraints allow.
    pub(crate) fn issue(
        &self,
        ips: &[IpAddr],
        names: &[String],
    ) -> Result<Certificate, AuthorityError> {
        let failed = |error: rcgen::Error| AuthorityError::Issue(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut addresses: Vec<IpAddr> = ips.iter().copied().filter(|ip| is_private(*ip)).collect();
        addresses.truncate(MAX_ADDRESSES.saturating_sub(1));
        addresses.push(loopback);
        addresses.sort();
        addresses.dedup();

        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("Heartchain relay");
        (params.not_before, params.not_after) = validity(CERTIFICATE_LIFETIME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = addresses.into_iter().map(SanType::IpAddress).collect();
        let covered = names.iter().map(String::as_str);
        for name in covered.filter(|name| self.covers(name)).chain([LOCALHOST]) {
            let name = SanType::DnsName(name.try_into().map_err(failed)?);
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok(Certificate::new(chain, private, &self.path, &self.path)?)
    }

    /// Whether the constraints allow a certificate for this name.
    fn covers(&self, name: &str) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(&self.certificate) else {
            return false;
        };
        let constraints = parsed.name_constraints().ok().flatten();
        let permitted = constraints.and_then(|found| found.value.permitted_subtrees.as_ref());
        permitted.is_some_and(|subtrees| {
            subtrees.iter().any(|subtree| {
                if let GeneralName::DNSName(parent) = &subtree.base {
                    let rest = name.strip_suffix(parent);
                    return rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                }
                false
            })
        })
    }
}

/// Issues certificates again when the addresses change, and before they expire. Never returns.
pub(crate) async fn keep_current(
    authority: Arc<LocalAuthority>,
    subject: Subject,
    mut ips: Vec<IpAddr>,
    current: Arc<CurrentCertificate>,
) {
    let mut hangup = Hangup::listen();
    let mut check = interval(CHECK_INTERVAL);
    loop {
        tokio::select! {
            () = hangup.recv() => {}
            _ = check.tick() => {}
        }
        let now = (subject.ips)(&subject.listen_ips);
        let left = u64::try_from(current.get().seconds_left()).unwrap_or_default();
        if now == ips && left > RENEWAL.as_secs() {
            continue;
        }
        match authority.issue(&now, &subject.names()) {
            Ok(certificate) => {
                tracing::info!(expires = %certificate.expires, "issued a new certificate");
                current.replace(certificate);
                ips = now;
            }
            Err(error) => tracing::warn!("{error}; the relay keeps using the one from before"),
        }
    }
}

/// Creates an authority for the names and for private addresses. Returns its certificate and its key in PEM format.
fn create(names: &[String]) -> Result<Vec<u8>, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params = CertificateParams::default();
    let host = gethostname::gethostname();
    let name = format!("Heartchain authority of {}", host.to_string_lossy());
    params.distinguished_name = distinguished_name(&name);
    (params.not_before, params.not_after) = validity(AUTHORITY_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let networks = PRIVATE_NETWORKS.iter().filter_map(|(network, prefix)| {
        let network = network.parse::<IpAddr>().ok()?;
        let subnet = CidrSubnet::from_addr_prefix(network, *prefix);
        Some(GeneralSubtree::IpAddress(subnet))
    });
    // A constraint binds only the kinds of names that it lists, so names need one, too.
    let dns = [MULTICAST_DNS, LOCALHOST].into_iter();
    let dns = dns.chain(names.iter().map(String::as_str));
    let dns = dns.map(|name| GeneralSubtree::DnsName(name.to_owned()));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: networks.chain(dns).collect(),
        excluded_subtrees: Vec::new(),
    });
    let certificate = params
        .self_signed(&key)
        .map_err(|error| error.to_string())?;
    Ok((certificate.pem() + &key.serialize_pem()).into_bytes())
}

/// The time from a day ago, for `lifetime`.
fn validity<T: From<SystemTime>>(lifetime: Duration) -> (T, T) {
    let from = SystemTime::now()
        .checked_sub(BACKDATED)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let until = from.checked_add(lifetime).unwrap_or(from);
    (from.into(), until.into())
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Whether the constraints allow a certificate for this address.
fn is_private(ip: IpAddr) -> bool {
    PRIVATE_NETWORKS.iter().any(|(network, prefix)| {
        let network = network.parse().ok();
        let network = network.and_then(|network| ipnet::IpNet::new(network, *prefix).ok());
        network.is_some_and(|network| network.contains(&ip))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_have_a_limited_number_of_addresses() {
        let subject = Subject {
            ips: |_| Vec::new(),
            listen_ips: Vec::new(),
            own_names: vec!["laptop".to_owned()],
            announced_names: vec!["hearts.lan".to_owned()],
        };
        let authority = LocalAuthority::load(None, &subject).expect("an authority");
        for name in [
            "laptop",
            "hearts.lan",
            "a.hearts.lan",
            "b.local",
            "localhost",
        ] {
            assert!(authority.covers(name), "{name}");
        }
        for name in ["lan", "example", "notlaptop", "local.example"] {
            assert!(!authority.covers(name), "{name}");
        }
        let private = (0..=u8::MAX).map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        let public = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
        let ips: Vec<IpAddr> = public.into_iter().chain(private).collect();
        let names = subject.names();
        let certificate = authority.issue(&ips, &names).expect("a certificate");
        assert_eq!(*certificate.names, ["laptop", "hearts.lan", "localhost"]);
        let chain = &certificate.key.cert;
        let (_, parsed) = X509Certificate::from_der(&chain[0]).expect("a certificate");
        let found = parsed.subject_alternative_name().expect("well-formed");
        let found = found.expect("some").value.general_names.iter();
        let addresses = found.filter(|name| matches!(name, GeneralName::IPAddress(_)));
        assert_eq!(addresses.count(), MAX_ADDRESSES);
        let public = GeneralName::IPAddress(&[192, 0, 2, 1]);
        let all = parsed.subject_alternative_name().expect("well-formed");
        assert!(!all.expect("some").value.general_names.contains(&public));
    }
}
