//! The HTTP side of a running relay, asked as a browser asks. Holds for a relay that was built without its
//! page, too: that one serves a page that says so.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use relay::{Config, Relay};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

async fn relay() -> Relay {
    let config = Config::for_tests(1);
    Relay::start(config).await.expect("free ports")
}

fn socket(relay: &Relay) -> SocketAddr {
    let url = relay.page_url();
    let address = url
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix('/'));
    let address = address.expect("a page address");
    address.parse().expect("a socket address")
}

/// Sends one request and reads all that comes back.
async fn ask(relay: &Relay, request_line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{request_line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {}\r\n", socket(relay));
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";

    let mut stream = TcpStream::connect(socket(relay)).await.expect("it listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8(head.to_vec()).expect("text");
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        head,
        body: body.iter().skip(4).copied().collect(),
    }
}

#[tokio::test]
async fn page_is_served_in_the_best_accepted_form() {
    let relay = relay().await;
    let plain = ask(&relay, "GET /", &[]).await;
    assert_eq!(plain.status, 200);
    assert_eq!(
        plain.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.text().contains("<html"));

    let mut tags = vec![plain.header("etag").expect("a tag").to_owned()];
    for (accepted, coding) in [("gzip, deflate, br", "br"), ("gzip", "gzip")] {
        let answer = ask(&relay, "GET /index.html", &[("Accept-Encoding", accepted)]).await;
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("content-type"), plain.header("content-type"));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert!(answer.body.len() < plain.body.len());
        tags.push(answer.header("etag").expect("a tag").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has a tag of its own");
    relay.shutdown().await;
}

#[tokio::test]
async fn known_page_is_not_sent_again() {
    let relay = relay().await;
    let first = ask(&relay, "GET /", &[]).await;
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let tag = first.header("etag").expect("a tag");
    for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
        let again = ask(&relay, "GET /", &[("If-None-Match", &known)]).await;
        assert_eq!(again.status, 304, "{known}");
        assert!(again.body.is_empty());
    }
    let other = ask(&relay, "GET /", &[("If-None-Match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
    relay.shutdown().await;
}

/// The address of a file of the version that the page names.
async fn versioned(relay: &Relay, file: &str) -> String {
    let page = ask(relay, "GET /", &[]).await;
    let version = page.text().split_once("src=\"v/");
    let version = version.and_then(|(_, rest)| rest.split('/').next());
    format!("/v/{}/{file}", version.unwrap_or("none"))
}

#[tokio::test]
async fn code_is_served_at_its_version_for_good() {
    let relay = relay().await;
    let page = ask(&relay, "GET /", &[]).await;
    for file in [
        "index.js",
        "lessons/lesson-mode.js",
        "pkg/wasm_node_bg.wasm",
    ] {
        let unversioned = ask(&relay, &format!("GET /{file}"), &[]).await;
        assert_eq!(unversioned.status, 404, "{file}");
        let other = ask(&relay, &format!("GET /v/0123456789abcdef/{file}"), &[]).await;
        assert_eq!(other.status, 404, "{file} of another version");
        assert_eq!(other.header("cache-control"), Some("no-cache"));
        if !page.text().contains("index.js") {
            continue;
        }
        let answer = ask(
            &relay,
            &format!("GET {}", versioned(&relay, file).await),
            &[],
        )
        .await;
        assert_eq!(answer.status, 200, "{file}");
        let lifetime = answer.header("cache-control");
        assert_eq!(lifetime, Some("public, max-age=31536000, immutable"));
        assert!(answer.header("etag").is_some(), "{file}");
    }
    // Whatever a page names, it names of its own version.
    for attribute in ["src=\"", "href=\""] {
        for named in page.text().split(attribute).skip(1) {
            assert!(named.starts_with("v/"), "{attribute}{named:.40}");
        }
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn every_document_and_worker_is_strict() {
    let relay = relay().await;
    for path in [
        "/",
        "/relay.json",
        "/icon.svg",
        "/nothing",
        "/nothing.js",
        "/miner.js",
        &versioned(&relay, "miner.js").await,
        "/service-worker.js",
    ] {
        let answer = ask(&relay, &format!("GET {path}"), &[]).await;
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"));
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
        assert!(answer.header("permissions-policy").is_some(), "{path}");
        expect_no_leaks(&answer);
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn parts_of_the_page_leave_its_policy_to_the_page() {
    let relay = relay().await;
    let page = ask(&relay, "GET /", &[]).await;
    for file in ["index.js", "index.css"] {
        // A relay that was built without its page has none.
        if !page.text().contains("index.js") {
            continue;
        }
        let path = versioned(&relay, file).await;
        let answer = ask(&relay, &format!("GET {path}"), &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-security-policy"), None, "{path}");
        expect_no_leaks(&answer);
    }
    relay.shutdown().await;
}

/// Nobody else may use it, or hear that it was asked for, or take it for something else.
fn expect_no_leaks(answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let site = answer.header("cross-origin-resource-policy");
    assert_eq!(site, Some("same-origin"));
}

#[tokio::test]
async fn what_is_not_there_is_told_in_words_and_not_repeated() {
    let relay = relay().await;
    for path in [
        "/no-such-file",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/<script>alert(1)</script>",
        "//index.html",
    ] {
        let answer = ask(&relay, &format!("GET {path}"), &[]).await;
        // What is no path at all, hyper refuses by itself.
        assert!([400, 404].contains(&answer.status), "{path}");
        assert!(!answer.text().contains("script"));
    }
    let missing = ask(&relay, "GET /no-such-file", &[]).await;
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("The page is at /"));

    for path in ["/", "/relay.json"] {
        let answer = ask(&relay, &format!("POST {path}"), &[]).await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        let head = ask(&relay, &format!("HEAD {path}"), &[]).await;
        assert_eq!(head.status, 200);
        assert!(head.body.is_empty());
    }
    let icon = ask(&relay, "GET /favicon.ico", &[]).await;
    assert!([200, 204].contains(&icon.status));
    relay.shutdown().await;
}

#[tokio::test]
async fn relay_document_names_the_relay_whatever_host_is_claimed() {
    let relay = relay().await;
    let addresses: Vec<String> = relay.addresses().iter().map(ToString::to_string).collect();
    let expected = serde_json::json!({
        "peerId": relay.peer_id().to_string(),
        "addresses": addresses,
        "stun": [],
    });
    assert_eq!(addresses.len(), 2);
    for host in [
        "localhost:1",
        "127.0.0.1",
        "evil.example",
        "10.0.0.1:80",
        "\"},{<script>",
        "",
    ] {
        let answer = ask(&relay, "GET /relay.json", &[("Host", host)]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let document: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(document, expected, "{host}");
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn open_relay_gives_a_phone_the_host_that_it_asked_for() {
    let mut config = Config::for_tests(1);
    config.listen_ip = "0.0.0.0".parse().expect("an address");
    let relay = Relay::start(config).await.expect("free ports");

    let here = (
        "/ip4/127.0.0.1/tcp/",
        "/ip4/127.0.0.1/udp/",
        "stun:127.0.0.1:",
    );
    for (host, (websocket, webrtc, stun)) in [
        (
            "192.0.2.7:80",
            (
                "/ip4/192.0.2.7/tcp/",
                "/ip4/192.0.2.7/udp/",
                "stun:192.0.2.7:",
            ),
        ),
        (
            "Lab.example",
            (
                "/dns4/lab.example/tcp/",
                "/ip4/127.0.0.1/udp/",
                "stun:lab.example:",
            ),
        ),
        ("localhost", here),
        ("0.0.0.0", here),
        ("a b", here),
    ] {
        let answer = ask(&relay, "GET /relay.json", &[("Host", host)]).await;
        let document: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        for (found, expected) in [
            (&document["addresses"][0], websocket),
            (&document["addresses"][1], webrtc),
            (&document["stun"][0], stun),
        ] {
            let found = found.as_str().expect("an address");
            assert!(found.starts_with(expected), "{host}: {found}");
        }
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn endless_request_heads_are_cut_off() {
    let mut config = Config::for_tests(1);
    config.limits.http_header_timeout = Duration::from_millis(300);
    let relay = Relay::start(config).await.expect("free ports");

    let long = "a".repeat(64 * 1024);
    let answer = ask(&relay, "GET /", &[("X-Long", &long)]).await;
    assert_eq!(answer.status, 431);

    let mut slow = TcpStream::connect(socket(&relay))
        .await
        .expect("it listens");
    slow.write_all(b"GET / HT").await.expect("it reads");
    let start = Instant::now();
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest))
        .await
        .expect("the relay hangs up")
        .expect("in order");
    assert!(start.elapsed() >= Duration::from_millis(250));
    relay.shutdown().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_slot() {
    let mut config = Config::for_tests(1);
    config.limits.http_connections = 1;
    config.limits.http_header_timeout = Duration::from_millis(500);
    let relay = Relay::start(config).await.expect("free ports");

    let idle = TcpStream::connect(socket(&relay))
        .await
        .expect("it listens");
    let start = Instant::now();
    let answer = ask(&relay, "GET /relay.json", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(400));
    drop(idle);
    relay.shutdown().await;
}

#[tokio::test]
async fn the_service_worker_is_told_of_every_file_as_it_is_served() {
    let relay = relay().await;
    let worker = ask(&relay, "GET /service-worker.js", &[]).await;
    if worker.status == 404 {
        let page = ask(&relay, "GET /", &[]).await;
        assert!(
            !page.text().contains("index.js"),
            "a relay with a page has a worker"
        );
        return;
    }
    assert_eq!(
        worker.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let (first, _) = worker.text().split_once(";\n").expect("a first line");
    let told = first
        .strip_prefix("const PRECACHE = ")
        .expect("what to keep");
    let told: serde_json::Value = serde_json::from_str(told).expect("JSON");
    let version = told["version"].as_str().expect("a version");
    let index = versioned(&relay, "index.js").await;
    assert_eq!(index, format!("/v/{version}/index.js"), "the page's own");
    let files = told["files"].as_object().expect("files");
    for needed in [
        "index.html",
        "index.js",
        "miner.js",
        "pkg/wasm_node.js",
        "pkg/wasm_node_bg.wasm",
    ] {
        assert!(files.contains_key(needed), "{needed} is kept");
    }
    for never in ["relay.json", "service-worker.js"] {
        assert!(!files.contains_key(never), "{never} is not kept");
    }
    for (path, hash) in files {
        let address = match path.as_str() {
            "index.html" => "/".to_owned(),
            path => format!("/v/{version}/{path}"),
        };
        let served = ask(&relay, &format!("HEAD {address}"), &[]).await;
        assert_eq!(served.status, 200, "{path}");
        let hash = hash.as_str().expect("a hash");
        let tag = served.header("etag").expect("a tag");
        assert!(tag.starts_with(&format!("\"{hash}")), "{path}: {tag}");
    }
}
