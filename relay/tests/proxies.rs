//! The relay behind nginx and caddy, with the configurations of `relay/packaging`: page, document, WebSocket and client
//! addresses. A test whose proxy is not installed is skipped, and says so.
#![cfg(unix)]
#![allow(clippy::wildcard_enum_match_arm)]

mod support;

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport as _, core::upgrade, identify,
    multiaddr::Protocol, noise, swarm::SwarmEvent, tcp, websocket, yamux,
};
use relay::{Config, Relay};
use rustls::pki_types::CertificateDer;
use support::{
    PATIENCE,
    free_port::free_port,
    http::{Response, socket_of},
    installed::{are_installed, search_path, until_listening},
    test_folder::TestFolder,
    text_of,
    tls::{Authority, secure_get},
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// The name in the packaged configurations.
const NAME: &str = "hearts.example";

/// A relay behind a proxy that listens on `port`.
struct Deployment {
    relay: Relay,
    proxy: Child,
    port: SocketAddr,
    authority: Authority,
    folder: TestFolder,
}

/// What a proxy needs to know.
struct Site {
    port: u16,
    relay_port: u16,
    certificate: PathBuf,
    key: PathBuf,
}

/// A file of `relay/packaging`, with every text replaced, each of which must be there.
fn packaged(name: &str, replacements: &[(&str, &str)]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name);
    let mut text = fs::read_to_string(path).expect("a packaged file");
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} is in {name}");
        text = text.replace(from, to);
    }
    text
}

impl Deployment {
    /// Starts a relay that is announced below `path`, and a proxy with what `configure` returns.
    async fn start(path: &str, configure: impl FnOnce(&TestFolder, &Site) -> Command) -> Self {
        let (folder, authority) = (TestFolder::new(), Authority::new());
        let (certificate, key) = authority.issue(&[NAME]);
        let port = free_port().expect("a free port");
        let mut config = Config::for_tests(1);
        let url = format!("https://{NAME}:{}{path}", port.port());
        config.announce = vec![url.parse().expect("a URL")];
        config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a CIDR")];
        let relay = Relay::start(config).await.expect("free ports");
        let own = relay.page_urls().pop().expect("a page");
        let site = Site {
            port: port.port(),
            relay_port: socket_of(&own).port(),
            certificate: folder.file("cert.pem", certificate),
            key: folder.file("key.pem", key),
        };
        let proxy = configure(&folder, &site)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the proxy starts");
        until_listening(port).await;
        Self {
            relay,
            proxy,
            port,
            authority,
            folder,
        }
    }

    async fn get(&self, path: &str) -> Response {
        let response = secure_get(&self.authority.der, self.port, (NAME, path));
        response.await.expect("trust")
    }

    /// Connects as a tab does, to the address in the document.
    async fn connect(&self, document: &serde_json::Value) -> PeerId {
        let address: Multiaddr = document["addresses"][0]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an address");
        // The name leads to the proxy on this computer.
        let mut there = Multiaddr::from(self.port.ip()).with(Protocol::Tcp(self.port.port()));
        for part in address.iter().skip(2) {
            let is_tls = part == Protocol::Tls;
            there.push(part);
            if is_tls {
                there.push(Protocol::Sni(NAME.into()));
            }
        }
        let mut client = client(&self.authority.der);
        client.dial(there).expect("a good address");
        timeout(PATIENCE, async {
            loop {
                match client.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } => return peer_id,
                    SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                    _ => {}
                }
            }
        })
        .await
        .expect("in time")
    }

    async fn stop(mut self) {
        self.proxy.kill().await.expect("it runs");
        self.relay.shutdown().await;
        drop(self.folder);
    }
}

fn client(root: &CertificateDer<'static>) -> Swarm<identify::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|key| {
            let mut transport =
                websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
            let mut tls = websocket::tls::Config::builder();
            let certificate = websocket::tls::Certificate::new(root.to_vec());
            tls.add_trust(&certificate)?;
            transport.set_tls_config(tls.finish());
            Ok(transport
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise::Config::new(key)?)
                .multiplex(yamux::Config::default()))
        })
        .expect("a transport")
        .with_behaviour(|key| {
            identify::Behaviour::new(identify::Config::new("test/1".to_owned(), key.public()))
        })
        .expect("a behaviour")
        .build()
}

