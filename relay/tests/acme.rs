//! A certificate by ACME, from pebble, the test authority of Let's Encrypt. Skipped where pebble is not installed.
#![cfg(unix)]
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use support::{
    free_port::free_port,
    http::{Response, exchange, get, request_text},
    installed::{are_installed, until_listening},
    test_folder::TestFolder,
    text_of,
    tls::{Authority, secure_get},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

const DOMAIN: &str = "hearts.example";

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

/// Waits until the relay has a certificate for the domain.
async fn until_certified(root: &CertificateDer<'static>, port: SocketAddr) -> Response {
    let waiting = timeout(Duration::from_secs(60), async {
        loop {
            if let Ok(response) = secure_get(root, port, (DOMAIN, "/healthz")).await {
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
    if !are_installed(&["pebble", "pebble-challtestsrv"]) {
        return;
    }
    let (folder, authority) = (TestFolder::new(), Authority::new());
    let (certificate, key) = authority.issue(&["127.0.0.1"]);
    let root_file = folder.file("root.pem", &authority.pem);

    let [directory, management, dns, dns_management, port, unused] =
        std::array::from_fn(|_| free_port().expect("a free port"));
    let config = serde_json::json!({ "pebble": {
        "listenAddress": directory.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": folder.file("pebble.pem", certificate),
        "privateKey": folder.file("pebble.key", key),
        "httpPort": unused.port(),
        "tlsPort": port.port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    let config = folder.file("pebble.json", config.to_string());
    let dns_server = spawn(
        "pebble-challtestsrv",
        &[
            "-dns01",
            &dns.to_string(),
            "-management",
            &dns_management.to_string(),
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
        &["-config", text_of(&config), "-dnsserver", &dns.to_string()],
        Stdio::null(),
    );
    until_listening(directory).await;
    let roots = secure_get(&authority.der, management, ("127.0.0.1", "/roots/0")).await;
    let root = CertificateDer::from_pem_slice(&roots.expect("trust").body).expect("PEM");

    let data = folder.path().join("data");
    let flags = format!(
        "--http-port {} --webrtc-port 0 --stun-port 0 --data-dir {} --acme {DOMAIN} \
         --acme-contact me@{DOMAIN} --acme-directory https://{directory}/dir --acme-ca {}",
        port.port(),
        text_of(&data),
        text_of(&root_file)
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
    assert_eq!(get(port, "/healthz", &[]).await.status, 200, "it serves");

    let mut dns = TcpStream::connect(dns_management).await.expect("listens");
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
    let acme = fs::metadata(data.join("acme")).expect("a folder");
    assert_eq!(acme.permissions().mode() & 0o777, 0o700);
}
