//! TLS on the relay's one port: with certificates from files, from an authority of the relay's own for local networks, or
//! by ACME. All cryptography is that of ring, as in libp2p.
//!
//! A certificate is replaced while the relay runs: open connections keep the old one.

mod acme;
mod certificate;
mod files;
mod install_page;
mod local_authority;

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use futures::future::BoxFuture;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

pub(crate) use self::{
    certificate::Certificate, install_page::install_router, local_authority::LocalAuthority,
};
pub use self::{certificate::CertificateError, local_authority::AuthorityError};

/// Protocols that the relay offers by ALPN: HTTP/2 loads the many small files of the page without a round trip for each.
/// Browsers open WebSockets with HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// PEM files, which are read again when they change, and on SIGHUP.
    Files {
        /// The certificate, followed by those of its issuers.
        certificate: PathBuf,
        /// The certificate's private key.
        key: PathBuf,
    },
    /// An authority of the relay's own, which each device must install once.
    LocalAuthority,
    /// An authority that speaks ACME, such as Let's Encrypt.
    Acme(AcmeConfig),
}

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
    fn names(&self) -> Vec<String> {
        let names = self.own_names.iter().chain(&self.announced_names);
        names.cloned().collect()
    }
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The files given with `--tls-cert` and `--tls-key` are unsuitable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The local authority is unsuitable.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// ACME has to keep its account somewhere.
    #[error("--acme needs a folder for its account and certificates: choose one with --data-dir")]
    NoFolder,
    /// The folder for ACME cannot be used.
    #[error("cannot create folder {}: {reason}", path.display())]
    Folder {
        /// The folder of the account.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The library refuses the configuration.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

/// The server's side of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    /// Answers the challenges of an ACME authority.
    challenge: Option<Arc<ServerConfig>>,
    certificate: Names,
    /// The certificate that devices install, if the authority is the relay's own.
    pub(crate) authority: Option<Arc<LocalAuthority>>,
}

/// Where the names in the certificate are found.
#[derive(Debug)]
enum Names {
    Current(Arc<CurrentCertificate>),
    Fixed(Vec<String>),
}

/// Keeps the certificate up to date. Never resolves.
pub(crate) type Renewal = BoxFuture<'static, ()>;

impl Tls {
    /// Loads or creates the certificate. `folder` is the data folder, if there is one.
    ///
    /// Also returns a future that must run as long as the server does.
    pub(crate) fn start(
        source: &TlsSource,
        folder: Option<PathBuf>,
        subject: Subject,
    ) -> Result<(Self, Renewal), TlsError> {
        match source {
            TlsSource::Files { certificate, key } => {
                let files = files::Files::new(certificate.clone(), key.clone());
                let current = Arc::new(CurrentCertificate::new(files.load()?));
                let tls = Self::new(Arc::clone(&current), None)?;
                Ok((tls, Box::pin(files::keep_current(files, current))))
            }
            TlsSource::LocalAuthority => {
                let authority = LocalAuthority::load(folder.as_deref(), &subject)?;
                let authority = Arc::new(authority);
                let ips = (subject.ips)(&subject.listen_ips);
                let first = authority.issue(&ips, &subject.names())?;
                let current = Arc::new(CurrentCertificate::new(first));
                let tls = Self::new(Arc::clone(&current), Some(Arc::clone(&authority)))?;
                let renewal = local_authority::keep_current(authority, subject, ips, current);
                Ok((tls, Box::pin(renewal)))
            }
            TlsSource::Acme(config) => {
                let folder = folder.ok_or(TlsError::NoFolder)?;
                acme::start(config, &folder)
            }
        }
    }

    fn new(
        certificate: Arc<CurrentCertificate>,
        authority: Option<Arc<LocalAuthority>>,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            config: server_config(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>)?,
            challenge: None,
            certificate: Names::Current(certificate),
            authority,
        })
    }

    /// The names in the current certificate, which may begin with a wildcard.
    pub(crate) fn names(&self) -> Vec<String> {
        match &self.certificate {
            Names::Current(current) => current.get().names.clone(),
            Names::Fixed(names) => names.clone(),
        }
    }

    /// The names to show, if the certificate is valid for these names only.
    pub(crate) fn public_names(&self) -> Vec<String> {
        if self.authority.is_some() {
            return Vec::new();
        }
        let names = self.names().into_iter();
        names.filter(|name| !name.starts_with('*')).collect()
    }

    /// Performs the handshake. Returns `None` if it only answered a challenge.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<Option<TlsStream<TcpStream>>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if let Some(challenge) = &self.challenge
            && rustls_acme::is_tls_alpn_challenge(&start.client_hello())
        {
            let mut stream = start.into_stream(Arc::clone(challenge)).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        start.into_stream(Arc::clone(&self.config)).await.map(Some)
    }
}

/// Whether the client has chosen HTTP/2.
pub(crate) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// The certificate that new connections get.
#[derive(Debug)]
pub(crate) struct CurrentCertificate(RwLock<Arc<Certificate>>);

impl CurrentCertificate {
    fn new(certificate: Certificate) -> Self {
        Self(RwLock::new(Arc::new(certificate)))
    }

    fn get(&self) -> Arc<Certificate> {
        // A panic cannot leave a pointer half written, so a poisoned lock is safe to use.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, certificate: Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.get().key))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

/// Resolves when the process receives SIGHUP, on systems that have it.
pub(crate) struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    pub(crate) fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signal = signal(SignalKind::hangup());
            if let Err(error) = &signal {
                tracing::warn!(%error, "cannot listen for SIGHUP");
            }
            Self(signal.ok())
        }
        #[cfg(not(unix))]
        Self()
    }

    pub(crate) async fn recv(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
