//! The relay as a process: its output, its error messages, and its shutdown.
#![cfg(unix)]

mod support;

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use relay::{IdentitySource, identity::Identity};
use support::{
    PATIENCE, end_with,
    http::{get, socket_of},
    test_folder::TestFolder,
    text_of,
    tls::Authority,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

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
    metrics: Option<String>,
    addresses: Vec<String>,
}

async fn run(data: &Path) -> Running {
    run_with(data, &[]).await
}

async fn run_with(data: &Path, more: &[&str]) -> Running {
    let data = text_of(data);
    let mut flags: Vec<&str> = vec!["--data-dir", data];
    for port in ["--http-port", "--webrtc-port", "--stun-port"] {
        if !more.contains(&port) {
            flags.extend([port, "0"]);
        }
    }
    flags.extend(more);
    let child = command(&flags).spawn().expect("it starts");
    Running::read(child).await
}

impl Running {
    /// Reads the addresses that the relay prints.
    async fn read(mut child: Child) -> Self {
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let (mut page, mut metrics, mut addresses) = (None, None, Vec::new());
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await;
            let line = line.expect("in time").expect("text").expect("more to say");
            if let Some(rest) = line.strip_prefix("Open ") {
                page = rest.split(' ').next().map(str::to_owned);
            }
            if let Some(url) = line.strip_prefix("Metrics are at ") {
                metrics = Some(url.to_owned());
            }
            if let Some(address) = line.strip_prefix("  /") {
                addresses.push(format!("/{address}"));
            }
            if line.starts_with("Press Ctrl-C") {
                let page = page.expect("the page's address comes first");
                return Self {
                    child,
                    lines,
                    page,
                    metrics,
                    addresses,
                };
            }
        }
    }

    /// Sends `signal`, and checks that the process exits quickly and successfully.
    async fn stop(mut self, signal: &str) {
        let start = Instant::now();
        let status = end_with(signal, &mut self.child).await;
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(start.elapsed() < Duration::from_secs(2), "{signal}");
        while let Ok(Some(_)) = self.lines.next_line().await {}
    }
}

/// Runs a relay that must fail to start. Returns its exit code and its error message.
async fn failure(flags: &[&str]) -> (Option<i32>, String) {
    failure_of(&mut command(flags)).await
}

async fn failure_of(command: &mut Command) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("it gives up").expect("it ran");
    let message = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), message)
}

#[tokio::test]
async fn addresses_survive_a_restart() {
    let folder = TestFolder::new();
    let without_port = |address: &String| {
        let parts = address.split('/').enumerate();
        let parts = parts.filter(|(at, _)| *at != 4).map(|(_, part)| part);
        parts.collect::<Vec<_>>().join("/")
    };
    let mut runs = Vec::new();
    for signal in ["-INT", "-TERM"] {
        let running = run(folder.path()).await;
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
async fn stun_port_does_not_matter_on_loopback() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let taken = udp.local_addr().expect("it is bound").port().to_string();
    let folder = TestFolder::new();
    let running = run_with(folder.path(), &["--stun-port", &taken]).await;
    running.stop("-TERM").await;

    let everywhere = ["--seed", "1", "--listen-ip", "0.0.0.0", "--http-port", "0"];
    let flags = [
        &everywhere[..],
        &["--webrtc-port", "0", "--stun-port", &taken],
    ]
    .concat();
    let (code, message) = failure(&flags).await;
    assert_eq!(code, Some(1));
    let expected = format!("relay: UDP port {taken} on 0.0.0.0 is already in use: ");
    assert!(message.starts_with(&expected), "{message}");
}

#[tokio::test]
async fn all_ports_in_use_are_reported_at_once() {
    let folder = TestFolder::new();
    let running = run(folder.path()).await;
    let port = |address: &str, after: &str| {
        let mut parts = address.split('/').skip_while(|part| *part != after);
        parts.nth(1).expect("a port").to_owned()
    };
    let http = running.page.trim_end_matches('/').rsplit(':').next();
    let http = http.expect("a port").to_owned();
    let webrtc = port(&running.addresses[1], "udp");
    let ports = ["--http-port", &http, "--webrtc-port", &webrtc];
    let others = ["--seed", "1", "--stun-port", "0"];
    let (code, message) = failure(&[&ports[..], &others].concat()).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        message,
        format!(
            "relay: TCP port {http} on 127.0.0.1 (--http-port), UDP port {webrtc} on 127.0.0.1 (--webrtc-port) are \
             already in use: choose other ports with these flags, or free ones with 0\n"
        )
    );
    running.stop("-TERM").await;
}

#[tokio::test]
async fn damaged_identity_is_reported_in_one_line() {
    let folder = TestFolder::new();
    let key = folder.file("identity.key", "nonsense");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let data = text_of(folder.path());
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
    assert_eq!(message.matches("os error").count(), 1, "{message}");
}

/// Writes a configuration file.
fn config_file(folder: &TestFolder, content: &str) -> PathBuf {
    folder.file("relay.toml", content)
}

