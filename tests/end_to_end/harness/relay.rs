//! The real relay as a child process: built once, started on free ports, stopped, paused and restarted. The harness
//! learns about it only from what it prints.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{ChildStdout, Command},
    sync::OnceCell,
    time::timeout,
};

use super::{host::Host, patience::PATIENCE, process::Process};

/// Seed of the next relay's identity: each relay of a run has a different one.
static NEXT_SEED: AtomicU64 = AtomicU64::new(1);

/// A relay with its own data folder.
#[derive(Debug)]
pub(crate) struct Relay {
    host: Host,
    listen_ip: IpAddr,
    /// Flags that the test adds.
    flags: Vec<String>,
    seed: u64,
    data: TempDir,
    process: Option<Process>,
    pages: Vec<String>,
    addresses: Vec<String>,
    stopped_at: Vec<String>,
}

/// The page URLs and multiaddrs that a relay prints when it starts.
#[derive(Debug, Default)]
struct StartupOutput {
    pages: Vec<String>,
    addresses: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ports {
    http: u16,
    webrtc: u16,
}

impl Relay {
    /// Starts a relay on free ports of `listen_ip`.
    pub(crate) async fn start(listen_ip: IpAddr) -> Result<Self> {
        Self::start_on(Host::default(), listen_ip).await
    }

    /// Starts a relay on a loopback address, with more flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Result<Self> {
        let listen_ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self::start_configured(Host::default(), listen_ip, flags).await
    }

    /// Starts a relay on another host.
    pub(crate) async fn start_on(host: Host, listen_ip: IpAddr) -> Result<Self> {
        Self::start_configured(host, listen_ip, &[]).await
    }

    async fn start_configured(host: Host, listen_ip: IpAddr, flags: &[&str]) -> Result<Self> {
        let mut relay = Self {
            host,
            listen_ip,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            seed: NEXT_SEED.fetch_add(1, Ordering::Relaxed),
            data: tempfile::tempdir()?,
            process: None,
            pages: Vec::new(),
            addresses: Vec::new(),
            stopped_at: Vec::new(),
        };
        fs::write(relay.config_file(), "")?;
        relay.run(Ports::default()).await?;
        Ok(relay)
    }

    /// The page's URL on this computer.
    pub(crate) fn page(&self) -> &str {
        self.pages.first().map_or("", String::as_str)
    }

    /// The page's URLs, this computer's own first.
    pub(crate) fn pages(&self) -> &[String] {
        &self.pages
    }

    /// Requests a file by plain http, whether or not the relay has TLS. Returns its content.
    pub(crate) async fn plain_file(&self, path: &str) -> Result<Vec<u8>> {
        let host = host_of_page(self.page()).context("a page")?;
        let mut stream = TcpStream::connect(&host).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        ensure!(response.starts_with(b"HTTP/1.1 200 "), "no {path}");
        let head = response.windows(4).position(|part| part == b"\r\n\r\n");
        Ok(response.split_off(head.context("a head")? + 4))
    }

    /// The relay's first WebSocket multiaddr.
    pub(crate) fn websocket(&self) -> Result<&str> {
        self.address_with("/ws/")
    }

    /// The relay's first WebRTC-direct multiaddr.
    pub(crate) fn webrtc_direct(&self) -> Result<&str> {
        self.address_with("/webrtc-direct/")
    }

    /// The port of the page on this computer. An announced page comes before it.
    pub(crate) fn http_port(&self) -> Result<u16> {
        port_of_page(self.pages.last().map_or("", String::as_str))
    }

    /// The `host:port` of every socket on which this relay was ever stopped or paused. Chromium may report that it
    /// cannot reach these.
    pub(crate) fn stopped_at(&self) -> &[String] {
        &self.stopped_at
    }

