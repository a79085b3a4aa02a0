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
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Files that were read, and what they looked like before.
#[derive(Debug)]
pub(crate) struct ReadFiles {
    files: Arc<Files>,
    seen: [Stamp; 2],
}

/// What shows that a file has changed: its time of modification and its length.
type Stamp = Option<(SystemTime, u64)>;

impl Files {
    fn load(&self) -> Result<Certificate, CertificateError> {
        Certificate::read(&self.certificate, &self.key)
    }

    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

impl ReadFiles {
    /// Reads a certificate and its key.
    pub(crate) fn read(
        certificate: PathBuf,
        key: PathBuf,
    ) -> Result<(Self, Certificate), CertificateError> {
        let files = Arc::new(Files { certificate, key });
        // Before the files are read, so that a change in the meantime is noticed later.
        let seen = files.stamps();
        let certificate = files.load()?;
        Ok((Self { files, seen }, certificate))
    }
}

/// Replaces `current` whenever the files change. Never returns.
pub(crate) async fn keep_current(read: ReadFiles, current: Arc<CurrentCertificate>) {
    let ReadFiles { files, mut seen } = read;
    let mut hangup = Hangup::listen();
    let mut check = interval(CHECK_INTERVAL);
    let mut warning = interval(Duration::from_secs(DAY));
    loop {
        let is_forced = tokio::select! {
            () = hangup.recv() => true,
            _ = check.tick() => false,
            _ = warning.tick() => {
                warn_if_it_expires_soon(&current.get());
                continue;
            }
        };
        let now = stamps(&files).await;
        if now == seen && !is_forced {
            continue;
        }
        seen = now;
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::test_folder::TestFolder;

    fn write(folder: &TestFolder, name: &str) -> [PathBuf; 2] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signs");
        [
            folder.file("cert.pem", certificate.pem()),
            folder.file("key.pem", key.serialize_pem()),
        ]
    }

    #[tokio::test]
    async fn change_right_after_the_start_is_noticed() {
        let folder = TestFolder::new();
        let [certificate, key] = write(&folder, "a.example");
        let (read, first) = ReadFiles::read(certificate, key).expect("a certificate");
        let current = Arc::new(CurrentCertificate::new(first));
        write(&folder, "longer.example");
        let keeping = tokio::spawn(keep_current(read, Arc::clone(&current)));
        let noticed = timeout(Duration::from_secs(30), async {
            while *current.get().names != ["longer.example"] {
                sleep(Duration::from_millis(20)).await;
            }
        });
        noticed.await.expect("the new certificate is used");
        keeping.abort();
    }
}