#[tokio::test]
async fn bad_configuration_is_reported_in_one_line() {
    let folder = TestFolder::new();
    for (content, expected) in [
        ("max-tab = 7", "relay.toml: there is no setting \"max-tab\""),
        (
            "max-tabs = 0",
            "relay.toml: invalid value '0' for '--max-tabs <N>'",
        ),
        (
            "max-tabs = [7]",
            "relay.toml: max-tabs must be a text or a number",
        ),
        ("max-tabs = ", "relay.toml: line 1: "),
        (
            "log-filter = 'x=loud'",
            "--log-filter \"x=loud\" is not a filter",
        ),
    ] {
        let path = config_file(&folder, content);
        let (code, message) = failure(&["--config", text_of(&path)]).await;
        assert_eq!(code, Some(1), "{content}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    // A mistake in a variable is not the file's.
    let path = config_file(&folder, "http-port = 1");
    let mut command = command(&["--config", text_of(&path)]);
    let (code, message) = failure_of(command.env("HEARTCHAIN_MAX_TABS", "many")).await;
    assert_eq!(code, Some(1));
    let expected = "relay: invalid value 'many' for '--max-tabs <N>'";
    assert!(message.starts_with(expected), "{message}");

    for flags in [
        &["--config", "/no/such/file"][..],
        &["--max-tabs", "many"],
        &["--metrics-listen", "9090"],
        &["--no-such-flag"],
    ] {
        let (code, message) = failure(flags).await;
        assert_eq!(code, Some(1), "{flags:?}");
        assert!(message.starts_with("relay: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[tokio::test]
async fn metrics_port_in_use_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (code, message) = failure(&["--seed", "1", "--metrics-listen", &address]).await;
    assert_eq!(code, Some(1));
    let expected = format!("relay: cannot serve metrics on {address} (--metrics-listen): ");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(message.lines().count(), 1);
    assert_eq!(message.matches("os error").count(), 1, "{message}");
}

#[tokio::test]
async fn data_folder_has_one_relay_at_a_time() {
    let folder = TestFolder::new();
    let running = run(folder.path()).await;
    let data = text_of(folder.path());
    let (code, message) = failure(&["--data-dir", data]).await;
    assert_eq!(code, Some(1));
    let expected = format!("relay: another relay uses the data folder {data}: ");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    running.stop("-TERM").await;
    run(folder.path()).await.stop("-TERM").await;
}

/// Starts a relay with these flags and variables, and returns it with its standard error.
async fn run_logged(
    folder: &TestFolder,
    flags: &[&str],
    variables: &[(&str, &str)],
) -> (Running, Lines<BufReader<ChildStderr>>) {
    let data = text_of(folder.path());
    let ports = "--http-port 0 --webrtc-port 0 --stun-port 0";
    let flags: Vec<&str> = ports
        .split(' ')
        .chain(["--data-dir", data])
        .chain(flags.iter().copied())
        .collect();
    let mut command = command(&flags);
    command.envs(variables.iter().copied());
    let mut child = command.spawn().expect("it starts");
    let stderr = child.stderr.take().expect("it is piped");
    (Running::read(child).await, BufReader::new(stderr).lines())
}

/// The next line of the log that contains this text.
async fn logged(log: &mut Lines<BufReader<ChildStderr>>, text: &str) -> String {
    loop {
        let line = timeout(PATIENCE, log.next_line()).await;
        let line = line.expect("in time").expect("text").expect("more to say");
        if line.contains(text) {
            return line;
        }
    }
}

#[tokio::test]
async fn readable_key_is_warned_about() {
    let folder = TestFolder::new();
    let source = IdentitySource::Folder(folder.path().to_owned());
    Identity::load(&source).expect("a new folder");
    let key = folder.path().join("identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (running, mut log) = run_logged(&folder, &[], &[]).await;
    let line = logged(&mut log, "chmod 600").await;
    assert!(line.contains("identity.key"), "{line}");
    running.stop("-TERM").await;
}

#[tokio::test]
async fn hangup_reads_the_configuration_again() {
    let folder = TestFolder::new();
    let config = config_file(&folder, "max-tabs = 20\nlog-filter = 'info'\n");
    let flags = [
        "--config",
        text_of(&config),
        "--log-format",
        "json",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let (running, mut log) = run_logged(&folder, &flags, &[]).await;
    let id = running.child.id().expect("it runs").to_string();
    let hang_up = async || {
        let sent = Command::new("kill").args(["-HUP", &id]).status().await;
        assert!(sent.expect("there is a kill").success());
    };
    config_file(&folder, "max-tabs = 30\nlog-filter = 'info'\n");
    hang_up().await;
    let line = logged(&mut log, "was read again").await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["fields"]["max_tabs"], 30, "{line}");

    config_file(&folder, "max-tabs = 'x'\n");
    hang_up().await;
    let line = logged(&mut log, "stays as it is").await;
    assert!(line.contains("relay.toml"), "{line}");

    // All of it, also what precedes the mistake.
    config_file(&folder, "max-tabs = 35\nlog-filter = 'x=loud'\n");
    hang_up().await;
    let line = logged(&mut log, "stays as it is").await;
    assert!(line.contains("x=loud"), "{line}");
    let metrics = metrics_of(&running).await;
    assert!(
        metrics.contains("heartchain_relay_max_tabs 30\n"),
        "{metrics}"
    );

    config_file(
        &folder,
        "max-tabs = 40\nhttp-port = 1\nlog-filter = 'info'\nstun-port = 1\n",
    );
    hang_up().await;
    logged(&mut log, "was read again").await;
    config_file(&folder, "page = '/elsewhere'\nlog-filter = 'info'\n");
    hang_up().await;
    logged(&mut log, "need a restart").await;
    running.stop("-TERM").await;
}

#[tokio::test]
async fn environment_and_file_stand_for_flags() {
    let folder = TestFolder::new();
    let config = config_file(&folder, "max-tabs = 20\nmetrics-listen = '127.0.0.1:0'\n");
    let variables = [("HEARTCHAIN_CONFIG", text_of(&config))];
    let (running, _log) = run_logged(&folder, &[], &variables).await;
    let metrics = metrics_of(&running).await;
    assert!(
        metrics.contains("heartchain_relay_max_tabs 20\n"),
        "{metrics}"
    );
    running.stop("-TERM").await;

    let variables = [variables[0], ("HEARTCHAIN_MAX_TABS", "21")];
    let (running, _log) = run_logged(&folder, &[], &variables).await;
    let metrics = metrics_of(&running).await;
    assert!(
        metrics.contains("heartchain_relay_max_tabs 21\n"),
        "{metrics}"
    );
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "heartchain_relay_reservations",
        "heartchain_relay_handshakes_evicted_total",
        "heartchain_relay_webrtc_refused_total",
        "heartchain_relay_webrtc_panicked_total",
    ] {
        let line = metrics.lines().find(|line| line.starts_with(name));
        assert!(line.is_some(), "no {name} in {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    running.stop("-TERM").await;

    let (running, _log) = run_logged(&folder, &["--max-tabs", "22"], &variables).await;
    let metrics = metrics_of(&running).await;
    assert!(
        metrics.contains("heartchain_relay_max_tabs 22\n"),
        "{metrics}"
    );
    running.stop("-TERM").await;
}

/// Requests the metrics, and checks that the response is as Prometheus expects it.
async fn metrics_of(running: &Running) -> String {
    let url = running.metrics.as_deref().expect("it serves metrics");
    let response = get(socket_of(url), "/metrics", &[]).await;
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").expect("a type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    response.text().to_owned()
}

#[tokio::test]
async fn too_few_files_are_warned_about() {
    let folder = TestFolder::new();
    let data = text_of(folder.path());
    let script = format!(
        "ulimit -n 200 && exec {} --max-tabs 500 --data-dir {data} \
         --http-port 0 --webrtc-port 0 --stun-port 0",
        env!("CARGO_BIN_EXE_relay"),
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("there is a shell");
    let stderr = child.stderr.take().expect("it is piped");
    let mut log = BufReader::new(stderr).lines();
    let line = logged(&mut log, "open files").await;
    assert!(line.contains("the system allows 200"), "{line}");
    Running::read(child).await.stop("-TERM").await;
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
    let folder = TestFolder::new();
    let running = run(folder.path()).await;
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
    let folder = TestFolder::new();
    let (certificate, key) = Authority::new().issue(&["hearts.example"]);
    let certificate = folder.file("cert.pem", certificate);
    let key = folder.file("key.pem", key);
    let tls = [
        "--tls-cert",
        text_of(&certificate),
        "--tls-key",
        text_of(&key),
    ];
    let mut running = run_with(folder.path(), &tls).await;
    assert!(running.page.starts_with("https://hearts.example:"));
    let stderr = running.child.stderr.take().expect("it is piped");
    let mut errors = BufReader::new(stderr).lines();

    folder.file("key.pem", "nonsense");
    let id = running.child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-HUP", &id]).status().await;
    assert!(sent.expect("there is a kill").success());
    let line = logged(&mut errors, "contains no private key").await;
    assert!(
        line.contains("keeps using the certificate from before"),
        "{line}"
    );
    running.stop("-TERM").await;
}

#[tokio::test]
async fn lists_of_relays_that_differ_are_logged() {
    let (first, second) = (TestFolder::new(), TestFolder::new());
    let other = run(first.path()).await;
    let file = format!("with = [{:?}, \"http://localhost:1\"]", other.page);
    let file = second.file("relay.toml", file);
    let flags = ["--config", text_of(&file)];
    let (running, mut log) = run_logged(&second, &flags, &[]).await;
    let line = logged(&mut log, "lists other relays").await;
    assert!(
        line.contains(&other.page) && line.contains(&running.page),
        "{line}"
    );
    let line = logged(&mut log, "cannot compare").await;
    assert!(
        line.contains("http://127.0.0.1:1/: cannot connect"),
        "{line}"
    );
    running.stop("-TERM").await;
    other.stop("-TERM").await;
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
        "--with",
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
        "--max-tabs",
        "--metrics-listen",
        "--log-format",
        "--log-filter",
        "--config",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}
