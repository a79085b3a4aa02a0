//! The command-line flags, their help texts, and their conversion into a [`Config`].
#![allow(
    rustdoc::bare_urls,
    reason = "the documentation of a flag is its help text"
)]

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    str::FromStr,
};

use clap::Parser;
use directories::ProjectDirs;
use disk_limit::DiskLimit;
use ipnet::IpNet;
use url::Url;

use crate::{
    announce::{Announce, MAX_ANNOUNCED},
    authority::Host,
    config::Config,
    deployment::{MAX_RELAYS, RelayUrl},
    identity::IdentitySource,
    kept_room::MAX_KEPT_ROOMS,
    operations::OperationFlags,
    origins::MAX_ORIGINS,
    tls::{AcmeConfig, TlsSource},
};

/// Connects Heartchain tabs with each other and serves the page. It never sees a reading.
///
/// Start the relay, open the printed address in several tabs, and record a heart rate in one of them.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 100)]
pub struct Cli {
    /// IP address to listen on (repeatable).
    ///
    /// Use 127.0.0.1 for tabs on this computer only. Use 0.0.0.0 (or :: for IPv6, too) to also let in phones and computers
    /// on the same network. Without TLS their browsers block heart-rate straps, starting offline and copying links.
    #[arg(long, value_name = "IP", default_values_t = [IpAddr::V4(Ipv4Addr::LOCALHOST)])]
    pub listen_ip: Vec<IpAddr>,

    /// TCP port of the page and of libp2p over WebSocket (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::HTTP_PORT)]
    pub http_port: u16,

    /// UDP port for libp2p over WebRTC-direct (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::WEBRTC_PORT)]
    pub webrtc_port: u16,

    /// UDP port for STUN, which tells tabs their public address (0 picks a free port).
    #[arg(long, value_name = "PORT", default_value_t = Config::STUN_PORT)]
    pub stun_port: u16,

    /// Address to announce to tabs, if it is not the one that the relay listens on (repeatable).
    ///
    /// Behind a proxy, the URL of the page, such as https://hearts.example or https://example.org/hearts. Behind NAT also
    /// multiaddrs, such as /ip4/203.0.113.7/udp/8082/webrtc-direct, and /ip4/203.0.113.7/udp/3478 for STUN.
    #[arg(long, value_name = "URL|MULTIADDR")]
    pub announce: Vec<String>,

    /// URL of another relay of the same deployment, such as https://b.hearts.example (repeatable).
    ///
    /// Tabs of a room use two of these relays, and move to others while one is down. Give each relay the same list; it may
    /// include the relay itself. Each also needs its own URL in --announce.
    #[arg(long, value_name = "URL")]
    pub with: Vec<String>,

    /// Network of proxies that may say who a client is, such as 127.0.0.1/32 (repeatable; none by default).
    ///
    /// The relay then believes their X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host headers and the PROXY protocol
    /// (version 2), and limits each client instead of the proxy.
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,

    /// Origin of another page that may connect to this relay, such as https://friend.example, or * for all (repeatable).
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,

    /// Serve https with the certificate in this PEM file. It is read again when it changes, and on SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key for --tls-cert.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Serve https with a certificate authority of the relay's own, for a local network such as a classroom's.
    ///
    /// Each device installs its certificate once. The relay explains how when it is opened with http.
    #[arg(long)]
    pub tls_self_signed: bool,

    /// Serve https with a certificate for this domain from Let's Encrypt (repeatable).
    ///
    /// Port 443 of the domain must lead to this relay.
    #[arg(long, value_name = "DOMAIN")]
    pub acme: Vec<String>,

    /// Mail address to which the authority sends warnings (repeatable).
    #[arg(long, value_name = "MAIL")]
    pub acme_contact: Vec<String>,

    /// URL of another authority's ACME directory, such as that of a test.
    #[arg(long, value_name = "URL")]
    pub acme_directory: Option<String>,

    /// PEM file with the root certificate of the server of --acme-directory, if it is not publicly trusted.
    #[arg(long, value_name = "FILE")]
    pub acme_ca: Option<PathBuf>,

    /// Keep a room on this computer's disk: its name, its link, or the commitment of a private room (repeatable).
    ///
    /// Starts the program `keeper` beside the relay for each, with its files in --data-dir. The link of a private room has its
    /// key: give the commitment to keep the room without being able to read it.
    #[arg(long, value_name = "ROOM")]
    pub keep: Vec<String>,