fn nginx(folder: &TestFolder, site: &Site, replacements: &[(&str, &str)]) -> Command {
    let listen = format!("listen 127.0.0.1:{} ssl", site.port);
    let upstream = format!("server 127.0.0.1:{};", site.relay_port);
    let own = [
        ("listen 443 ssl", listen.as_str()),
        ("server 127.0.0.1:8080;", &upstream),
        ("/etc/ssl/hearts.example.pem", text_of(&site.certificate)),
        ("/etc/ssl/hearts.example.key", text_of(&site.key)),
    ];
    let server = packaged("nginx.conf", &[&own[..], replacements].concat());
    let data = text_of(folder.path());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {data}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {data}/nginx.pid;\nerror_log stderr warn;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
    );
    let path = folder.file("nginx.conf", config);
    let mut command = Command::new("nginx");
    command
        .args(["-c", text_of(&path), "-p", data])
        .env("PATH", search_path());
    command
}

fn caddy(folder: &TestFolder, site: &Site) -> Command {
    // Without `skip_install_trust`, caddy would add an authority of its own to those that this computer trusts.
    let global = "{\n\tadmin off\n\tauto_https off\n\tskip_install_trust\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n";
    let port = site.port;
    // The client of the test calls the proxy by its address.
    let address = format!(
        "{global}https://{NAME}:{port}, https://127.0.0.1:{port} {{\n\ttls {} {}",
        text_of(&site.certificate),
        text_of(&site.key)
    );
    let upstream = format!("reverse_proxy 127.0.0.1:{}\n}}\n\n# Below", site.relay_port);
    let config = packaged(
        "Caddyfile",
        &[
            ("hearts.example {", &address),
            ("reverse_proxy 127.0.0.1:8080\n}\n\n# Below", &upstream),
        ],
    );
    let path = folder.file("Caddyfile", config);
    let data = text_of(folder.path());
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config", text_of(&path)])
        .env("HOME", data)
        .env("XDG_DATA_HOME", data)
        .env("XDG_CONFIG_HOME", data);
    command
}

async fn expect_page_and_websocket(deployment: &Deployment, path: &str) {
    let page = deployment.get(path).await;
    assert_eq!(page.status, 200, "{}", page.head);
    assert!(page.text().contains("<html"), "the page");
    let document = deployment.get(&format!("{path}relay.json")).await;
    let document = document.json();
    let address = document["addresses"][0].as_str().expect("an address");
    let start = format!("/dns/{NAME}/tcp/{}/tls/", deployment.port.port());
    assert!(address.starts_with(&start), "{address}");
    // A tab on a page with https must not be told to dial anything else.
    assert!(!document.to_string().contains("127.0.0.1"), "{document}");
    assert_eq!(
        deployment.connect(&document).await,
        deployment.relay.peer_id()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_page_and_websocket_on() {
    if !are_installed(&["nginx"]) {
        return;
    }
    let deployment = Deployment::start("/", |folder, site| nginx(folder, site, &[])).await;
    expect_page_and_websocket(&deployment, "/").await;
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_serves_the_relay_below_a_path() {
    if !are_installed(&["nginx"]) {
        return;
    }
    // With the whole path forwarded, and with the path stripped.
    for upstream in ["http://heartchain;", "http://heartchain/;"] {
        let below = [
            ("    location / {", "    location /hearts/ {"),
            ("http://heartchain;", upstream),
        ];
        let configure = |folder: &TestFolder, site: &Site| nginx(folder, site, &below);
        let deployment = Deployment::start("/hearts", configure).await;
        expect_page_and_websocket(&deployment, "/hearts/").await;
        deployment.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_passes_page_and_websocket_on() {
    if !are_installed(&["caddy"]) {
        return;
    }
    let deployment = Deployment::start("/", caddy).await;
    expect_page_and_websocket(&deployment, "/").await;
    deployment.stop().await;
}