    /// Stops the relay as a person would, and expects a clean exit.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.remember_addresses();
        let mut process = self.process.take().context("the relay is not running")?;
        process.signal("TERM").await?;
        let status = process.ended().await?;
        ensure!(status.success(), "the relay ended with {status}");
        Ok(())
    }

    /// Kills the relay, as a power cut would.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.remember_addresses();
        let mut process = self.process.take().context("the relay is not running")?;
        process.signal("KILL").await?;
        process.ended().await?;
        Ok(())
    }

    /// Pauses the process: its sockets stay open, but nothing responds.
    pub(crate) async fn freeze(&mut self) -> Result<()> {
        self.remember_addresses();
        let process = self.process.as_ref().context("the relay is not running")?;
        process.signal("STOP").await
    }

    /// Restarts the relay with the same ports and data folder.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let before = (self.pages.clone(), self.addresses.clone());
        self.run(self.ports()?).await?;
        ensure!(
            before == (self.pages.clone(), self.addresses.clone()),
            "the relay's addresses changed from {before:?} to {self:?}"
        );
        Ok(())
    }

    /// Restarts the relay with the same data folder and page URL, but a different port for WebRTC.
    pub(crate) async fn restart_at_another_port(&mut self) -> Result<()> {
        let before = self.ports()?;
        self.run(Ports {
            http: before.http,
            ..Ports::default()
        })
        .await?;
        let now = self.ports()?;
        ensure!(
            before.webrtc != now.webrtc,
            "the system gave the same port again"
        );
        Ok(())
    }

    /// Makes the running relay serve this number of tabs.
    pub(crate) async fn limit_tabs(&mut self, tabs: u32) -> Result<()> {
        fs::write(self.config_file(), format!("max-tabs = {tabs}\n"))?;
        let process = self.process.as_ref().context("the relay is not running")?;
        process.signal("HUP").await
    }

    /// Restarts the relay at the same ports with this configuration file, before tabs use it.
    pub(crate) async fn configure(&mut self, toml: &str) -> Result<()> {
        fs::write(self.config_file(), toml)?;
        let mut process = self.process.take().context("the relay is not running")?;
        process.signal("TERM").await?;
        process.ended().await?;
        self.restart().await
    }

    fn config_file(&self) -> PathBuf {
        self.data.path().join("relay.toml")
    }

    async fn run(&mut self, ports: Ports) -> Result<()> {
        let mut command = self.host.command(binary().await?);
        command
            .args(["--listen-ip", &self.listen_ip.to_string()])
            .args(["--http-port", &ports.http.to_string()])
            .args(["--webrtc-port", &ports.webrtc.to_string()])
            .args(["--stun-port", "0"])
            .args(["--seed", &self.seed.to_string()])
            .arg("--data-dir")
            .arg(self.data.path())
            .arg("--config")
            .arg(self.config_file())
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process::spawn("the relay", &mut command)?;
        let stdout = process.child().stdout.take().context("stdout is piped")?;
        let lines = BufReader::new(stdout).lines();
        let output = timeout(PATIENCE, StartupOutput::read(lines))
            .await
            .context("the relay did not print its addresses")??;
        self.process = Some(process);
        self.pages = output.pages;
        self.addresses = output.addresses;
        Ok(())
    }

    pub(crate) fn address_with(&self, protocol: &str) -> Result<&str> {
        self.addresses
            .iter()
            .find(|address| address.contains(protocol))
            .map(String::as_str)
            .with_context(|| format!("no address with {protocol} among {:?}", self.addresses))
    }

    fn ports(&self) -> Result<Ports> {
        Ok(Ports {
            http: self.http_port()?,
            webrtc: port_of_multiaddr(self.webrtc_direct()?, "udp")?,
        })
    }

    fn remember_addresses(&mut self) {
        let pages = self.pages.iter().filter_map(|page| host_of_page(page));
        let sockets = self.addresses.iter().filter_map(|a| host_of_multiaddr(a));
        self.stopped_at.extend(pages.chain(sockets));
    }
}

impl StartupOutput {
    /// Reads up to the first empty line after the addresses, and discards the rest.
    async fn read(mut lines: Lines<BufReader<ChildStdout>>) -> Result<Self> {
        let mut output = Self::default();
        while let Some(line) = lines.next_line().await? {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Open"), Some(url)) => output.pages.push(url.to_owned()),
                (Some(address), None) if address.starts_with('/') => {
                    output.addresses.push(address.to_owned());
                }
                (None, _) if !output.addresses.is_empty() => {
                    // The pipe must stay open for later output.
                    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                    return Ok(output);
                }
                _ => {}
            }
        }
        bail!("the relay exited at startup; see its error above")
    }
}

fn host_of_page(page: &str) -> Option<String> {
    let (_, host) = page.split_once("://")?;
    Some(host.trim_end_matches('/').to_owned())
}

fn port_of_page(page: &str) -> Result<u16> {
    let port = page.trim_end_matches('/').rsplit(':').next();
    port.and_then(|port| port.parse().ok())
        .with_context(|| format!("no port in {page}"))
}

fn host_of_multiaddr(address: &str) -> Option<String> {
    let mut parts = address.split('/').skip(2);
    let (ip, _, port) = (parts.next()?, parts.next()?, parts.next()?);
    Some(format!("{ip}:{port}"))
}

fn port_of_multiaddr(address: &str, transport: &str) -> Result<u16> {
    let mut parts = address.split('/');
    parts.find(|part| *part == transport);
    let port = parts.next().and_then(|port| port.parse().ok());
    port.with_context(|| format!("no {transport} port in {address}"))
}

/// The path of the relay's binary, which embeds the page.
async fn binary() -> Result<&'static Path> {
    static OTHER: OnceLock<Option<PathBuf>> = OnceLock::new();
    match OTHER.get_or_init(|| env::var_os(OTHER_RELAY).map(PathBuf::from)) {
        Some(other) => Ok(other),
        None => native_binary("relay").await,
    }
}

/// Environment variable with the path of another relay, which serves another page: benchmarks compare two builds in turns.
const OTHER_RELAY: &str = "HEARTCHAIN_RELAY";

/// The path of a binary of the workspace. The first caller builds all that tests use.
pub(super) async fn native_binary(name: &str) -> Result<&'static Path> {
    static BINARIES: OnceCell<Vec<PathBuf>> = OnceCell::const_new();
    let binaries = BINARIES.get_or_try_init(build).await?;
    let found = binaries
        .iter()
        .find(|path| path.file_stem().is_some_and(|stem| stem == name));
    let path = found.with_context(|| format!("cargo reported no binary {name}"))?;
    Ok(path)
}

async fn build() -> Result<Vec<PathBuf>> {
    // Naming this test too makes Cargo choose the same features as `cargo test --workspace`, so libp2p is built only
    // once.
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo's variables about this test would rerun build scripts that read them (such as ring's), and rebuild
    // everything that depends on those crates.
    for (name, _) in env::vars_os() {
        let is_about_this_test = |prefix: &&str| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(is_about_this_test)
        {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .args([
            "build",
            "--workspace",
            "--bin",
            "relay",
            "--bin",
            "keeper",
            "--test",
            "end_to_end",
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // The end-to-end tests need the page with its wasm package.
        .env_remove("HEARTCHAIN_SKIP_WASM")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cannot run cargo")?;
    let messages = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "the relay or the keeper does not build"
    );
    let binaries = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["kind"][0] == "bin")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    Ok(binaries.collect())
}
