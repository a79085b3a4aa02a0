//! The page, `/relay.json`, `/healthz` and WebSockets on one port; which clients may connect, and which proxies it trusts.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libp2p::Multiaddr;
use relay::{Config, Relay};
use support::{
    Client,
    http::{exchange, get, request_text, socket_of, upgrade},
    reserved_clients, websocket_of,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// What a PROXY header of version 2 begins with.
const PROXY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::for_tests(1);
    change(&mut config);
    config
}

async fn start(change: impl FnOnce(&mut Config)) -> (Relay, SocketAddr) {
    let relay = Relay::start(config(change)).await.expect("free ports");
    let urls = relay.page_urls();
    let local = urls.iter().find(|url| url.contains("://127.0.0.1:"));
    let url = local.or(urls.last()).expect("a page");
    (relay, socket_of(url))
}

fn on(ip: &str) -> impl FnOnce(&mut Config) {
    let ip: IpAddr = ip.parse().expect("an address");
    move |config| config.listen_ips = vec![ip]
}

/// The addresses in a relay document, without the relay's identity.
fn addresses(document: &serde_json::Value) -> Vec<String> {
    let addresses = document["addresses"].as_array().expect("addresses");
    let texts = addresses
        .iter()
        .map(|address| address.as_str().expect("text"));
    texts
        .map(|text| {
            let end = text.find("/certhash/").or(text.find("/p2p/"));
            text.get(..end.unwrap_or_default())
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn page_health_and_websocket_share_a_port() {
    let (relay, port) = start(|_| {}).await;
    let page = get(port, "/", &[]).await;
    assert_eq!(page.status, 200);
    let health = get(port, "/healthz", &[("Host", "any.example")]).await;
    assert_eq!((health.status, health.text()), (200, "The relay works.\n"));
    let document = get(port, "/relay.json", &[]).await;
    assert_eq!(document.header("access-control-allow-origin"), Some("*"));
    let policy = document.header("cross-origin-resource-policy");
    assert_eq!(policy, Some("cross-origin"));
    let found: Multiaddr = document.json()["addresses"][0]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("an address");
    assert_eq!(found, websocket_of(&relay));
    let expected = format!("/ip4/127.0.0.1/tcp/{}/ws", port.port());
    assert_eq!(addresses(&document.json())[0], expected);
    let mut clients = reserved_clients(2, &found).await;
    let callee = clients[0].peer_id();
    let [answering, calling] = &mut clients[..] else {
        panic!("two clients");
    };
    let call = async {
        calling.dial(&found, callee).await.expect("a circuit");
        // More than one message, and more than one read of the socket.
        let data = vec![7; 300_000];
        calling.request_echo(callee, data.clone()).await == Ok(data)
    };
    tokio::select! {
        same = call => assert!(same),
        () = answering.serve() => {}
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ip_versions_reach_all_protocols() {
    let (relay, port) = start(on("::")).await;
    let has_ipv6 = TcpStream::connect(("::1", port.port())).await.is_ok();
    if !has_ipv6 {
        println!("skipped: this computer has no IPv6");
        return;
    }
    let urls = relay.page_urls();
    for host in ["127.0.0.1", "[::1]"] {
        let url = format!("http://{host}:{}/", port.port());
        assert!(urls.contains(&url), "{url} in {urls:?}");
        let document = get(socket_of(&url), "/relay.json", &[]).await;
        for address in document.json()["addresses"].as_array().expect("addresses") {
            let address: Multiaddr = address
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("an address");
            let mut client = Client::connected_to(&address).await;
            client.reserve(&address).await.expect("a reservation");
        }
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_addresses_have_one_port() {
    let second = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux has more than one loopback address");
        return;
    }
    let (relay, port) = start(|config| config.listen_ips.push(second)).await;
    for ip in [Ipv4Addr::LOCALHOST.into(), second] {
        let socket = SocketAddr::new(ip, port.port());
        let document = get(socket, "/relay.json", &[]).await;
        let expected = format!("/ip4/{ip}/tcp/{}/ws", port.port());
        assert_eq!(addresses(&document.json())[0], expected);
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn rebound_names_get_no_page() {
    let (relay, port) = start(on("0.0.0.0")).await;
    for path in ["/", "/relay.json"] {
        for host in [
            "evil.example",
            "evil.example:80",
            "a b",
            "localhost.evil.example",
        ] {
            let refused = get(port, path, &[("Host", host)]).await;
            assert_eq!(refused.status, 421, "{host}");
            assert!(refused.text().contains("--announce"), "{}", refused.text());
        }
        for host in ["localhost:1", "192.0.2.7", "[2001:db8::1]:80"] {
            assert_eq!(
                get(port, path, &[("Host", host)]).await.status,
                200,
                "{host}"
            );
        }
    }
    let (refused, _) = upgrade(port, "/", &[("Host", "evil.example")]).await;
    assert_eq!(refused.status, 421);
    relay.shutdown().await;

    let allowed = |config: &mut Config| {
        config.announce = vec!["https://hearts.example/".parse().expect("a URL")];
        let origin = "http://lab.example:8080".parse().expect("an origin");
        config.allowed_origins = vec![origin];
    };
    let (relay, _) = start(allowed).await;
    let port = socket_of(&relay.page_urls().pop().expect("a page"));
    for host in ["hearts.example", "lab.example:8080"] {
        assert_eq!(
            get(port, "/", &[("Host", host)]).await.status,
            200,
            "{host}"
        );
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn other_pages_cannot_open_websockets() {
    let (relay, port) = start(on("0.0.0.0")).await;
    let own = format!("http://{port}");
    for (origin, status) in [
        (None, 101),
        (Some(own.as_str()), 101),
        (Some("http://localhost:4000"), 101),
        (Some("https://evil.example"), 403),
        (Some("null"), 403),
    ] {
        let origin: Vec<_> = origin.iter().map(|origin| ("Origin", *origin)).collect();
        let (response, _) = upgrade(port, "/", &origin).await;
        assert_eq!(response.status, status, "{origin:?}");
    }
    // A page of another computer, which is not this relay's.
    let host = ("Host", "192.0.2.7:8080");
    let (refused, _) = upgrade(port, "/", &[host, ("Origin", "http://192.0.2.8:8080")]).await;
    assert_eq!(refused.status, 403);
    relay.shutdown().await;

    let all = |config: &mut Config| config.allowed_origins = vec!["*".parse().expect("all")];
    let (relay, port) = start(all).await;
    let (response, _) = upgrade(port, "/", &[("Origin", "https://evil.example")]).await;
    assert_eq!(response.status, 101);
    relay.shutdown().await;
}

#[tokio::test]
async fn malformed_upgrades_are_refused() {
    let (relay, port) = start(|_| {}).await;
    for (name, value) in [
        ("Sec-WebSocket-Version", "12"),
        ("Sec-WebSocket-Key", "short"),
        ("Upgrade", "h2c"),
        ("Connection", "keep-alive"),
    ] {
        let mut stream = TcpStream::connect(port).await.expect("it listens");
        let headers = support::http::UPGRADE
            .map(|(found, given)| (found, if found == name { value } else { given }));
        let text = request_text("GET /", &port.to_string(), &headers);
        // The connection stays open for the next request.
        let last = request_text("GET /healthz", "x", &[("Connection", "close")]);
        let response = exchange(&mut stream, (text + &last).as_bytes()).await;
        assert_eq!(response.status, 400, "{name}: {value}");
    }
    // Only the page's own path is a WebSocket.
    let (elsewhere, _) = upgrade(port, "/nothing", &[]).await;
    assert_eq!(elsewhere.status, 404);
    relay.shutdown().await;
}

#[tokio::test]
async fn announced_addresses_are_in_the_document() {
    let announced = |config: &mut Config| {
        config.listen_ips = vec![Ipv4Addr::UNSPECIFIED.into()];
        config.announce = [
            "https://hearts.example/club",
            "/ip4/192.0.2.1/udp/9000/webrtc-direct",
            "/ip4/192.0.2.1/udp/9001",
        ]
        .map(|text| text.parse().expect("can be announced"))
        .into();
    };
    let (relay, port) = start(announced).await;
    assert_eq!(relay.page_url(), "https://hearts.example/club/");
    // A proxy may strip the path of its location, or not.
    for path in ["/relay.json", "/club/relay.json"] {
        let document = get(port, path, &[("Host", "hearts.example")]).await.json();
        let own = document["addresses"][0].as_str().expect("an address");
        assert!(own.ends_with(&format!("/p2p/{}", relay.peer_id())), "{own}");
        let found = addresses(&document);
        assert_eq!(
            found.get(..2).unwrap_or_default(),
            [
                "/dns/hearts.example/tcp/443/tls/x-parity-ws/%2Fclub%2F",
                "/ip4/192.0.2.1/udp/9000/webrtc-direct"
            ]
        );
        assert_eq!(document["stun"], serde_json::json!(["stun:192.0.2.1:9001"]));
        assert!(!found.iter().any(|address| address.contains("127.0.0.1")));
    }
    let origin = ("Origin", "https://hearts.example");
    for path in ["/", "/club/"] {
        let (response, _) = upgrade(port, path, &[origin]).await;
        assert_eq!(response.status, 101, "{path}");
    }
    let slash = get(port, "/club?a=1", &[]).await;
    assert_eq!(slash.status, 308);
    assert_eq!(slash.header("location"), Some("club/?a=1"));
    relay.shutdown().await;
}

#[tokio::test]
async fn forwarded_headers_count_only_from_trusted_proxies() {
    let forwarded = [
        ("Host", "127.0.0.1:8080"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-For", "198.51.100.1"),
    ];
    let (relay, port) = start(|_| {}).await;
    let found = addresses(&get(port, "/relay.json", &forwarded).await.json());
    assert_eq!(found[0], "/ip4/127.0.0.1/tcp/8080/ws");
    relay.shutdown().await;

    let trusting = |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a CIDR")];
    };
    let (relay, port) = start(trusting).await;
    let found = addresses(&get(port, "/relay.json", &forwarded).await.json());
    // The proxy's own address says nothing about UDP.
    assert_eq!(found, ["/ip4/127.0.0.1/tcp/443/tls/ws"]);
    let evil = [("X-Forwarded-Host", "evil.example")];
    assert_eq!(get(port, "/relay.json", &evil).await.status, 421);
    relay.shutdown().await;
}

/// Whether the second of two handshakes behind a proxy ends the first one. The relay allows each client one.
async fn second_handshake_ends_the_first(port: SocketAddr, clients: [&str; 2]) -> bool {
    let [first, second] = clients.map(|client| [("X-Forwarded-For", client)]);
    let (_, mut held) = upgrade(port, "/", &first).await;
    let (_, other) = upgrade(port, "/", &second).await;
    // Its first message may come before.
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut held, &mut rest);
    let moment = std::time::Duration::from_millis(500);
    let ended = tokio::time::timeout(moment, end).await.is_ok();
    drop(other);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_proxy_are_limited_one_by_one() {
    let one_each = |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a CIDR")];
        config.limits.pending_connections_per_network = 1;
    };
    let (relay, port) = start(one_each).await;
    assert!(second_handshake_ends_the_first(port, ["198.51.100.1", "198.51.100.1"]).await);
    let spoofed = ["1.1.1.1, 198.51.100.2", "2.2.2.2, 198.51.100.2"];
    assert!(second_handshake_ends_the_first(port, spoofed).await);
    assert!(!second_handshake_ends_the_first(port, ["198.51.100.3", "198.51.100.4"]).await);
    relay.shutdown().await;
}

/// A header of the PROXY protocol for a client with this address.
fn proxy_header(client: Ipv4Addr) -> Vec<u8> {
    let mut header = PROXY_SIGNATURE.to_vec();
    header.extend([0x21, 0x11, 0, 12]);
    header.extend(client.octets());
    header.extend([192, 0, 2, 1]);
    header.extend(4711_u16.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_protocol_names_the_client() {
    let one_each = |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a CIDR")];
        config.limits.http_connections_per_network = 1;
    };
    let (relay, port) = start(one_each).await;
    let client = Ipv4Addr::new(198, 51, 100, 1);
    let mut held = TcpStream::connect(port).await.expect("it listens");
    held.write_all(&proxy_header(client))
        .await
        .expect("it reads");
    held.write_all(b"GET / HT").await.expect("it reads");
    let request = request_text("GET /healthz", "x", &[("Connection", "close")]);

    let other = [
        proxy_header(Ipv4Addr::new(198, 51, 100, 2)),
        request.clone().into(),
    ]
    .concat();
    let mut stream = TcpStream::connect(port).await.expect("it listens");
    assert_eq!(exchange(&mut stream, &other).await.status, 200);

    let mut stream = TcpStream::connect(port).await.expect("it listens");
    let same = [proxy_header(client), request.clone().into()].concat();
    assert_eq!(exchange(&mut stream, &same).await.status, 200);
    // The client has a connection already, so its oldest ends.
    let mut answer = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut held, &mut answer);
    let _ = tokio::time::timeout(support::PATIENCE, end)
        .await
        .expect("it hangs up");
    assert!(answer.is_empty(), "half a request has no response");

    // A header may have notes, up to 2 KiB in all.
    let notes = |length: u16| {
        let mut header = proxy_header(client);
        header[14..16].copy_from_slice(&length.to_be_bytes());
        header.push(4);
        header.extend((length - 15).to_be_bytes());
        header.resize(16 + usize::from(length), 0);
        header
    };
    for (length, status) in [(2_048, Some(200)), (2_049, None)] {
        let mut stream = TcpStream::connect(port).await.expect("it listens");
        let sent = [notes(length), request.clone().into()].concat();
        stream.write_all(&sent).await.expect("it reads");
        let mut answer = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
        let _ = tokio::time::timeout(support::PATIENCE, end)
            .await
            .expect("it hangs up");
        let found = answer.starts_with(b"HTTP/1.1 200").then_some(200);
        assert_eq!(found, status, "{length}");
    }

    let mut malformed = proxy_header(client);
    malformed[12] = 0xFF;
    let mut stream = TcpStream::connect(port).await.expect("it listens");
    stream.write_all(&malformed).await.expect("it reads");
    let mut answer = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    let _ = tokio::time::timeout(support::PATIENCE, end)
        .await
        .expect("it hangs up");
    assert!(answer.is_empty());
    relay.shutdown().await;
}

#[tokio::test]
async fn proxy_protocol_of_strangers_is_no_request() {
    let (relay, port) = start(|_| {}).await;
    let mut stream = TcpStream::connect(port).await.expect("it listens");
    let header = proxy_header(Ipv4Addr::new(198, 51, 100, 1));
    assert_eq!(exchange(&mut stream, &header).await.status, 400);
    relay.shutdown().await;
}

#[tokio::test]
async fn document_lists_the_relays_of_the_deployment() {
    let others = |config: &mut Config| {
        config.announce = vec!["https://b.example/hearts".parse().expect("a URL")];
        let others = [
            "https://C.example:443",
            "https://a.example",
            "https://b.example/hearts/",
        ];
        config.with = others.map(|url| url.parse().expect("a URL")).into();
    };
    let (_relay, port) = start(others).await;
    let document = get(port, "/relay.json", &[]).await.json();
    assert_eq!(document["url"], "https://b.example/hearts/");
    let all = [
        "https://a.example/",
        "https://b.example/hearts/",
        "https://c.example/",
    ];
    assert_eq!(document["relays"], serde_json::json!(all));
    // Tabs of their pages connect here, and names of the deployment may lead here.
    for (host, allowed) in [("a.example", true), ("evil.example", false)] {
        let response = get(port, "/relay.json", &[("Host", host)]).await;
        assert_eq!(response.status == 200, allowed, "{host}");
        let origin = format!("https://{host}");
        let headers = [("Host", "192.0.2.7"), ("Origin", origin.as_str())];
        let (response, _) = upgrade(port, "/", &headers).await;
        assert_eq!(response.status == 101, allowed, "{host}");
    }
}

#[tokio::test]
async fn single_relay_lists_no_others() {
    let (_relay, port) = start(|_| ()).await;
    let document = get(port, "/relay.json", &[]).await.json();
    assert!(document.get("relays").is_none() && document.get("url").is_none());
}
