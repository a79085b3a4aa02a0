//! nginx in front of a relay, with TLS and the configuration of `relay/packaging`.

use std::{fs, net::Ipv4Addr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use libp2p::{Multiaddr, multiaddr::Protocol};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{
    free_port::free_port,
    process::{RelayProcess, Start},
    target::Target,
};

const CONFIGURATION: &str = include_str!("../../../relay/packaging/nginx.conf");
/// The name in that configuration.
const NAME: &str = "hearts.example";
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A running nginx, killed when dropped.
pub(crate) struct Nginx {
    pub(crate) target: Target,
    _child: Child,
    _folder: TempDir,
}

/// Starts a relay, and nginx in front of it.
pub(crate) async fn start(start: Start<'_>) -> Result<(RelayProcess, Nginx)> {
    let port = free_port()?.port();
    let url = format!("https://{NAME}:{port}");
    let start = Start {
        announce: Some(&url),
        ..start
    };
    let relay = RelayProcess::start(start).await?;
    let relay_port = relay.port().context("the relay has a TCP port")?;
    let folder = TempDir::new()?;
    let data = folder.path().to_str().context("a path in UTF-8")?;

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key)?.der().to_vec();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.signed_by(&key, &issuer)?;
    fs::write(folder.path().join("cert.pem"), certificate.pem())?;
    fs::write(folder.path().join("key.pem"), key.serialize_pem())?;

    let mut server = CONFIGURATION.to_owned();
    for (from, to) in [
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        (
            "server 127.0.0.1:8080;",
            format!("server 127.0.0.1:{relay_port};"),
        ),
        ("/etc/ssl/hearts.example.pem", format!("{data}/cert.pem")),
        ("/etc/ssl/hearts.example.key", format!("{data}/key.pem")),
    ] {
        ensure!(server.contains(from), "{from} is not in nginx.conf");
        server = server.replace(from, &to);
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {data}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {data}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
    );
    let path = folder.path().join("nginx.conf");
    fs::write(&path, config)?;
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&path)
        .args(["-p", data])
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start nginx")?;
    let listens = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            sleep(POLL).await;
        }
    };
    timeout(START_TIMEOUT, listens)
        .await
        .context("nginx does not listen")?;

    let mut address = Multiaddr::from(Ipv4Addr::LOCALHOST)
        .with(Protocol::Tcp(port))
        .with(Protocol::Tls)
        .with(Protocol::Sni(NAME.into()));
    for part in relay.target.address.iter().skip(2) {
        address.push(part);
    }
    let nginx = Nginx {
        target: Target {
            address,
            certificate: Some(authority),
        },
        _child: child,
        _folder: folder,
    };
    Ok((relay, nginx))
}

/// Where programs are. Debian installs nginx where only root looks for it.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/usr/local/sbin")
}
