//! The server's side of TLS: it performs handshakes with the current certificate.

use std::{io, sync::Arc};

use futures::future::BoxFuture;
use rustls::{
    ServerConfig,
    server::{Acceptor, ResolvesServerCert},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    certificate::{CertificateError, provider},
    current_certificate::CurrentCertificate,
    local_authority::{AuthorityError, LocalAuthority},
};
use crate::identity::IdentityError;

/// Protocols that the relay offers by ALPN: HTTP/2 loads the many small files of the page without a round trip for each.
/// Browsers open WebSockets with HTTP/1.1.
pub(super) const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";

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
    /// The folder for ACME cannot be created.
    #[error(transparent)]
    Folder(#[from] IdentityError),
    /// The library refuses the configuration.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

/// The server's side of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// Answers the challenges of an ACME authority.
    pub(super) challenge: Option<Arc<ServerConfig>>,
    pub(super) certificate: Names,
    /// The certificate that devices install, if the authority is the relay's own.
    pub(crate) authority: Option<Arc<LocalAuthority>>,
}

/// Where the names in the certificate are found.
#[derive(Debug)]
pub(super) enum Names {
    Current(Arc<CurrentCertificate>),
    Fixed(Arc<[String]>),
}

/// Keeps the certificate up to date. Never resolves.
pub(crate) type Renewal = BoxFuture<'static, ()>;

impl Tls {
    pub(super) fn new(
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
    pub(crate) fn names(&self) -> Arc<[String]> {
        match &self.certificate {
            Names::Current(current) => Arc::clone(&current.get().names),
            Names::Fixed(names) => Arc::clone(names),
        }
    }

    /// The names to show, if the certificate is valid for these names only.
    pub(crate) fn public_names(&self) -> Vec<String> {
        if self.authority.is_some() {
            return Vec::new();
        }
        let names = self.names();
        let whole = names.iter().filter(|name| !name.starts_with('*'));
        whole.cloned().collect()
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

fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}
