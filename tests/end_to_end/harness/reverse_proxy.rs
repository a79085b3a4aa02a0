//! nginx or caddy in front of a relay, with the configuration of `relay/packaging` and a certificate of an authority of
//! the test.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::Command,
    time::{sleep, timeout},
};

use super::{patience::PATIENCE, process::Process};

/// The name in the packaged configurations.
const NAME: &str = "hearts.example";
/// Time between two attempts to connect to a proxy that starts.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A program that forwards requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proxy {
    /// nginx, which serves the relay at this path: `/`, or one that ends with it.
    Nginx(&'static str),
    /// caddy, which serves the relay at `/`.
    Caddy,
}

/// A website whose proxy does not run yet.
#[derive(Debug)]
pub(crate) struct Website {
    proxy: Proxy,
    folder: TempDir,
    port: u16,
}

/// The running proxy. Dropping it stops it.
#[derive(Debug)]
#[allow(dead_code, reason = "kept as long as the proxy runs")]
pub(crate) struct ReverseProxy(Process, TempDir);

impl Website {
    /// Chooses a port, and creates the certificates.
    pub(crate) fn new(proxy: Proxy) -> Result<Self> {
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
        Ok(Self {
            proxy,
            folder,
            port,
        })
    }

    /// The certificate of the authority, for browsers.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The URL of the relay's page.
    pub(crate) fn url(&self) -> String {
        format!("https://{NAME}:{}{}", self.port, self.proxy.path())
    }

    /// Flag that makes Chromium find the website on this computer.
    pub(crate) fn resolver_flag() -> String {
        format!("--host-resolver-rules=MAP {NAME} 127.0.0.1")
    }

    /// What the addresses of the relay contain.
    pub(crate) fn address_part(&self) -> String {
        let part = match self.proxy.path() {
            "/" => "ws".to_owned(),
            path => format!("x-parity-ws/{}", path.replace('/', "%2F")),
        };
        format!("/dns/{NAME}/tcp/{}/tls/{part}/", self.port)
    }

    /// Starts the proxy for a relay that listens on this port.
    pub(crate) async fn serve(self, relay_port: u16) -> Result<ReverseProxy> {
        let folder = self.folder.path().display().to_string();
        let mut command = match self.proxy {
            Proxy::Nginx(path) => self.nginx(path, relay_port)?,
            Proxy::Caddy => self.caddy(relay_port)?,
        };
        command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::spawn(self.proxy.program(), &mut command)?;
        let listens = timeout(PATIENCE, async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .await
                .is_err()
            {
                sleep(POLL_INTERVAL).await;
            }
        });
        listens.await.context("the proxy does not listen")?;
        Ok(ReverseProxy(process, self.folder))
    }

    fn nginx(&self, path: &str, relay_port: u16) -> Result<Command> {
        let folder = self.folder.path().display().to_string();
        let server = packaged(
            "nginx.conf",
            &[
                (
                    "listen 443 ssl",
                    &format!("listen 127.0.0.1:{} ssl", self.port),
                ),
                (
                    "server 127.0.0.1:8080",
                    &format!("server 127.0.0.1:{relay_port}"),
                ),
                ("/etc/ssl/hearts.example.pem", &format!("{folder}/cert.pem")),
                ("/etc/ssl/hearts.example.key", &format!("{folder}/key.pem")),
                ("    location / {", &format!("    location {path} {{")),
            ],
        )?;
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
            .args(["-p", &folder]);
        Ok(command)
    }

    fn caddy(&self, relay_port: u16) -> Result<Command> {
        let folder = self.folder.path().display().to_string();
        // Without `skip_install_trust`, caddy would add an authority of its own to those that this computer trusts.
        let global = "{\n\tadmin off\n\tauto_https off\n\tskip_install_trust\n}\n";
        let site = format!(
            "{global}https://{NAME}:{} {{\n\ttls {folder}/cert.pem {folder}/key.pem",
            self.port
        );
        let config = packaged(
            "Caddyfile",
            &[
                ("hearts.example {", &site),
                (
                    "reverse_proxy 127.0.0.1:8080\n}\n\n# Below",
                    &format!("reverse_proxy 127.0.0.1:{relay_port}\n}}\n\n# Below"),
                ),
            ],
        )?;
        let path = self.folder.path().join("Caddyfile");
        fs::write(&path, config)?;
        let mut command = Command::new("caddy");
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&path)
            .env("HOME", &folder)
            .env("XDG_DATA_HOME", &folder)
            .env("XDG_CONFIG_HOME", &folder);
        Ok(command)
    }
}

impl Proxy {
    /// The program's name.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Nginx(_) => "nginx",
            Self::Caddy => "caddy",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Nginx(path) => path,
            Self::Caddy => "/",
        }
    }
}

/// A file of `relay/packaging` with every text replaced, each of which must be there.
fn packaged(name: &str, replacements: &[(&str, &str)]) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("relay/packaging");
    let mut text = fs::read_to_string(folder.join(name))?;
    for (from, to) in replacements {
        ensure!(text.contains(from), "{from} is in {name}");
        text = text.replace(from, to);
    }
    Ok(text)
}