    /// The most that all rooms of --keep may take on the disk together, such as 512M or 16G [default: 16G].
    ///
    /// At this size keepers keep nothing new, and go on serving what they have.
    #[arg(long, value_name = "SIZE")]
    pub max_disk: Option<DiskLimit>,

    /// Serve the page from this folder, for work on it.
    ///
    /// A change of its scripts and style sheets needs only a reload. The wasm still is the one that was built into the
    /// relay.
    #[arg(long, value_name = "FOLDER")]
    pub page: Option<PathBuf>,

    /// Ask the relay at this URL whether it works, such as http://127.0.0.1:8080/healthz, and exit.
    #[arg(long, value_name = "URL")]
    pub check_health: Option<String>,

    /// Folder for the relay's key and certificate.
    ///
    /// Both are created on the first run, and keep the relay's addresses the same after a restart. The default is the
    /// platform's folder for application data, such as ~/.local/share/heartchain.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Derive the key from this number. For tests only: anyone who knows the number can impersonate the relay.
    ///
    /// The certificate is stored in --data-dir if given. Otherwise every start generates a new one.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// The flags for operators.
    #[command(flatten)]
    pub operations: OperationFlags,
}

/// Why the flags do not result in a valid configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The platform has no folder for application data, for example because there is no home folder.
    #[error("this system has no folder for application data: choose one with --data-dir")]
    NoDataFolder,
    /// A value of a flag cannot be used.
    #[error("{flag} {value:?}: {reason}")]
    BadValue {
        /// The flag with the value.
        flag: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A flag is repeated too often.
    #[error("{flag} may be given {max} times at most")]
    TooMany {
        /// The flag that is repeated.
        flag: &'static str,
        /// The highest number of times.
        max: usize,
    },
    /// A flag has no effect without another one.
    #[error("{flag} needs {needed}")]
    Needs {
        /// The flag that was given.
        flag: &'static str,
        /// The flag that is missing.
        needed: &'static str,
    },
    /// Two flags contradict each other.
    #[error("{first} and {second} contradict each other: give one of them")]
    Contradiction {
        /// The flag that is named first.
        first: &'static str,
        /// The flag that contradicts it.
        second: &'static str,
    },
}

/// Addresses to listen on. A computer has several network interfaces, with a few addresses each.
const MAX_LISTEN_IPS: usize = 16;
/// Trusted networks: those of a large provider of proxies.
const MAX_TRUSTED_PROXIES: usize = 64;
/// Domains of one certificate, the limit of Let's Encrypt.
const MAX_DOMAINS: usize = 100;
/// Mail addresses of operators.
const MAX_CONTACTS: usize = 8;

impl TryFrom<Cli> for Config {
    type Error = CliError;

    fn try_from(cli: Cli) -> Result<Self, CliError> {
        let announce = parse_all("--announce", &cli.announce, MAX_ANNOUNCED, parse_plainly)?;
        let allowed_origins = parse_all(
            "--allow-origin",
            &cli.allow_origin,
            MAX_ORIGINS,
            parse_plainly,
        )?;
        let trusted_proxies = parse_all(
            "--trusted-proxy",
            &cli.trusted_proxy,
            MAX_TRUSTED_PROXIES,
            parse_network,
        )?;
        let tls = tls_source(&cli)?;
        let with = parse_all("--with", &cli.with, MAX_RELAYS, parse_plainly)?;
        check_own_url(&cli, &with, &announce, tls.is_some())?;
        at_most("--listen-ip", &cli.listen_ip, MAX_LISTEN_IPS)?;
        let keep = parse_all("--keep", &cli.keep, MAX_KEPT_ROOMS, parse_plainly)?;
        if cli.max_disk.is_some() && keep.is_empty() {
            return Err(CliError::Needs {
                flag: "--max-disk",
                needed: "--keep",
            });
        }
        let identity = match (cli.seed, cli.data_dir) {
            (Some(seed), folder) => IdentitySource::Seed { seed, folder },
            (None, Some(folder)) => IdentitySource::Folder(folder),
            (None, None) => {
                let folders =
                    ProjectDirs::from("", "", "heartchain").ok_or(CliError::NoDataFolder)?;
                IdentitySource::Folder(folders.data_dir().to_owned())
            }
        };
        Ok(Self {
            listen_ips: cli.listen_ip,
            http_port: cli.http_port,
            webrtc_port: cli.webrtc_port,
            stun_port: cli.stun_port,
            page: cli.page,
            announce,
            with,
            keep,
            max_disk: cli.max_disk,
            trusted_proxies,
            allowed_origins,
            tls,
            limits: cli.operations.limits(),
            metrics_listen: cli.operations.metrics_listen,
            ..Self::new(identity)
        })
    }
}

