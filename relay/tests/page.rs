//! The HTTP server of a running relay, with requests like a browser's.
//!
//! The tests also pass for a relay that was built without the page, which serves a placeholder page.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use relay::{Config, Relay};
use support::{
    PATIENCE,
    http::{Response, socket_of},
    test_folder::TestFolder,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

async fn relay() -> Relay {
    let config = Config::for_tests(1);
    Relay::start(config).await.expect("free ports")
}

fn socket(relay: &Relay) -> SocketAddr {
    socket_of(&relay.page_url())
}

/// Sends a request and reads the whole response.
async fn request(relay: &Relay, request_line: &str, headers: &[(&str, &str)]) -> Response {
    support::http::request(socket(relay), request_line, headers).await
}

#[tokio::test]
async fn page_is_served_in_the_best_accepted_encoding() {
    let relay = relay().await;
    let plain = request(&relay, "GET /", &[]).await;
    assert_eq!(plain.status, 200);
    assert_eq!(
        plain.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.text().contains("<html"));

    let mut tags = vec![plain.header("etag").expect("a tag").to_owned()];
    for (accepted, coding) in [("gzip, deflate, br", "br"), ("gzip", "gzip")] {
        let response = request(&relay, "GET /index.html", &[("Accept-Encoding", accepted)]).await;
        assert_eq!(response.header("content-encoding"), Some(coding));
        assert_eq!(
            response.header("content-type"),
            plain.header("content-type")
        );
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        assert!(response.body.len() < plain.body.len());
        tags.push(response.header("etag").expect("a tag").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each encoding has its own entity tag");
    relay.shutdown().await;
}

#[tokio::test]
async fn cached_page_is_not_sent_again() {
    let relay = relay().await;
    let first = request(&relay, "GET /", &[]).await;
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let tag = first.header("etag").expect("a tag");
    for cached in [tag.to_owned(), format!("\"other\", W/{tag}")] {
        let again = request(&relay, "GET /", &[("If-None-Match", &cached)]).await;
        assert_eq!(again.status, 304, "{cached}");
        assert!(again.body.is_empty());
    }
    let other = request(&relay, "GET /", &[("If-None-Match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
    relay.shutdown().await;
}

/// The versioned path of a file, with the version that the page uses.
async fn versioned(relay: &Relay, file: &str) -> String {
    let page = request(relay, "GET /", &[]).await;
    let version = page.text().split_once("src=\"v/");
    let version = version.and_then(|(_, rest)| rest.split('/').next());
    format!("/v/{}/{file}", version.unwrap_or("none"))
}

#[tokio::test]
async fn code_is_served_at_immutable_versioned_urls() {
    let relay = relay().await;
    let page = request(&relay, "GET /", &[]).await;
    for file in [
        "index.js",
        "lessons/lesson-mode.js",
        "pkg/wasm_node_bg.wasm",
    ] {
        let unversioned = request(&relay, &format!("GET /{file}"), &[]).await;
        assert_eq!(unversioned.status, 404, "{file}");
        let other = request(&relay, &format!("GET /v/0123456789abcdef/{file}"), &[]).await;
        assert_eq!(other.status, 404, "{file} of another version");
        assert_eq!(other.header("cache-control"), Some("no-cache"));
        if !page.text().contains("index.js") {
            continue;
        }
        let response = request(
            &relay,
            &format!("GET {}", versioned(&relay, file).await),
            &[],
        )
        .await;
        assert_eq!(response.status, 200, "{file}");
        let lifetime = response.header("cache-control");
        assert_eq!(lifetime, Some("public, max-age=31536000, immutable"));
        assert!(response.header("etag").is_some(), "{file}");
    }
    // All files that the page links to are of its own version.
    for attribute in ["src=\"", "href=\""] {
        for url in page.text().split(attribute).skip(1) {
            assert!(url.starts_with("v/"), "{attribute}{url:.40}");
        }
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn documents_and_workers_have_a_strict_policy() {
    let relay = relay().await;
    for path in [
        "/",
        "/relay.json",
        "/icon.svg",
        "/nothing",
        "/nothing.js",
        "/miner.js",
        &versioned(&relay, "miner.js").await,
        "/verifier.js",
        "/service-worker.js",
    ] {
        let response = request(&relay, &format!("GET {path}"), &[]).await;
        let policy = response
            .header("content-security-policy")
            .expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"));
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
        assert!(response.header("permissions-policy").is_some(), "{path}");
        // Pages of other origins may read the document.
        if path != "/relay.json" {
            expect_no_leaks(&response);
        }
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn subresources_have_no_policy_of_their_own() {
    let relay = relay().await;
    let page = request(&relay, "GET /", &[]).await;
    for file in ["index.js", "index.css"] {
        // A relay that was built without the page does not have these files.
        if !page.text().contains("index.js") {
            continue;
        }
        let path = versioned(&relay, file).await;
        let response = request(&relay, &format!("GET {path}"), &[]).await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-security-policy"), None, "{path}");
        expect_no_leaks(&response);
    }
    relay.shutdown().await;
}

/// Other sites must not embed the response, learn about it from a referrer, or interpret it as another type.
fn expect_no_leaks(response: &Response) {
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    let site = response.header("cross-origin-resource-policy");
    assert_eq!(site, Some("same-origin"));
}

#[tokio::test]
async fn errors_have_a_text_that_does_not_echo_the_path() {
    let relay = relay().await;
    for path in [
        "/no-such-file",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/<script>alert(1)</script>",
        "//index.html",
    ] {
        let response = request(&relay, &format!("GET {path}"), &[]).await;
        // hyper itself rejects malformed paths.
        assert!([400, 404].contains(&response.status), "{path}");
        assert!(!response.text().contains("script"));
    }
    let missing = request(&relay, "GET /no-such-file", &[]).await;
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("The page is at /"));

    for path in ["/", "/relay.json"] {
        let response = request(&relay, &format!("POST {path}"), &[]).await;
        assert_eq!(response.status, 405);
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
        let head = request(&relay, &format!("HEAD {path}"), &[]).await;
        assert_eq!(head.status, 200);
        assert!(head.body.is_empty());
    }
    let icon = request(&relay, "GET /favicon.ico", &[]).await;
    assert!([200, 204].contains(&icon.status));
    relay.shutdown().await;
}

#[tokio::test]
async fn loopback_relay_document_follows_the_page() {
    let relay = relay().await;
    let addresses: Vec<String> = relay.addresses().iter().map(ToString::to_string).collect();
    let expected = serde_json::json!({
        "peerId": relay.peer_id().to_string(),
        "addresses": addresses,
        "stun": [],
        "full": false,
    });
    assert_eq!(addresses.len(), 2);
    let port = socket(&relay).port();
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        let response = request(&relay, "GET /relay.json", &[("Host", &host)]).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let document = response.json();
        assert_eq!(document, expected, "{host}");
    }
    // Only this computer can reach the relay, whatever port is forwarded to it.
    let forwarded = request(&relay, "GET /relay.json", &[("Host", "localhost:9000")]).await;
    let document = forwarded.json();
    let websocket = document["addresses"][0].as_str().expect("an address");
    assert!(
        websocket.starts_with("/ip4/127.0.0.1/tcp/9000/ws/"),
        "{websocket}"
    );
    assert_eq!(document["addresses"][1], expected["addresses"][1]);
    relay.shutdown().await;
}

#[tokio::test]
async fn open_relay_document_uses_the_requested_host() {
    let mut config = Config::for_tests(1);
    config.listen_ips = vec!["0.0.0.0".parse().expect("an address")];
    config.allowed_origins = vec!["http://lab.example".parse().expect("an origin")];
    let relay = Relay::start(config).await.expect("free ports");

    for (host, (websocket, webrtc, stun)) in [
        (
            "192.0.2.7:81",
            (
                "/ip4/192.0.2.7/tcp/81/ws/",
                "/ip4/192.0.2.7/udp/",
                "stun:192.0.2.7:",
            ),
        ),
        (
            "Lab.example",
            (
                "/dns/lab.example/tcp/80/ws/",
                "/ip4/127.0.0.1/udp/",
                "stun:lab.example:",
            ),
        ),
        (
            "localhost:8080",
            (
                "/ip4/127.0.0.1/tcp/8080/ws/",
                "/ip4/127.0.0.1/udp/",
                "stun:127.0.0.1:",
            ),
        ),
    ] {
        let response = request(&relay, "GET /relay.json", &[("Host", host)]).await;
        let document = response.json();
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
    let response = request(&relay, "GET /", &[("X-Long", &long)]).await;
    assert_eq!(response.status, 431);

    let mut slow = TcpStream::connect(socket(&relay))
        .await
        .expect("it listens");
    slow.write_all(b"GET / HT").await.expect("it reads");
    let start = Instant::now();
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest))
        .await
        .expect("the relay hangs up")
        .expect("a clean close");
    assert!(start.elapsed() >= Duration::from_millis(250));
    relay.shutdown().await;
}

#[tokio::test]
async fn connection_over_the_limit_ends_the_oldest() {
    let mut config = Config::for_tests(1);
    config.limits.http_connections = 1;
    let relay = Relay::start(config).await.expect("free ports");

    let mut idle = TcpStream::connect(socket(&relay))
        .await
        .expect("it listens");
    let response = request(&relay, "GET /relay.json", &[]).await;
    assert_eq!(response.status, 200);
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, idle.read_to_end(&mut rest)).await;
    end.expect("the relay hangs up").expect("a clean close");
    relay.shutdown().await;
}

#[tokio::test]
async fn service_worker_lists_every_file_and_its_hash() {
    let relay = relay().await;
    let worker = request(&relay, "GET /service-worker.js", &[]).await;
    if worker.status == 404 {
        let page = request(&relay, "GET /", &[]).await;
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
    let precache = first
        .strip_prefix("const PRECACHE = ")
        .expect("the list of files");
    let precache: serde_json::Value = serde_json::from_str(precache).expect("JSON");
    let version = precache["version"].as_str().expect("a version");
    let index = versioned(&relay, "index.js").await;
    assert_eq!(
        index,
        format!("/v/{version}/index.js"),
        "the version of the page"
    );
    let files = precache["files"].as_object().expect("files");
    for needed in [
        "index.html",
        "index.js",
        "miner.js",
        "verifier.js",
        "pkg/wasm_node.js",
        "pkg/wasm_node_bg.wasm",
    ] {
        assert!(files.contains_key(needed), "{needed} is cached");
    }
    for never in ["relay.json", "service-worker.js"] {
        assert!(!files.contains_key(never), "{never} is not cached");
    }
    for (path, hash) in files {
        let address = match path.as_str() {
            "index.html" => "/".to_owned(),
            path => format!("/v/{version}/{path}"),
        };
        let served = request(&relay, &format!("HEAD {address}"), &[]).await;
        assert_eq!(served.status, 200, "{path}");
        let hash = hash.as_str().expect("a hash");
        let tag = served.header("etag").expect("a tag");
        assert!(tag.starts_with(&format!("\"{hash}")), "{path}: {tag}");
    }
}

#[tokio::test]
async fn page_on_disk_is_read_again_at_every_request() {
    let folder = TestFolder::new();
    folder.file("secret.js", "secret");
    folder.file("www/service-worker.js", "cache()");
    folder.file("www/index.html", "<script src=\"v/dev/index.js\"></script>");
    let mut config = Config::for_tests(1);
    config.page = Some(folder.path().join("www"));
    let relay = Relay::start(config).await.expect("free ports");

    for content in ["let a = 1;", "let a = 2;"] {
        folder.file("www/index.js", content);
        let script = request(&relay, "GET /v/dev/index.js", &[]).await;
        assert_eq!((script.status, script.text()), (200, content));
        assert_eq!(script.header("cache-control"), Some("no-store"));
        let kind = script.header("content-type");
        assert_eq!(kind, Some("text/javascript; charset=utf-8"));
    }
    let page = request(&relay, "GET /", &[]).await;
    assert!(page.text().contains("v/dev/index.js"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")));

    // A worker that an earlier build registered is replaced by one that leaves.
    let worker = request(&relay, "GET /service-worker.js", &[]).await;
    assert!(worker.text().contains("unregister()"), "{}", worker.text());

    for path in [
        "/../secret.js",
        "/v/dev/../../secret.js",
        "/v/dev/..%2fsecret.js",
        "/v/dev/%2e%2e/secret.js",
        "/v/dev//secret.js",
        "/v/dev/none.js",
    ] {
        let response = request(&relay, &format!("GET {path}"), &[]).await;
        assert!([400, 404].contains(&response.status), "{path}");
        assert!(!response.text().contains("secret"), "{path}");
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn missing_page_folder_is_an_error() {
    let mut config = Config::for_tests(1);
    config.page = Some("/no/such/folder".into());
    let error = Relay::start(config).await.expect_err("there is no page");
    assert!(error.to_string().contains("--page"), "{error}");
}
