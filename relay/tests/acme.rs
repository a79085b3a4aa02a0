//! A certificate by ACME, from pebble, the test authority of Let's Encrypt. Skipped where pebble is not installed.
#![cfg(unix)]
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{self, Stdio},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use support::{
    PATIENCE,
    http::{Response, exchange, get, request_text},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

const DOMAIN: &str = "hearts.example";

/// A temporary folder for a test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a temporary file");
        path.to_str().expect("text").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn spawn(program: &str, arguments: &[&str], errors: Stdio) -> Child {
    Command::new(program)
        .args(arguments)
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

async fn until_listening(port: u16) {
    let listens = timeout(PATIENCE, async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            sleep(Duration::from_millis(20)).await;
        }
    });
    listens.await.expect("it listens");
}

/// Sends a request by TLS to a server that must be `name`. Returns `None` if it has no certificate for that yet.
async fn secure_get(
    root: &CertificateDer<'static>,
    port: u16,
    (name, path): (&str, &str),
) -> Option<Response> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("an authority");
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let server = ServerName::try_from(name.to_owned()).expect("a name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(server, stream);
    let mut stream = connecting.await.ok()?;
    let text = request_text(&format!("GET {path}"), name, &[("Connection", "close")]);
    Some(exchange(&mut stream, text.as_bytes()).await)
}

async fn until_certified(root: &CertificateDer<'static>, port: u16) -> Response {
    let waiting = timeout(Duration::from_secs(60), async {
        loop {
            if let Some(response) = secure_get(root, port, (DOMAIN, "/healthz")).await {
                return response;
            }
            sleep(Duration::from_millis(200)).await;
        }
    });
    waiting.await.expect("a certificate")
}

/// The challenge fails at first, because the domain leads elsewhere. The relay says so, serves, and tries again.
#[tokio::test(flavor = "multi_thread")]
async fn certificate_is_ordered_and_kept() {
    if !is_installed("pebble") || !is_installed("pebble-challtestsrv") {
        return;
    }
    let folder = Folder(env::temp_dir().join(format!("relay-acme-{}", process::id())));
    fs::create_dir_all(&folder.0).expect("a folder");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_root = params.self_signed(&key).expect("an authority");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("signs");
    let root_file = folder.file("root.pem", &own_root.pem());

    let [directory, management, dns, dns_management, port, unused] =
        std::array::from_fn(|_| free_port());
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{directory}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": folder.file("pebble.pem", &certificate.pem()),
        "privateKey": folder.file("pebble.key", &key.serialize_pem()),
        "httpPort": unused,
        "tlsPort": port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    let config = folder.file("pebble.json", &config.to_string());
    let dns_address = format!("127.0.0.1:{dns}");
    let dns_server = spawn(
        "pebble-challtestsrv",
        &[
            "-dns01",
            &dns_address,
            "-management",
            &format!("127.0.0.1:{dns_management}"),
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv6",
            "",
            "-defaultIPv4",
            "127.0.0.3",
        ],
        Stdio::null(),
    );
    until_listening(dns_management).await;
    let mut pebble = spawn(
        "pebble",
        &["-config", &config, "-dnsserver", &dns_address],
        Stdio::null(),
    );
    until_listening(directory).await;
    let roots = secure_get(own_root.der(), management, ("127.0.0.1", "/roots/0")).await;
    let root = CertificateDer::from_pem_slice(&roots.expect("trust").body).expect("PEM");

    let data = folder.0.join("data");
    let (data, port_text) = (data.to_str().expect("text"), port.to_string());
    let url = format!("https://127.0.0.1:{directory}/dir");
    let flags = format!(
        "--http-port {port_text} --webrtc-port 0 --stun-port 0 --data-dir {data} --acme {DOMAIN} \
         --acme-contact me@{DOMAIN} --acme-directory {url} --acme-ca {root_file}"
    );
    let flags: Vec<&str> = flags.split(' ').collect();
    let mut relay = spawn(env!("CARGO_BIN_EXE_relay"), &flags, Stdio::piped());
    let mut lines = BufReader::new(relay.stderr.take().expect("it is piped")).lines();
    let warning = timeout(Duration::from_secs(60), async {
        loop {
            let line = lines.next_line().await.expect("text").expect("it runs on");
            if line.contains("cannot get a certificate by ACME") {
                return line;
            }
        }
    });
    let warning = warning.await.expect("a warning");
    assert!(
        warning.contains("port 443 of the domain must lead to this relay"),
        "{warning}"
    );
    assert!(warning.contains("trying again in about 5 s"), "{warning}");
    let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    assert_eq!(get(here, "/healthz", &[]).await.status, 200, "it serves");

    let mut dns = TcpStream::connect((Ipv4Addr::LOCALHOST, dns_management))
        .await
        .expect("listens");
    let body = "{\"ip\":\"127.0.0.1\"}";
    let length = body.len().to_string();
    let headers = [("Connection", "close"), ("Content-Length", length.as_str())];
    let request = request_text("POST /set-default-ipv4", "127.0.0.1", &headers) + body;
    assert_eq!(exchange(&mut dns, request.as_bytes()).await.status, 200);
    dns.shutdown().await.ok();
    assert_eq!(until_certified(&root, port).await.status, 200);
    relay.kill().await.expect("it runs");

    // The certificate is kept, so the authority may be down.
    pebble.kill().await.expect("it runs");
    let mut relay = spawn(env!("CARGO_BIN_EXE_relay"), &flags, Stdio::piped());
    assert_eq!(until_certified(&root, port).await.status, 200);
    relay.kill().await.expect("it runs");
    drop(dns_server);
    let acme = fs::metadata(folder.0.join("data/acme")).expect("a folder");
    assert_eq!(acme.permissions().mode() & 0o777, 0o700);
}
