//! TLS on the one port: certificates from files and from the relay's own authority, and what plain http gets there.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use relay::{Config, IdentitySource, Relay, StartError, tls::TlsSource};
use rustls::pki_types::CertificateDer;
use support::{
    PATIENCE,
    http::{Response, UPGRADE, get, request_text, socket_of},
    port_of,
    test_folder::TestFolder,
    tls::{Authority, DAY, connect},
    websocket_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

fn files(certificate: &Path, key: &Path) -> Config {
    Config {
        tls: Some(TlsSource::Files {
            certificate: certificate.into(),
            key: key.into(),
        }),
        ..Config::for_tests(1)
    }
}

fn local_authority(folder: &Path) -> Config {
    let identity = IdentitySource::Seed {
        seed: 1,
        folder: Some(folder.into()),
    };
    Config {
        identity,
        tls: Some(TlsSource::LocalAuthority),
        ..Config::for_tests(1)
    }
}

async fn start(config: Config) -> (Relay, SocketAddr) {
    let relay = Relay::start(config).await.expect("free ports");
    let port = port_of(&websocket_of(&relay));
    (relay, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

async fn secure_get(
    root: &CertificateDer<'static>,
    port: SocketAddr,
    host_and_path: (&str, &str),
) -> Response {
    let response = support::tls::secure_get(root, port, host_and_path).await;
    response.expect("trust")
}

#[tokio::test]
async fn page_and_websocket_use_the_certificate_of_files() {
    let (folder, authority) = (TestFolder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["hearts.example", "*.club.example"]);
    let certificate = folder.file("cert.pem", certificate);
    let key = folder.file("key.pem", key);
    let (relay, port) = start(files(&certificate, &key)).await;
    let url = format!("https://hearts.example:{}/", port.port());
    assert_eq!(relay.page_urls(), [url]);
    let root = &authority.der;

    let page = secure_get(root, port, ("hearts.example", "/")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("strict-transport-security"), None);
    let document = secure_get(root, port, ("a.club.example", "/relay.json")).await;
    let expected = format!("/dns/a.club.example/tcp/{}/tls/ws/p2p/", port.port());
    let found = document.json()["addresses"][0].to_string();
    assert!(found.contains(&expected), "{found}");

    let mut stream = connect(root, "hearts.example", port, &["http/1.1"])
        .await
        .expect("trust");
    let origin = format!("https://hearts.example:{}", port.port());
    let host = origin.trim_start_matches("https://");
    let headers = [&UPGRADE[..], &[("Origin", origin.as_str())]].concat();
    let text = request_text("GET /", host, &headers);
    stream.write_all(text.as_bytes()).await.expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    relay.shutdown().await;
}

#[tokio::test]
async fn http2_is_offered_to_browsers() {
    let (folder, authority) = (TestFolder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["hearts.example"]);
    let certificate = folder.file("cert.pem", certificate);
    let key = folder.file("key.pem", key);
    let mut config = files(&certificate, &key);
    config.limits.http_header_timeout = Duration::from_millis(300);
    let (relay, port) = start(config).await;

    let offered = ["h2", "http/1.1"];
    let mut stream = connect(&authority.der, "hearts.example", port, &offered)
        .await
        .expect("trust");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // The preface and an empty SETTINGS frame (RFC 9113, 3.4).
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.expect("it reads");
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.expect("a frame");
    assert_eq!(frame[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(frame[2])];
    stream.read_exact(&mut settings).await.expect("settings");
    // SETTINGS_MAX_CONCURRENT_STREAMS
    let streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
    assert_eq!(streams, Some(&[0, 3, 0, 0, 0, 128][..]));
    // A connection without requests is closed.
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "it hangs up");
    relay.shutdown().await;
}

#[tokio::test]
async fn plain_http_is_sent_to_https() {
    let (folder, authority) = (TestFolder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["hearts.example"]);
    let certificate = folder.file("cert.pem", certificate);
    let key = folder.file("key.pem", key);
    let (relay, port) = start(files(&certificate, &key)).await;
    let host = format!("hearts.example:{}", port.port());
    let plain = get(port, "/?a=1", &[("Host", &host)]).await;
    assert_eq!(plain.status, 308);
    let expected = format!("https://{host}/?a=1");
    assert_eq!(plain.header("location"), Some(expected.as_str()));
    let evil = get(port, "/", &[("Host", "evil.example")]).await;
    assert_eq!((evil.status, evil.header("location")), (421, None));
    assert_eq!(get(port, "/healthz", &[]).await.status, 200);
    let (upgrade, _) = support::http::upgrade(port, "/", &[]).await;
    assert_eq!(upgrade.status, 308);
    relay.shutdown().await;
}

#[tokio::test]
async fn renewed_files_are_used_and_bad_ones_are_not() {
    let (folder, authority) = (TestFolder::new(), Authority::new());
    let serial = async |port| {
        let stream = connect(&authority.der, "hearts.example", port, &[]).await;
        let stream = stream.expect("trust");
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().expect("a certificate");
        let (_, parsed) = X509Certificate::from_der(&chain[0]).expect("a certificate");
        parsed.raw_serial_as_string()
    };
    let (first, first_key) = authority.issue(&["hearts.example"]);
    let certificate = folder.file("cert.pem", first);
    let key = folder.file("key.pem", first_key);
    let (relay, port) = start(files(&certificate, &key)).await;
    let before = serial(port).await;

    // The first half of a renewal does not match the old key.
    let (second, second_key) = authority.issue(&["hearts.example"]);
    folder.file("cert.pem", second);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(serial(port).await, before);
    folder.file("key.pem", second_key);
    let renewed = timeout(PATIENCE, async {
        while serial(port).await == before {
            sleep(Duration::from_millis(100)).await;
        }
    });
    renewed.await.expect("the new certificate is used");
    relay.shutdown().await;
}

#[tokio::test]
async fn unsuitable_files_are_one_clear_line() {
    let (folder, authority) = (TestFolder::new(), Authority::new());
    let (good, key) = authority.issue(&["hearts.example"]);
    let (_, other_key) = authority.issue(&["hearts.example"]);
    let (expired, expired_key) = authority.issue_expired(&["hearts.example"]);
    let certificate = folder.file("cert.pem", good);
    let key = folder.file("key.pem", key);
    let other_key = folder.file("other.pem", other_key);
    let expired = folder.file("expired.pem", expired);
    let expired_key = folder.file("expired-key.pem", expired_key);
    let nothing = folder.file("nothing.pem", "not PEM");
    let missing = folder.path().join("missing.pem");
    let directory = folder.path().to_owned();
    let huge = folder.file("huge.pem", "x".repeat((1 << 20) + 1));
    for (certificate, key, expected) in [
        (&missing, &key, "cannot read"),
        (&certificate, &missing, "(--tls-key)"),
        (&nothing, &key, "contains no certificate in PEM format"),
        (&key, &key, "contains no certificate in PEM format"),
        (&certificate, &nothing, "contains no private key"),
        (&certificate, &certificate, "contains no private key"),
        (&certificate, &other_key, "is not for the key in"),
        (&expired, &expired_key, "expired on"),
        (&directory, &key, "cannot read"),
        (&huge, &key, "which is no certificate or key"),
    ] {
        let error = Relay::start(files(certificate, key))
            .await
            .expect_err(expected);
        assert!(matches!(error, StartError::Tls(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[tokio::test]
async fn local_authority_certifies_this_computer() {
    let folder = TestFolder::new();
    let (relay, port) = start(local_authority(folder.path())).await;
    let install = relay.install_urls();
    assert_eq!(install, [format!("http://{port}/")]);

    let page = get(socket_of(&install[0]), "/", &[("Host", "192.168.1.5:8080")]).await;
    assert_eq!(page.status, 200);
    for text in [
        "https://192.168.1.5:8080/",
        "lang=\"ko\"",
        "Android",
        "ChromeOS",
        "/ca.crt",
    ] {
        assert!(page.text().contains(text), "{text}");
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert_eq!(get(port, "/install.css", &[]).await.status, 200);
    let file = get(port, "/ca.crt", &[]).await;
    assert_eq!(
        file.header("content-type"),
        Some("application/x-x509-ca-cert")
    );
    let root = CertificateDer::from(file.body.clone());
    for name in ["127.0.0.1", "localhost"] {
        assert_eq!(
            secure_get(&root, port, (name, "/")).await.status,
            200,
            "{name}"
        );
    }
    let again = secure_get(&root, port, ("localhost", "/ca.crt")).await;
    assert_eq!(again.body, file.body);

    let stream = connect(&root, "localhost", port, &[]).await.expect("trust");
    let chain = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate");
    let (_, leaf) = X509Certificate::from_der(&chain[0]).expect("a certificate");
    let validity = leaf.validity();
    let now = i64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("a date after 1970")
            .as_secs(),
    );
    let now = now.expect("a date");
    let day = i64::try_from(DAY.as_secs()).expect("small");
    let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert!(lifetime <= 90 * day, "{lifetime}");
    assert!(validity.not_before.timestamp() <= now - day, "backdated");
    relay.shutdown().await;

    let path = folder.path().join("local-authority.pem");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = fs::read(&path).expect("it exists");
    let (relay, port) = start(local_authority(folder.path())).await;
    assert_eq!(get(port, "/ca.crt", &[]).await.body, file.body, "kept");
    relay.shutdown().await;
    assert_eq!(fs::read(&path).expect("it exists"), before);
}

#[tokio::test]
async fn local_authority_cannot_certify_other_sites() {
    let folder = TestFolder::new();
    let mut config = local_authority(folder.path());
    config.announce = vec!["https://hearts.lan".parse().expect("a URL")];
    let (relay, _) = start(config.clone()).await;
    relay.shutdown().await;

    let pem = fs::read_to_string(folder.path().join("local-authority.pem"));
    // What a thief of the key could do.
    let thief = Authority::from_pem(pem.expect("it exists"));
    let (_, parsed) = X509Certificate::from_der(&thief.der).expect("a certificate");
    let constraints = parsed.extensions().iter().find(|extension| {
        extension.oid == x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS
    });
    assert!(constraints.is_some_and(|found| found.critical));
    for (name, accepted) in [
        ("hearts.lan", true),
        ("laptop.local", true),
        ("192.168.7.7", true),
        ("fd00::1", true),
        ("bank.example", false),
        ("8.8.8.8", false),
        ("2001:db8::1", false),
    ] {
        let (certificate, key) = thief.issue(&[name]);
        let certificate = folder.file("stolen.pem", certificate);
        let key = folder.file("stolen-key.pem", key);
        let (relay, port) = start(files(&certificate, &key)).await;
        let result = connect(&thief.der, name, port, &[]).await;
        assert_eq!(result.is_ok(), accepted, "{name}: {:?}", result.err());
        relay.shutdown().await;
    }

    // The authority exists, and a name that it does not cover is announced.
    config.announce = vec!["https://other.lan".parse().expect("a URL")];
    let error = Relay::start(config).await.expect_err("not covered");
    assert!(
        error.to_string().contains("may not certify other.lan"),
        "{error}"
    );
}

#[tokio::test]
async fn damaged_authority_is_not_overwritten() {
    let of_another_key = Authority::new().pem + &Authority::new().issue(&["hearts.lan"]).1;
    for content in ["nonsense", &of_another_key] {
        let folder = TestFolder::new();
        let path = folder.file("local-authority.pem", content);
        let error = Relay::start(local_authority(folder.path()))
            .await
            .expect_err("damaged");
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(fs::read_to_string(path).expect("it exists"), content);
    }
}

#[tokio::test]
async fn certificate_names_the_addresses_of_interfaces() {
    let folder = TestFolder::new();
    let mut config = local_authority(folder.path());
    config.listen_ips = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let (relay, port) = start(config).await;
    let root = CertificateDer::from(get(port, "/ca.crt", &[]).await.body);
    for url in relay.page_urls() {
        let socket = socket_of(&url);
        let is_private = match socket.ip() {
            IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
            IpAddr::V6(_) => false,
        };
        if is_private {
            let name = socket.ip().to_string();
            let page = secure_get(&root, port, (&name, "/healthz")).await;
            assert_eq!(page.status, 200, "{url}");
        }
    }
    relay.shutdown().await;
}
