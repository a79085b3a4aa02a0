//! The relay as a process: its output, its error messages, and its shutdown.
#![cfg(unix)]

use std::{
    env, fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A temporary folder for a test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("relay-process-{}-{number}", process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A running relay that has printed its addresses.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    page: String,
    addresses: Vec<String>,
}

async fn run(data: &Path) -> Running {
    run_with(data, &[]).await
}

async fn run_with(data: &Path, more: &[&str]) -> Running {
    let data = data.to_str().expect("text");
    let flags = "--http-port 0 --webrtc-port 0 --stun-port 0 --data-dir";
    let flags: Vec<&str> = flags.split(' ').chain([data]).collect();
    let flags = [&flags, more].concat();
    let mut child = command(&flags).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let (mut page, mut addresses) = (None, Vec::new());
    loop {
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("in time").expect("text").expect("more to say");
        if let Some(rest) = line.strip_prefix("Open ") {
            page = rest.split(' ').next().map(str::to_owned);
        }
        if let Some(address) = line.strip_prefix("  /") {
            addresses.push(format!("/{address}"));
        }
        if line.starts_with("Press Ctrl-C") {
            let page = page.expect("the page's address comes first");
            return Running {
                child,
                lines,
                page,
                addresses,
            };
        }
    }
}

impl Running {
    /// Sends `signal`, and checks that the process exits quickly and successfully.
    async fn stop(mut self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let start = Instant::now();
        let sent = Command::new("kill").args([signal, &id]).status().await;
        assert!(sent.expect("there is a kill").success());
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends").expect("it ran");
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(start.elapsed() < Duration::from_secs(2), "{signal}");
        while let Ok(Some(_)) = self.lines.next_line().await {}
    }
}

/// Runs a relay that must fail to start. Returns its exit code and its error message.
async fn failure(flags: &[&str]) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command(flags).output()).await;
    let output = output.expect("it gives up").expect("it ran");
    let message = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), message)
}

