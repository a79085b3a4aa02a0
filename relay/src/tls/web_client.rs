//! TLS as a client of other servers on the web.

use std::sync::Arc;

use rustls::{ClientConfig, Error, RootCertStore};

use super::certificate::provider;

/// Trusts what browsers trust.
pub(crate) fn web_client() -> Result<Arc<ClientConfig>, Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(client))
}
