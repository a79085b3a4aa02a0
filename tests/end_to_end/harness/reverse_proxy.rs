//! nginx in front of a relay, with the configuration of `relay/packaging`, below a path of a website. It has a certificate
//! of an authority of the test.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command, time::timeout};

use super::{patience::PATIENCE, process::Process};

/// The name in the packaged configuration.
const NAME: &str = "hearts.example";
/// The path below which the relay is served.
const PATH: &str = "/club/";

/// A website whose proxy does not run yet.
#[derive(Debug)]
pub(crate) struct Website {
    folder: TempDir,
    port: u16,
}

/// The running proxy. Dropping it stops it.
#[derive(Debug)]
#[allow(dead_code, reason = "kept as long as the proxy runs")]
pub(crate) struct ReverseProxy(Process, TempDir);

impl Website {
    /// Chooses a port, and creates the certificates.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &issuer)?;
        fs::write(folder.path().join("ca.crt"), authority.der())?;
        fs::write(folder.path().join("cert.pem"), certificate.pem())?;
        fs::write(folder.path().join("key.pem"), key.serialize_pem())?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        Ok(Self { folder, port })
    }

    /// The certificate of the authority, for browsers.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The URL of the relay's page.
    pub(crate) fn url(&self) -> String {
        format!("https://{NAME}:{}{PATH}", self.port)
    }

    /// Flag that makes Chromium find the website on this computer.
    pub(crate) fn resolver_flag() -> String {
        format!("--host-resolver-rules=MAP {NAME} 127.0.0.1")
    }

    /// Starts the proxy for a relay that listens on this port.
    pub(crate) async fn serve(self, relay_port: u16) -> Result<ReverseProxy> {
        let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("relay/packaging/nginx.conf");
        let mut server = fs::read_to_string(packaged)?;
        let folder = self.folder.path().display().to_string();
        for (from, to) in [
            (
                "listen 443 ssl",
                format!("listen 127.0.0.1:{} ssl", self.port),
            ),
            ("127.0.0.1:8080", format!("127.0.0.1:{relay_port}")),
            ("/etc/ssl/hearts.example.pem", format!("{folder}/cert.pem")),
            ("/etc/ssl/hearts.example.key", format!("{folder}/key.pem")),
            ("    location / {", format!("    location {PATH} {{")),
        ] {
            ensure!(
                server.contains(from),
                "{from} is in the packaged configuration"
            );
            server = server.replace(from, &to);
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log /dev/null;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
        );
        let path = self.folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        // nginx is where only the superuser's PATH leads.
        let search = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut command = Command::new("nginx");
        command
            .env("PATH", search)
            .arg("-c")
            .arg(&path)
            .args(["-p", &folder])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::spawn("nginx", &mut command)?;
        let listens = timeout(PATIENCE, async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .await
                .is_err()
            {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        listens.await.context("nginx does not listen")?;
        Ok(ReverseProxy(process, self.folder))
    }
}
