//! A certificate and a key in PEM files, which other programs renew. They are read again when they change, and on SIGHUP.
//! If the new ones cannot be used, the relay keeps the old ones and says why.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::interval;

use super::{
    certificate::{Certificate, CertificateError},
    current_certificate::CurrentCertificate,
};
use crate::hangup::Hangup;

/// Time between two checks whether a file has changed.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// A certificate that is valid for less than this is reported once a day.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// The files of a certificate and of its key.
#[derive(Debug)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What shows that a file has changed: its time of modification and its length.
type Stamp = Option<(SystemTime, u64)>;

impl Files {
    pub(crate) fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key }
    }

    pub(crate) fn load(&self) -> Result<Certificate, CertificateError> {
        Certificate::read(&self.certificate, &self.key)
    }

    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

/// Replaces `current` whenever the files change. Never returns.
pub(crate) async fn keep_current(files: Files, current: Arc<CurrentCertificate>) {
    let files = Arc::new(files);
    let mut hangup = Hangup::listen();
    let mut check = interval(CHECK_INTERVAL);
    let mut warning = interval(Duration::from_secs(DAY));
    let mut seen = files.stamps();
    loop {
        tokio::select! {
            () = hangup.recv() => {}
            _ = check.tick() => {
                let now = stamps(&files).await;
                if now == seen {
                    continue;
                }
                seen = now;
            }
            _ = warning.tick() => {
                warn_if_it_expires_soon(&current.get());
                continue;
            }
        }
        let reading = Arc::clone(&files);
        match tokio::task::spawn_blocking(move || reading.load()).await {
            Ok(Ok(certificate)) => {
                tracing::info!(expires = %certificate.expires, "read the certificate again");
                current.replace(certificate);
            }
            Ok(Err(error)) => {
                tracing::warn!("{error}; the relay keeps using the certificate from before");
            }
            Err(error) => tracing::warn!(%error, "cannot read the certificate again"),
        }
    }
}

async fn stamps(files: &Arc<Files>) -> [Stamp; 2] {
    let files = Arc::clone(files);
    let stamps = tokio::task::spawn_blocking(move || files.stamps()).await;
    stamps.unwrap_or_default()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn warn_if_it_expires_soon(certificate: &Certificate) {
    let left = u64::try_from(certificate.seconds_left()).unwrap_or_default();
    if left < EXPIRES_SOON.as_secs() {
        tracing::warn!(expires = %certificate.expires, "the certificate expires soon: renew it");
    }
}