/// Other relays list this one by its URL, so it must be known, and tabs must be able to use the URLs of all.
fn check_own_url(
    cli: &Cli,
    with: &[RelayUrl],
    announce: &[Announce],
    tls: bool,
) -> Result<(), CliError> {
    let announced = announce.iter().any(Announce::is_page);
    if !with.is_empty() && !announced && !cli.listen_ip.iter().all(IpAddr::is_loopback) {
        return Err(CliError::Needs {
            flag: "--with",
            needed: "--announce with this relay's own https URL",
        });
    }
    let secure = announced || tls;
    let other = with.iter().find(|url| url.is_secure() != secure);
    other.map_or(Ok(()), |url| {
        let scheme = if secure { "https" } else { "http" };
        Err(CliError::BadValue {
            flag: "--with",
            value: url.to_string(),
            reason: format!("it must begin with {scheme}://, as this relay's own URL does"),
        })
    })
}

fn at_most<T>(flag: &'static str, values: &[T], max: usize) -> Result<(), CliError> {
    if values.len() > max {
        return Err(CliError::TooMany { flag, max });
    }
    Ok(())
}

/// Parses all values of a flag with `parse`, whose error says what is wrong with one.
fn parse_all<T>(
    flag: &'static str,
    values: &[String],
    max: usize,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, CliError> {
    at_most(flag, values, max)?;
    let parse = |value: &String| {
        parse(value).map_err(|reason| CliError::BadValue {
            flag,
            value: value.clone(),
            reason,
        })
    };
    values.iter().map(parse).collect()
}

fn parse_plainly<T: FromStr<Err: Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

fn parse_network(value: &str) -> Result<IpNet, String> {
    let reason = "it is no network in CIDR notation, such as 127.0.0.1/32 or 10.0.0.0/8";
    value.parse().map_err(|_| reason.to_owned())
}

fn parse_domain(value: &str) -> Result<String, String> {
    match Host::parse_name(value) {
        Some(Host::Name(name)) if name.contains('.') => Ok(name),
        _ => Err("it is no domain, such as hearts.example".to_owned()),
    }
}

fn parse_mail(value: &str) -> Result<String, String> {
    let is_mail = value
        .split_once('@')
        .is_some_and(|(user, domain)| !user.is_empty() && Host::parse_name(domain).is_some());
    if is_mail && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(value.to_owned());
    }
    Err("it is no mail address".to_owned())
}

/// Where the certificate comes from, according to the flags.
fn tls_source(cli: &Cli) -> Result<Option<TlsSource>, CliError> {
    let (has_files, has_acme) = (
        cli.tls_cert.is_some() || cli.tls_key.is_some(),
        !cli.acme.is_empty(),
    );
    let contradiction = |first, second| Err(CliError::Contradiction { first, second });
    match (has_files, cli.tls_self_signed, has_acme) {
        (true, true, _) => return contradiction("--tls-cert", "--tls-self-signed"),
        (true, _, true) => return contradiction("--tls-cert", "--acme"),
        (_, true, true) => return contradiction("--tls-self-signed", "--acme"),
        _ => {}
    }
    let needs = |flag, needed| Err(CliError::Needs { flag, needed });
    if !has_acme {
        for (is_given, flag) in [
            (!cli.acme_contact.is_empty(), "--acme-contact"),
            (cli.acme_directory.is_some(), "--acme-directory"),
            (cli.acme_ca.is_some(), "--acme-ca"),
        ] {
            if is_given {
                return needs(flag, "--acme");
            }
        }
    }
    if has_acme {
        return acme_config(cli).map(|config| Some(TlsSource::Acme(config)));
    }
    match (&cli.tls_cert, &cli.tls_key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsSource::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        (Some(_), None) => needs("--tls-cert", "--tls-key"),
        (None, Some(_)) => needs("--tls-key", "--tls-cert"),
        (None, None) => Ok(cli.tls_self_signed.then_some(TlsSource::LocalAuthority)),
    }
}

