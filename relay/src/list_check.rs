//! Compares the lists of the relays of one deployment, and warns where they differ: tabs of one room must choose among the
//! same relays. Nothing else depends on it.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, to_bytes};
use futures::future::join_all;
use hyper::{
    Request, Response, StatusCode, body::Incoming, client::conn::http1::handshake, header::HOST,
};
use hyper_util::rt::TokioIo;
use libp2p::PeerId;
use rustls::{ClientConfig, pki_types::ServerName};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{announce::PageUrl, authority::Host, deployment::Deployment, tls::web_client};

/// Time before the first comparison: relays are often started together.
const FIRST: Duration = Duration::from_secs(5);
/// Time between two comparisons.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long a relay may take to answer: as long as a tab waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a document that are read: as many as a tab reads.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// What the comparison with another relay found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    Same,
    /// URLs that only one of the two lists has.
    Differs {
        missing: Vec<String>,
        extra: Vec<String>,
    },
    /// The URL leads to this relay.
    Itself,
    /// There was no relay document, for this reason.
    NoDocument(String),
}

/// The part of a relay document that counts here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OtherDocument {
    peer_id: String,
    #[serde(default)]
    relays: Vec<String>,
}

/// Compares the lists again and again. Each finding is logged once. Never returns.
pub(crate) async fn compare_lists(deployment: Arc<Deployment>, own: PeerId) {
    let client = match web_client() {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(%error, "cannot compare the lists of relays");
            return std::future::pending().await;
        }
    };
    let (list, own) = (deployment.relays(), own.to_string());
    let mut known = vec![Finding::Same; deployment.others().len()];
    sleep(FIRST).await;
    loop {
        let found = deployment.others().iter().map(async |url| {
            match timeout(TIMEOUT, read_document(url, &client)).await {
                Ok(Ok(document)) => compare(&list, &own, &document),
                Ok(Err(reason)) => Finding::NoDocument(reason),
                Err(_) => Finding::NoDocument(format!("no answer within {} s", TIMEOUT.as_secs())),
            }
        });
        let found = join_all(found).await;
        for ((url, before), now) in deployment.others().iter().zip(&known).zip(&found) {
            if before != now {
                report(url, now);
            }
        }
        known = found;
        sleep(INTERVAL).await;
    }
}

fn compare(list: &[String], own: &str, other: &OtherDocument) -> Finding {
    if other.peer_id == own {
        return Finding::Itself;
    }
    let without = |all: &[String], some: &[String]| -> Vec<String> {
        let rest = all.iter().filter(|url| !some.contains(url));
        rest.cloned().collect()
    };
    let missing = without(list, &other.relays);
    let extra = without(&other.relays, list);
    if missing.is_empty() && extra.is_empty() {
        Finding::Same
    } else {
        Finding::Differs { missing, extra }
    }
}

fn report(url: &PageUrl, finding: &Finding) {
    match finding {
        Finding::Same => tracing::info!("the relay {url} lists the same relays"),
        Finding::Differs { missing, extra } => tracing::warn!(
            "the relay {url} lists other relays (missing: {missing:?}, in addition: {extra:?}); give all relays of a \
             deployment the same --with, or tabs of one room may not meet"
        ),
        Finding::Itself => tracing::warn!(
            "--with {url} leads to this relay itself; name this relay with --announce {url}, or remove it from --with"
        ),
        Finding::NoDocument(reason) => tracing::warn!(
            "cannot compare the list of relays with {url}: {reason}; tabs that cannot reach it use the others"
        ),
    }
}

