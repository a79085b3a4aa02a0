//! TLS on the relay's one port: with certificates from files, from an authority of the relay's own for local networks, or
//! by ACME. All cryptography is that of ring, as in libp2p.
//!
//! A certificate is replaced while the relay runs: open connections keep the old one.

mod acme;
mod certificate;
mod current_certificate;
mod files;
mod install_page;
pub(crate) mod local_authority;
mod server;
mod web_client;

use std::{path::PathBuf, sync::Arc};

pub use self::{
    acme::AcmeConfig, certificate::CertificateError, local_authority::AuthorityError,
    server::TlsError,
};
pub(crate) use self::{
    current_certificate::CurrentCertificate,
    install_page::install_router,
    local_authority::{LocalAuthority, Subject},
    server::{Renewal, Tls, speaks_http2},
    web_client::web_client,
};

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
                let (files, first) = files::ReadFiles::read(certificate.clone(), key.clone())?;
                let current = Arc::new(CurrentCertificate::new(first));
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
}
