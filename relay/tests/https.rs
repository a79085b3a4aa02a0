//! TLS on the one port: certificates from files and from the relay's own authority, and what plain http gets there.
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use relay::{Config, IdentitySource, Relay, StartError, tls::TlsSource};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use support::{
    PATIENCE,
    http::{Response, UPGRADE, exchange, get, request_text, socket_of},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A temporary folder for a test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("relay-https-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a temporary file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An authority of a test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params
            .self_signed(&key)
            .expect("an authority")
            .der()
            .clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, der }
    }

    /// A certificate for `names`, valid for this time from and until now, and its key; both as PEM.
    fn issue(&self, names: &[&str], from: Duration, until: Duration) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        let now = SystemTime::now();
        params.not_before = (now - from).into();
        params.not_after = (if until.is_zero() {
            now - DAY
        } else {
            now + until
        })
        .into();
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }
}

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
    let multiaddr = support::websocket_of(&relay).to_string();
    let port = multiaddr
        .split('/')
        .nth(4)
        .and_then(|port| port.parse().ok());
    let port = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.expect("a port"));
    (relay, port)
}

/// A connection to the relay as `name`, by a client that trusts `root` only.
async fn connect(
    root: &CertificateDer<'static>,
    name: &str,
    port: SocketAddr,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("an authority");
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    let stream = TcpStream::connect(port).await.expect("it listens");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, connecting).await.expect("in time")
}

async fn secure_get(
    root: &CertificateDer<'static>,
    port: SocketAddr,
    (name, path): (&str, &str),
) -> Response {
    let mut stream = connect(root, name, port, &["http/1.1"])
        .await
        .expect("trust");
    let host = format!("{name}:{}", port.port());
    let text = request_text(&format!("GET {path}"), &host, &[("Connection", "close")]);
    exchange(&mut stream, text.as_bytes()).await
}

#[tokio::test]
async fn page_and_websocket_use_the_certificate_of_files() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["hearts.example", "*.club.example"], DAY, DAY);
    let certificate = folder.file("cert.pem", &certificate);
    let key = folder.file("key.pem", &key);
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
    let (folder, authority) = (Folder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["hearts.example"], DAY, DAY);
    let certificate = folder.file("cert.pem", &certificate);
    let key = folder.file("key.pem", &key);
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
    let (folder, authority) = (Folder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["hearts.example"], DAY, DAY);
    let certificate = folder.file("cert.pem", &certificate);
    let key = folder.file("key.pem", &key);
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
    let (folder, authority) = (Folder::new(), Authority::new());
    let serial = async |port| {
        let stream = connect(&authority.der, "hearts.example", port, &[]).await;
        let stream = stream.expect("trust");
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().expect("a certificate");
        let (_, parsed) = X509Certificate::from_der(&chain[0]).expect("a certificate");
        parsed.raw_serial_as_string()
    };
    let (first, first_key) = authority.issue(&["hearts.example"], DAY, DAY);
    let certificate = folder.file("cert.pem", &first);
    let key = folder.file("key.pem", &first_key);
    let (relay, port) = start(files(&certificate, &key)).await;
    let before = serial(port).await;

    // The first half of a renewal does not match the old key.
    let (second, second_key) = authority.issue(&["hearts.example"], DAY, DAY);
    folder.file("cert.pem", &second);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(serial(port).await, before);
    folder.file("key.pem", &second_key);
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
    let (folder, authority) = (Folder::new(), Authority::new());
    let (good, key) = authority.issue(&["hearts.example"], DAY, DAY);
    let (_, other_key) = authority.issue(&["hearts.example"], DAY, DAY);
    let (expired, expired_key) = authority.issue(&["hearts.example"], 3 * DAY, Duration::ZERO);
    let certificate = folder.file("cert.pem", &good);
    let key = folder.file("key.pem", &key);
    let other_key = folder.file("other.pem", &other_key);
    let expired = folder.file("expired.pem", &expired);
    let expired_key = folder.file("expired-key.pem", &expired_key);
    let nothing = folder.file("nothing.pem", "not PEM");
    let missing = folder.0.join("missing.pem");
    let huge = folder.file("huge.pem", &"x".repeat((1 << 20) + 1));
    for (certificate, key, expected) in [
        (&missing, &key, "cannot read"),
        (&certificate, &missing, "(--tls-key)"),
        (&nothing, &key, "contains no certificate in PEM format"),
        (&key, &key, "contains no certificate in PEM format"),
        (&certificate, &nothing, "contains no private key"),
        (&certificate, &certificate, "contains no private key"),
        (&certificate, &other_key, "is not for the key in"),
        (&expired, &expired_key, "expired on"),
        (&folder.0, &key, "cannot read"),
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
    let folder = Folder::new();
    let (relay, port) = start(local_authority(&folder.0)).await;
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

    let path = folder.0.join("local-authority.pem");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = fs::read(&path).expect("it exists");
    let (relay, port) = start(local_authority(&folder.0)).await;
    assert_eq!(get(port, "/ca.crt", &[]).await.body, file.body, "kept");
    relay.shutdown().await;
    assert_eq!(fs::read(&path).expect("it exists"), before);
}

#[tokio::test]
async fn local_authority_cannot_certify_other_sites() {
    let folder = Folder::new();
    let mut config = local_authority(&folder.0);
    config.announce = vec!["https://hearts.lan".parse().expect("a URL")];
    let (relay, _) = start(config.clone()).await;
    relay.shutdown().await;

    let pem = fs::read(folder.0.join("local-authority.pem")).expect("it exists");
    let root = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    let (_, parsed) = X509Certificate::from_der(&root).expect("a certificate");
    let constraints = parsed.extensions().iter().find(|extension| {
        extension.oid == x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS
    });
    assert!(constraints.is_some_and(|found| found.critical));
    // What a thief of the key could do.
    let key = String::from_utf8(pem).expect("text");
    let key = key
        .split_at(key.find("-----BEGIN PRIVATE KEY").expect("a key"))
        .1;
    let key = KeyPair::from_pem(key).expect("a key");
    let thief = Authority {
        issuer: Issuer::from_ca_cert_der(&root, key).expect("an authority"),
        der: root.clone(),
    };
    for (name, accepted) in [
        ("hearts.lan", true),
        ("laptop.local", true),
        ("192.168.7.7", true),
        ("fd00::1", true),
        ("bank.example", false),
        ("8.8.8.8", false),
        ("2001:db8::1", false),
    ] {
        let (certificate, key) = thief.issue(&[name], DAY, DAY);
        let certificate = folder.file("stolen.pem", &certificate);
        let key = folder.file("stolen-key.pem", &key);
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
    let folder = Folder::new();
    let path = folder.file("local-authority.pem", "nonsense");
    let error = Relay::start(local_authority(&folder.0))
        .await
        .expect_err("damaged");
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(fs::read_to_string(path).expect("it exists"), "nonsense");
}

#[tokio::test]
async fn certificate_names_the_addresses_of_interfaces() {
    let folder = Folder::new();
    let mut config = local_authority(&folder.0);
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