#[tokio::test]
async fn addresses_survive_a_restart() {
    let folder = Folder::new();
    let without_port = |address: &String| {
        let parts = address.split('/').enumerate();
        let parts = parts.filter(|(at, _)| *at != 4).map(|(_, part)| part);
        parts.collect::<Vec<_>>().join("/")
    };
    let mut runs = Vec::new();
    for signal in ["-INT", "-TERM"] {
        let running = run(&folder.0).await;
        assert!(running.page.starts_with("http://127.0.0.1:"));
        assert_eq!(running.addresses.len(), 2, "{:?}", running.addresses);
        assert!(running.addresses[1].contains("/webrtc-direct/certhash/"));
        runs.push(
            running
                .addresses
                .iter()
                .map(without_port)
                .collect::<Vec<_>>(),
        );
        running.stop(signal).await;
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn port_in_use_is_reported_in_one_line() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let taken_tcp = tcp.local_addr().expect("it is bound").port();
    let taken_udp = udp.local_addr().expect("it is bound").port();

    for (flag, transport, port) in [
        ("--http-port", "TCP", taken_tcp),
        ("--webrtc-port", "UDP", taken_udp),
        ("--stun-port", "UDP", taken_udp),
    ] {
        let number = port.to_string();
        let mut flags = vec!["--seed", "1"];
        for other in ["--http-port", "--webrtc-port", "--stun-port"] {
            flags.extend([other, if other == flag { &number } else { "0" }]);
        }
        let (code, message) = failure(&flags).await;
        assert_eq!(code, Some(1));
        assert_eq!(
            message,
            format!(
                "relay: {transport} port {port} on 127.0.0.1 is already in use: \
                 choose another port with {flag}, or a free one with {flag} 0\n"
            )
        );
    }
}

#[tokio::test]
async fn damaged_identity_is_reported_in_one_line() {
    let folder = Folder::new();
    fs::write(folder.0.join("identity.key"), "nonsense").expect("writable");
    let data = folder.0.to_str().expect("text");
    let (code, message) = failure(&["--http-port", "0", "--data-dir", data]).await;
    assert_eq!(code, Some(1));
    assert!(message.contains("identity.key is damaged"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[tokio::test]
async fn unavailable_address_is_reported_in_one_line() {
    // Reserved for documentation (RFC 5737), so no interface has it.
    let flags = [
        "--seed",
        "1",
        "--http-port",
        "0",
        "--listen-ip",
        "203.0.113.1",
    ];
    let (code, message) = failure(&flags).await;
    assert_eq!(code, Some(1));
    assert!(
        message.starts_with("relay: cannot listen on 203.0.113.1"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
}

#[tokio::test]
async fn unsuitable_flags_end_the_relay_with_one_line() {
    for (flags, message) in [
        (
            "--announce http://hearts.example",
            "--announce \"http://hearts.example\": the URL must begin with https://",
        ),
        (
            "--trusted-proxy 10.0.0.0/33",
            "--trusted-proxy \"10.0.0.0/33\": it is no network in CIDR notation, such as 127.0.0.1/32 or 10.0.0.0/8",
        ),
        ("--tls-cert /nothing/cert.pem", "--tls-cert needs --tls-key"),
        (
            "--acme hearts.example",
            "--acme needs a folder for its account and certificates: choose one with --data-dir",
        ),
    ] {
        let flags: Vec<&str> = ["--seed", "1"]
            .into_iter()
            .chain(flags.split(' '))
            .collect();
        let (code, found) = failure(&flags).await;
        assert_eq!((code, found), (Some(1), format!("relay: {message}\n")));
    }
}

#[tokio::test]
async fn health_of_a_running_relay_is_checked() {
    let folder = Folder::new();
    let running = run(&folder.0).await;
    let url = format!("{}healthz", running.page);
    let output = command(&["--check-health", &url])
        .output()
        .await
        .expect("it ran");
    assert_eq!(output.status.code(), Some(0));
    running.stop("-TERM").await;
    for (url, expected) in [
        (url.as_str(), "relay: no relay answers at http://127.0.0.1:"),
        (
            "https://127.0.0.1/",
            "relay: --check-health \"https://127.0.0.1/\": it is no URL such as ",
        ),
    ] {
        let (code, message) = failure(&["--check-health", url]).await;
        assert_eq!(code, Some(1));
        assert!(message.starts_with(expected), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}

/// SIGHUP reads the certificate again, and does not end the relay.
#[tokio::test]
async fn hangup_reads_the_certificate_again() {
    let folder = Folder::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["hearts.example".to_owned()]);
    let certificate = params.expect("a name").self_signed(&key).expect("signs");
    let (cert_path, key_path) = (folder.0.join("cert.pem"), folder.0.join("key.pem"));
    fs::write(&cert_path, certificate.pem()).expect("a file");
    fs::write(&key_path, key.serialize_pem()).expect("a file");
    let tls = ["--tls-cert", cert_path.to_str().expect("text"), "--tls-key"];
    let tls = [&tls[..], &[key_path.to_str().expect("text")]].concat();
    let mut running = run_with(&folder.0, &tls).await;
    assert!(running.page.starts_with("https://hearts.example:"));
    let stderr = running.child.stderr.take().expect("it is piped");
    let mut errors = BufReader::new(stderr).lines();

    fs::write(&key_path, "nonsense").expect("a file");
    let id = running.child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-HUP", &id]).status().await;
    assert!(sent.expect("there is a kill").success());
    let line = timeout(PATIENCE, errors.next_line())
        .await
        .expect("in time");
    let line = line.expect("text").expect("a warning");
    assert!(line.contains("contains no private key"), "{line}");
    assert!(
        line.contains("keeps using the certificate from before"),
        "{line}"
    );
    running.stop("-TERM").await;
}

#[tokio::test]
async fn help_names_every_flag() {
    let output = command(&["--help"]).output().await.expect("it ran");
    let help = String::from_utf8(output.stdout).expect("text");
    for flag in [
        "--listen-ip",
        "--http-port",
        "--webrtc-port",
        "--stun-port",
        "--announce",
        "--trusted-proxy",
        "--allow-origin",
        "--tls-cert",
        "--tls-key",
        "--tls-self-signed",
        "--acme",
        "--acme-contact",
        "--acme-directory",
        "--acme-ca",
        "--check-health",
        "--data-dir",
        "--seed",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}