/// Reads the document of another relay.
async fn read_document(url: &PageUrl, client: &Arc<ClientConfig>) -> Result<OtherDocument, String> {
    let default = if url.secure { 443 } else { 80 };
    let port = url.authority.port.unwrap_or(default);
    let connected = match &url.authority.host {
        Host::Ip(ip) => TcpStream::connect((*ip, port)).await,
        Host::Name(name) => TcpStream::connect((name.as_str(), port)).await,
    };
    let stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
    let response = if url.secure {
        let host = match &url.authority.host {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|error| error.to_string())?
            }
        };
        let connector = TlsConnector::from(Arc::clone(client));
        let stream = connector.connect(host, stream).await;
        request(url, stream.map_err(|error| format!("no TLS: {error}"))?).await
    } else {
        request(url, stream).await
    };
    let response = response.map_err(|error| error.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!(
            "it answered with status {}",
            response.status().as_u16()
        ));
    }
    let body = to_bytes(Body::new(response.into_body()), MAX_DOCUMENT_BYTES);
    let too_long =
        |_| format!("its answer ends early, or has more than {MAX_DOCUMENT_BYTES} bytes");
    let body = body.await.map_err(too_long)?;
    serde_json::from_slice(&body).map_err(|_| "its answer is no relay document".to_owned())
}

async fn request<S>(url: &PageUrl, stream: S) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with the response, or with the time limit, which drops the sender.
    tokio::spawn(connection);
    let mut request = Request::new(String::new());
    let path = format!("{}relay.json", url.path);
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    if let Ok(host) = url.authority.to_string().parse() {
        request.headers_mut().insert(HOST, host);
    }
    sender.send_request(request).await
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn other(peer_id: &str, relays: &[&str]) -> OtherDocument {
        OtherDocument {
            peer_id: peer_id.to_owned(),
            relays: texts(relays),
        }
    }

    #[test]
    fn lists_are_compared_as_sets() {
        let list = texts(&["a", "b"]);
        let found = |relays: &[&str]| compare(&list, "own", &other("other", relays));
        let differs = |missing: &[&str], extra: &[&str]| Finding::Differs {
            missing: texts(missing),
            extra: texts(extra),
        };
        assert_eq!(found(&["b", "a"]), Finding::Same);
        assert_eq!(found(&[]), differs(&["a", "b"], &[]));
        assert_eq!(found(&["a", "c"]), differs(&["b"], &["c"]));
        assert_eq!(
            compare(&list, "own", &other("own", &["a"])),
            Finding::Itself
        );
    }

    /// What is read from a server that answers each request with `answer`, and then with `more` without an end.
    async fn read(answer: &str, more: &[u8]) -> Result<OtherDocument, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answer, more) = (answer.to_owned(), more.to_owned());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            while !more.is_empty() && stream.write_all(&more).await.is_ok() {}
        });
        let url = PageUrl::parse_local(&format!("http://{address}")).expect("a URL");
        read_document(&url, &web_client().expect("roots")).await
    }

    #[tokio::test]
    async fn only_relay_documents_are_read() {
        let ok = "HTTP/1.1 200 OK\r\n\r\n";
        let document = read(&format!("{ok}{{\"peerId\":\"a\",\"addresses\":[]}}"), b"").await;
        let document = document.expect("a document");
        assert_eq!((document.peer_id.as_str(), document.relays.len()), ("a", 0));
        for (answer, more, expected) in [
            (
                format!("{ok}<html>"),
                &b""[..],
                "its answer is no relay document",
            ),
            (
                ok.to_owned(),
                b"x".repeat(1000).as_slice(),
                "its answer ends early, or has more than 65536 bytes",
            ),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(),
                b"",
                "it answered with status 404",
            ),
        ] {
            assert_eq!(read(&answer, more).await.err().as_deref(), Some(expected));
        }
        assert!(read("nonsense", b"").await.is_err());
    }

    #[tokio::test]
    async fn document_may_have_the_maximum_length() {
        let document = |length: usize| {
            let filler = length - r#"{"peerId":""}"#.len();
            let body = format!(r#"{{"peerId":"{}"}}"#, "x".repeat(filler));
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        assert!(read(&document(MAX_DOCUMENT_BYTES), b"").await.is_ok());
        assert!(read(&document(MAX_DOCUMENT_BYTES + 1), b"").await.is_err());
    }
}
