//! Asks a running relay whether it works, for `--check-health`. Containers and supervisors need no other program then.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use url::Url;

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of the response that are read: its first line.
const STATUS_LINE: usize = 12;

/// Why a relay does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// The URL is not one of a relay.
    #[error("--check-health {0:?}: it is no URL such as http://127.0.0.1:8080/healthz")]
    BadUrl(String),
    /// There is no relay at the URL.
    #[error("no relay answers at {url}: {reason}")]
    NoAnswer {
        /// The URL that was asked.
        url: String,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The relay does not work.
    #[error("the relay at {url} does not work: it answers {status:?}")]
    Broken {
        /// The URL that was asked.
        url: String,
        /// The begin of its response.
        status: String,
    },
}

/// Asks the relay at `url`, which must begin with http: a relay with TLS answers this by plain http, too.
///
/// # Errors
///
/// If the relay does not answer, or answers that it does not work.
pub fn check_health(url: &str) -> Result<(), HealthError> {
    let bad = || HealthError::BadUrl(url.to_owned());
    let parsed = Url::parse(url).map_err(|_| bad())?;
    let port = parsed.port_or_known_default().ok_or_else(bad)?;
    let host = parsed.host_str().filter(|_| parsed.scheme() == "http");
    let host = host.ok_or_else(bad)?;
    let status = ask(host, port, parsed.path()).map_err(|reason| HealthError::NoAnswer {
        url: url.to_owned(),
        reason,
    })?;
    if status == "HTTP/1.1 200" {
        return Ok(());
    }
    Err(HealthError::Broken {
        url: url.to_owned(),
        status,
    })
}

fn ask(host: &str, port: u16, path: &str) -> io::Result<String> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (name, port).to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        )?;
        let mut status = [0; STATUS_LINE];
        stream.read_exact(&mut status)?;
        return Ok(String::from_utf8_lossy(&status).into_owned());
    }
    Err(last)
}
