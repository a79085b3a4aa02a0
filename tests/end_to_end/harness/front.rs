//! A server before a relay that serves its page as it is, or as a newer build would: of another version, with another
//! text in one of its modules. So one binary plays an upgrade of the page. It passes everything else on.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::{PATIENCE, Relay};

/// Loaded when a person turns the lessons on.
const CHANGED: &str = "lessons/lesson-mode.js";
/// What the newer build of it does besides.
const CHANGE: &str = "\nglobalThis.lessonsOfNewerVersion = true;\n";
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// The relay's own page.
    Older,
    /// A newer one.
    Newer,
    /// A newer one, of which a file has not arrived yet: it is still the older one's.
    HalfNewer,
}

/// See the module. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    build: Arc<Mutex<Build>>,
    serving: JoinHandle<()>,
}

impl Front {
    /// Begins to serve this relay's page.
    pub(crate) async fn before(relay: &Relay) -> Result<Self> {
        let host = relay.page().strip_prefix("http://");
        let host = host.context("a page without TLS")?.trim_end_matches('/');
        let relay: SocketAddr = host.parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let build = Arc::new(Mutex::new(Build::Older));
        let current = Arc::clone(&build);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let build = *current.lock().unwrap_or_else(PoisonError::into_inner);
                // A request that fails is the browser's to tell.
                tokio::spawn(timeout(PATIENCE, answer(stream, relay, build)));
            }
        });
        Ok(Self {
            address,
            build,
            serving,
        })
    }

    /// The page's address.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves this build from now on.
    pub(crate) fn serve(&self, build: Build) {
        *self.build.lock().unwrap_or_else(PoisonError::into_inner) = build;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut stream: TcpStream, relay: SocketAddr, build: Build) -> Result<()> {
    let head = read_head(&mut stream).await?;
    let mut words = head.split_whitespace();
    let (method, path) = words.next().zip(words.next()).context("a request")?;
    let response = if build == Build::Older {
        ask(relay, method, path).await?
    } else {
        newer(relay, method, path, build).await?
    };
    stream.write_all(&response).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

/// The relay's whole response.
async fn ask(relay: SocketAddr, method: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(relay).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response)
}

/// The response of a newer build.
async fn newer(relay: SocketAddr, method: &str, path: &str, build: Build) -> Result<Vec<u8>> {
    let names = Names::read(relay).await?;
    let older = format!("/v/{}/", names.older);
    if path.starts_with(&older) {
        let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return Ok(gone.into());
    }
    let there = path.replace(&format!("/v/{}/", names.newer), &older);
    let response = ask(relay, method, &there).await?;
    let is_changed = path.ends_with(CHANGED) && build == Build::Newer;
    let is_page = ["/", "/index.html"].contains(&path);
    if method != "GET" || !(is_changed || is_page || path.starts_with("/service-worker.js")) {
        return Ok(response);
    }
    let (head, body) = split(&response)?;
    let body = if is_changed {
        changed(body)
    } else if is_page {
        names.renamed(body)
    } else {
        names.renamed_worker(relay, body).await?
    };
    let mut told: String = head
        .lines()
        .filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            !["content-length", "etag"].contains(&name.to_ascii_lowercase().as_str())
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    told.push_str(&format!("Content-Length: {}\r\n", body.len()));
    told.push_str(&format!("ETag: \"{}\"\r\n\r\n{body}", sha256(&body)));
    Ok(told.into_bytes())
}

/// What the two builds are called.
struct Names {
    older: String,
    newer: String,
}

impl Names {
    async fn read(relay: SocketAddr) -> Result<Self> {
        let worker = ask(relay, "GET", "/service-worker.js").await?;
        let (_, worker) = split(&worker)?;
        let (_, rest) = worker
            .split_once("\"version\":\"")
            .context("a worker with a version")?;
        let older = rest.split('"').next().context("a version")?.to_owned();
        let newer = older.chars().rev().collect();
        Ok(Self { older, newer })
    }

    fn renamed(&self, text: &str) -> String {
        text.replace(&self.older, &self.newer)
    }

    /// The worker, told of the files as they are now.
    async fn renamed_worker(&self, relay: SocketAddr, worker: &str) -> Result<String> {
        let page = ask(relay, "GET", "/").await?;
        let (_, page) = split(&page)?;
        let mut module = ask(relay, "GET", &format!("/v/{}/{CHANGED}", self.older)).await?;
        if !module.starts_with(b"HTTP/1.1 200") {
            module = ask(relay, "GET", &format!("/{CHANGED}")).await?;
        }
        let (_, module) = split(&module)?;
        Ok(self
            .renamed(worker)
            .replace(&sha256(page), &sha256(&self.renamed(page)))
            .replace(&sha256(module), &sha256(&changed(module))))
    }
}

fn changed(module: &str) -> String {
    format!("{module}{CHANGE}")
}

/// Head and body of a response that is text.
fn split(response: &[u8]) -> Result<(&str, &str)> {
    std::str::from_utf8(response)?
        .split_once("\r\n\r\n")
        .context("a head")
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}
