//! Certificates from an authority that speaks ACME (RFC 8555), by TLS-ALPN challenges (RFC 8737) on the relay's own port.
//! The authority connects to port 443 of the domain, so that port must lead here.
//!
//! A failed order does not stop the relay: it is tried again, ever more seldom, because authorities limit failures.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_acme::{AcmeConfig as Orders, AcmeState, EventError, EventOk, caches::DirCache};
use tokio::time::sleep;

use super::{
    certificate::{CertificateError, provider, read},
    server::{Names, PROTOCOLS, Renewal, Tls, TlsError},
};
use crate::identity::create_folder;

/// Configuration of ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names that the certificate is for.
    pub domains: Vec<String>,
    /// Mail addresses of the operator, for warnings by the authority.
    pub contacts: Vec<String>,
    /// URL of the authority's directory; `None` is Let's Encrypt.
    pub directory: Option<String>,
    /// PEM file with the root certificates of the directory's own server, if it is not publicly trusted.
    pub directory_ca: Option<PathBuf>,
}

/// Directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Folder for the account and the certificates, in the data folder.
const FOLDER: &str = "acme";
/// Pause after the first failure, beside the library's own pause of some seconds; doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause. Let's Encrypt allows five failures of a domain in an hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Sets up TLS for a certificate that may still have to be ordered.
pub(super) fn start(config: &AcmeConfig, folder: &Path) -> Result<(Tls, Renewal), TlsError> {
    // The library writes keys with the default mode, so the folder must not be open to others.
    let folder = folder.join(FOLDER);
    create_folder(&folder)?;

    let orders = match &config.directory_ca {
        Some(path) => {
            let client = client_config(path)?;
            Orders::new_with_client_config(&config.domains, client)
        }
        None => Orders::new_with_provider(&config.domains, provider()),
    };
    let contacts = config.contacts.iter().map(|mail| format!("mailto:{mail}"));
    let directory = config.directory.as_deref().unwrap_or(LETS_ENCRYPT);
    let state = orders
        .contact(contacts)
        .directory(directory)
        .cache(DirCache::new(folder))
        .state();
    let mut server = Arc::unwrap_or_clone(state.default_rustls_config_with_provider(provider()));
    server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    let tls = Tls {
        config: Arc::new(server),
        challenge: Some(state.challenge_rustls_config_with_provider(provider())),
        certificate: Names::Fixed(config.domains.clone().into()),
        authority: None,
    };
    Ok((tls, Box::pin(keep_current(state))))
}

/// Orders and renews certificates. Never returns.
async fn keep_current(mut state: AcmeState<std::io::Error>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match state.next().await {
            Some(Ok(EventOk::DeployedNewCert | EventOk::DeployedCachedCert)) => {
                tracing::info!("the certificate is in use");
                pause = FIRST_PAUSE;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let seconds = pause.as_secs();
                tracing::warn!(
                    "cannot get a certificate by ACME ({}); trying again in about {seconds} s",
                    reason(&error)
                );
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            None => std::future::pending().await,
        }
    }
}

/// What went wrong, and what an operator can do about the most frequent failure.
fn reason(error: &EventError<std::io::Error, std::io::Error>) -> String {
    let reason = error.to_string();
    if let EventError::Order(rustls_acme::OrderError::BadAuth(_)) = error {
        return format!(
            "{reason}; port 443 of the domain must lead to this relay, and its DNS record to this computer"
        );
    }
    reason
}

/// Trusts only the authorities in a PEM file.
fn client_config(path: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let none = || CertificateError::NoCertificate {
        path: path.into(),
        flag: "--acme-ca",
    };
    let pem = read(path, "--acme-ca")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| none())?;
        roots
            .add(certificate)
            .map_err(|error| TlsError::Setup(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(none().into());
    }
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(client))
}
