//! Requests like a browser's or a proxy's, byte by byte.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Timeout of every step of a test; generous, for busy machines.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A response, whose head is text.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// The socket of a page's URL.
pub(crate) fn socket_of(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL");
    let (host, _) = rest.split_once('/').expect("a path");
    host.parse().expect("a socket address")
}

/// The text of a request. Without a `Host` header it names `host`.
pub(crate) fn request_text(request_line: &str, host: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{request_line} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text += &format!("Host: {host}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

/// The headers of a WebSocket's handshake.
pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Sends a GET request by plain http and reads the whole response.
pub(crate) async fn get(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    request(to, &format!("GET {path}"), headers).await
}

/// Sends a request by plain http and reads the whole response.
pub(crate) async fn request(
    to: SocketAddr,
    request_line: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    let headers = [&[("Connection", "close")], headers].concat();
    let text = request_text(request_line, &to.to_string(), &headers);
    exchange(&mut stream, text.as_bytes()).await
}

/// Sends the handshake of a WebSocket. Returns the head of the response and the open connection.
pub(crate) async fn upgrade(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> (Response, TcpStream) {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    let headers = [&UPGRADE, headers].concat();
    let text = request_text(&format!("GET {path}"), &to.to_string(), &headers);
    stream.write_all(text.as_bytes()).await.expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("in time");
        head.push(byte.expect("a response"));
    }
    (parse(&head), stream)
}

/// Sends bytes and reads until the other side closes the connection.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sent: &[u8],
) -> Response {
    stream.write_all(sent).await.expect("it reads");
    let mut response = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut response))
        .await
        .expect("in time")
        .expect("a response");
    parse(&response)
}

fn parse(response: &[u8]) -> Response {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let (head, body) = response.split_at(end);
    let head = String::from_utf8(head.to_vec()).expect("text");
    let status = head.split(' ').nth(1);
    Response {
        status: status.and_then(|text| text.parse().ok()).expect("a status"),
        head,
        body: body.iter().skip(4).copied().collect(),
    }
}