fn acme_config(cli: &Cli) -> Result<AcmeConfig, CliError> {
    let domains = parse_all("--acme", &cli.acme, MAX_DOMAINS, parse_domain)?;
    let contacts = parse_all(
        "--acme-contact",
        &cli.acme_contact,
        MAX_CONTACTS,
        parse_mail,
    )?;
    if let Some(url) = &cli.acme_directory
        && Url::parse(url).map_or(true, |url| url.scheme() != "https")
    {
        return Err(CliError::BadValue {
            flag: "--acme-directory",
            value: url.clone(),
            reason: "it is no https URL".to_owned(),
        });
    }
    Ok(AcmeConfig {
        domains,
        contacts,
        directory: cli.acme_directory.clone(),
        directory_ca: cli.acme_ca.clone(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::limits::Limits;

    fn config(flags: &[&str]) -> Config {
        let flags = ["relay"].iter().chain(flags);
        let cli = Cli::try_parse_from(flags).expect("good flags");
        Config::try_from(cli).expect("a data folder")
    }

    #[test]
    fn flags_are_well_formed() {
        Cli::command().debug_assert();
    }

    fn error(flags: &str) -> CliError {
        let flags = ["relay", "--seed", "1"].into_iter().chain(flags.split(' '));
        let cli = Cli::try_parse_from(flags).expect("known flags");
        Config::try_from(cli).expect_err("unsuitable flags")
    }

    #[test]
    fn every_flag_reaches_the_config() {
        let flags = "--listen-ip 0.0.0.0 --listen-ip ::1 --http-port 1 --webrtc-port 3 --stun-port 4 --page /p --data-dir /d \
                     --announce https://a.example --with https://b.example --trusted-proxy 10.0.0.0/8 --allow-origin * --tls-cert /c --tls-key /k --max-tabs 1000 --keep lobby --max-disk 4G";
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let given = config(&flags);
        let expected = Config {
            listen_ips: vec!["0.0.0.0", "::1"]
                .into_iter()
                .map(|ip| ip.parse().expect("an address"))
                .collect(),
            http_port: 1,
            webrtc_port: 3,
            stun_port: 4,
            page: Some("/p".into()),
            announce: vec!["https://a.example".parse().expect("a URL")],
            with: vec!["https://b.example".parse().expect("a URL")],
            keep: vec!["lobby".parse().expect("a room")],
            max_disk: Some("4G".parse().expect("a size")),
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a CIDR")],
            allowed_origins: vec!["*".parse().expect("an origin")],
            tls: Some(TlsSource::Files {
                certificate: "/c".into(),
                key: "/k".into(),
            }),
            ..Config::new(IdentitySource::Folder("/d".into()))
        };
        assert_eq!(given, expected);

        let flags = ["--max-tabs", "40", "--metrics-listen", "[::1]:9090"];
        let given = config(&flags);
        assert_eq!(given.limits, Limits::for_tabs(40));
        assert_eq!(
            given.metrics_listen,
            Some(([0, 0, 0, 0, 0, 0, 0, 1], 9090).into())
        );

        let seeded = config(&["--seed", "7", "--data-dir", "/d", "--tls-self-signed"]);
        let folder = Some("/d".into());
        assert_eq!(seeded.identity, IdentitySource::Seed { seed: 7, folder });
        assert_eq!(seeded.tls, Some(TlsSource::LocalAuthority));

        let flags = "--acme A.example --acme-contact me@a.example --acme-directory https://b.example --acme-ca /a";
        let acme = config(&flags.split(' ').collect::<Vec<_>>());
        let expected = AcmeConfig {
            domains: vec!["a.example".to_owned()],
            contacts: vec!["me@a.example".to_owned()],
            directory: Some("https://b.example".to_owned()),
            directory_ca: Some("/a".into()),
        };
        assert_eq!(acme.tls, Some(TlsSource::Acme(expected)));
    }

    #[test]
    fn defaults_are_loopback_and_fixed_ports() {
        let seeded = config(&["--seed", "7"]);
        assert_eq!(seeded.listen_ips, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let ports = (seeded.http_port, seeded.webrtc_port, seeded.stun_port);
        assert_eq!(ports, (8080, 8082, 3478));
        assert_eq!(seeded.tls, None);
        assert!(seeded.limits.reservations >= 1_000);
        assert_eq!(seeded.metrics_listen, None);
        assert!(seeded.announce.is_empty() && seeded.trusted_proxies.is_empty());
    }

    #[test]
    fn unsuitable_flags_give_one_clear_line() {
        for (flags, message) in [
            (
                "--announce http://hearts.example",
                "--announce \"http://hearts.example\": the URL must begin with https://",
            ),
            (
                "--trusted-proxy nginx",
                "--trusted-proxy \"nginx\": it is no network in CIDR notation, such as 127.0.0.1/32 or 10.0.0.0/8",
            ),
            (
                "--allow-origin hearts.example",
                "--allow-origin \"hearts.example\": an origin is a scheme and a host, such as https://hearts.example, or * for every page",
            ),
            (
                "--with hearts.example",
                "--with \"hearts.example\": it is no URL of a relay's page, such as https://b.hearts.example; http is for relays on this computer",
            ),
            (
                "--with http://b.example",
                "--with \"http://b.example\": it is no URL of a relay's page, such as https://b.hearts.example; http is for relays on this computer",
            ),
            (
                "--listen-ip 0.0.0.0 --with https://b.example",
                "--with needs --announce with this relay's own https URL",
            ),
            (
                "--with https://b.example",
                "--with \"https://b.example/\": it must begin with http://, as this relay's own URL does",
            ),
            (
                "--announce https://a.example --with http://127.0.0.1:8081",
                "--with \"http://127.0.0.1:8081/\": it must begin with https://, as this relay's own URL does",
            ),
            ("--max-disk 4G", "--max-disk needs --keep"),
            ("--tls-cert /c", "--tls-cert needs --tls-key"),
            ("--tls-key /k", "--tls-key needs --tls-cert"),
            (
                "--tls-cert /c --tls-key /k --tls-self-signed",
                "--tls-cert and --tls-self-signed contradict each other: give one of them",
            ),
            (
                "--tls-self-signed --acme a.example",
                "--tls-self-signed and --acme contradict each other: give one of them",
            ),
            ("--acme-contact a@b.example", "--acme-contact needs --acme"),
            (
                "--acme 192.0.2.1",
                "--acme \"192.0.2.1\": it is no domain, such as hearts.example",
            ),
            (
                "--acme a.example --acme-contact me",
                "--acme-contact \"me\": it is no mail address",
            ),
            (
                "--acme a.example --acme-directory http://b.example",
                "--acme-directory \"http://b.example\": it is no https URL",
            ),
        ] {
            assert_eq!(error(flags).to_string(), message);
        }
    }

    #[test]
    fn repeated_flags_are_limited() {
        for (flag, value, max) in [
            ("--announce", "https://a.example", MAX_ANNOUNCED),
            ("--trusted-proxy", "10.0.0.0/8", MAX_TRUSTED_PROXIES),
            ("--allow-origin", "*", MAX_ORIGINS),
            ("--listen-ip", "::1", MAX_LISTEN_IPS),
            ("--acme", "a.example", MAX_DOMAINS),
            ("--acme-contact", "a@a.example", MAX_CONTACTS),
        ] {
            let times = |count: usize| {
                let mut flags = vec!["relay", "--seed", "1"];
                if flag == "--acme-contact" {
                    flags.extend(["--acme", "a.example"]);
                }
                flags.extend([flag, value].repeat(count));
                Config::try_from(Cli::try_parse_from(flags).expect("known flags"))
            };
            assert!(times(max).is_ok(), "{flag}");
            let error = times(max + 1).expect_err("one too many");
            assert_eq!(error, CliError::TooMany { flag, max });
        }
    }

    #[test]
    fn invalid_values_are_rejected() {
        for flags in [
            ["--listen-ip", "localhost"],
            ["--http-port", "65536"],
            ["--webrtc-port", "-1"],
            ["--seed", "x"],
            ["--max-tabs", "0"],
            ["--max-tabs", "100001"],
            ["--max-disk", "16"],
            ["--max-disk", "1M"],
            ["--metrics-listen", "9090"],
            ["--log-format", "xml"],
            ["--no-such-flag", "1"],
            ["--ws-port", "8081"],
        ] {
            assert!(Cli::try_parse_from([&["relay"], &flags[..]].concat()).is_err());
        }
    }
}
