//! The settings of DTLS, which are the same for all connections.
//!
//! `dimpl` makes its cookies with a key of each connection, so it needs a connection to ask for one. A listener of this crate
//! asks without one, and then lets `dimpl` accept the cookie that it has checked: it replaces the code by which `dimpl` makes
//! cookies. That code is the only use of `hmac_sha256` in DTLS 1.2.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use dimpl::crypto::{CryptoProvider, HmacProvider, rust_crypto};
use dimpl::{Config, CryptoError, Error, HashAlgorithm};

use crate::hello::Cookie;

thread_local! {
    /// The cookie that `dimpl` accepts while [`accepting`] runs.
    static ACCEPTED: Cell<Option<Cookie>> = const { Cell::new(None) };
}

/// Runs `work`, in which a server of `dimpl` takes this cookie for the one that it has sent.
pub(crate) fn accepting<T>(cookie: Option<Cookie>, work: impl FnOnce() -> T) -> T {
    ACCEPTED.set(cookie);
    let outcome = work();
    ACCEPTED.set(None);
    outcome
}

/// The settings. They are validated once, which takes some milliseconds.
pub(crate) fn dtls_config() -> Result<Arc<Config>, Error> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = CryptoProvider {
        hmac_provider: &CheckedCookies,
        ..rust_crypto::default_provider()
    };
    let config = Config::builder().with_crypto_provider(provider).build()?;
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// HMAC, except that a cookie is the accepted one.
#[derive(Debug)]
struct CheckedCookies;

impl HmacProvider for CheckedCookies {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        let accepted = ACCEPTED.get().map(Ok);
        accepted.unwrap_or_else(|| default_hmac().hmac_sha256(key, data))
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        default_hmac().hmac(hash, key, data, out)
    }
}

fn default_hmac() -> &'static dyn HmacProvider {
    rust_crypto::default_provider().hmac_provider
}
