//! A certificate authority of a test, and requests by TLS from a client that trusts one authority only.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::http::{PATIENCE, Response, exchange, request_text};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority that a client may trust.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("an authority");
        Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority whose certificate and key are in this text.
    pub(crate) fn from_pem(pem: String) -> Self {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key");
        let key = KeyPair::try_from(&key).expect("a key");
        let issuer = Issuer::from_ca_cert_der(&der, key).expect("an authority");
        Self { issuer, der, pem }
    }

    /// A certificate for `names` and its key, both as PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        let now = SystemTime::now();
        self.issue_for(names, now - DAY, now + DAY)
    }

    /// The same, no longer valid.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> (String, String) {
        let now = SystemTime::now();
        self.issue_for(names, now - 3 * DAY, now - DAY)
    }

    fn issue_for(&self, names: &[&str], from: SystemTime, until: SystemTime) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        (params.not_before, params.not_after) = (from.into(), until.into());
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A connection to a server that must be `name`, by a client that trusts `root` only and offers these protocols by ALPN.
///
/// # Errors
/// If the server does not listen, or the client does not trust it.
pub(crate) async fn connect(
    root: &CertificateDer<'static>,
    name: &str,
    to: SocketAddr,
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("an authority");
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocols = protocols.iter();
    config.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, connecting).await.expect("in time")
}

/// Sends a request to a server that must be `name`.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn secure_get(
    root: &CertificateDer<'static>,
    to: SocketAddr,
    (name, path): (&str, &str),
) -> io::Result<Response> {
    let mut stream = connect(root, name, to, &["http/1.1"]).await?;
    let host = format!("{name}:{}", to.port());
    let text = request_text(&format!("GET {path}"), &host, &[("Connection", "close")]);
    Ok(exchange(&mut stream, text.as_bytes()).await)
}
