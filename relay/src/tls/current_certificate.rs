//! The certificate in use, which is replaced while the relay runs.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::Certificate;

/// The certificate that new connections get.
#[derive(Debug)]
pub(crate) struct CurrentCertificate(RwLock<Arc<Certificate>>);

impl CurrentCertificate {
    pub(super) fn new(certificate: Certificate) -> Self {
        Self(RwLock::new(Arc::new(certificate)))
    }

    pub(super) fn get(&self) -> Arc<Certificate> {
        // A panic cannot leave a pointer half written, so a poisoned lock is safe to use.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, certificate: Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.get().key))
    }
}
