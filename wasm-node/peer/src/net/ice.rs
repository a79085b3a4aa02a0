//! STUN and TURN servers: STUN tells a tab its public address, and TURN relays traffic. URLs are validated here,
//! because one that the browser rejects would make it refuse every connection. This module never contacts a server.

/// STUN and TURN servers in use: Chromium warns at five.
pub const MAX_ICE_SERVERS: usize = 4;

/// A STUN or TURN server that browsers accept.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    url: String,
    /// User name and password; only for TURN.
    credentials: Option<(String, String)>,
}

/// Why a URL is not accepted as a STUN or TURN server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// Browsers reject the URL.
    #[error(
        "{0:?} is not a STUN or TURN server: one looks like stun:stun.example:3478 or turn:turn.example:3478?transport=tcp"
    )]
    Url(String),
    /// A TURN server without credentials, which it requires.
    #[error("the TURN server {0:?} needs a username and a credential")]
    Credentials(String),
}

/// Characters of an invalid text that an error repeats at most.
const MAX_SHOWN_CHARS: usize = 120;

impl IceServer {
    /// Validates a server URL: `stun:`, `stuns:`, `turn:` or `turns:`, a host, optionally a port, and for TURN
    /// optionally the transport.
    ///
    /// # Errors
    /// If browsers would reject the server.
    pub fn new(url: &str, credentials: Option<(String, String)>) -> Result<Self, IceServerError> {
        let shown = || url.chars().take(MAX_SHOWN_CHARS).collect::<String>();
        let bad_url = || IceServerError::Url(shown());
        let (scheme, rest) = url.split_once(':').ok_or_else(bad_url)?;
        let is_turn = matches!(scheme, "turn" | "turns");
        let host_port = match rest.split_once('?') {
            Some((host_port, "transport=udp" | "transport=tcp")) if is_turn => host_port,
            Some(_) => return Err(bad_url()),
            None => rest,
        };
        if !(is_turn || matches!(scheme, "stun" | "stuns")) || !is_host_port(host_port) {
            return Err(bad_url());
        }
        if is_turn && credentials.is_none() {
            return Err(IceServerError::Credentials(shown()));
        }
        Ok(Self {
            url: url.to_owned(),
            credentials: credentials.filter(|_| is_turn),
        })
    }

    /// The URL, unchanged.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// User name and password of a TURN server.
    pub fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_ref()
    }
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Credentials must not reach a log.
        f.debug_tuple("IceServer").field(&self.url).finish()
    }
}

/// Whether this is `host` or `host:port`.
fn is_host_port(host_port: &str) -> bool {
    let (host, port) = match host_port.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        Some(_) | None => (host_port, "3478"),
    };
    let is_name = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    let is_ip6 = |host: &str| {
        host.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
    };
    !host.is_empty()
        && (is_name(host) || is_ip6(host))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password() -> Option<(String, String)> {
        Some(("me".to_owned(), "secret".to_owned()))
    }

    #[test]
    fn valid_servers_are_accepted() {
        for url in [
            "stun:192.0.2.1:3478",
            "stun:[fd00::1]:1",
            "stun:relay.example",
            "stuns:relay.example:5349",
        ] {
            let server = IceServer::new(url, None).expect(url);
            assert_eq!((server.url(), server.credentials()), (url, None));
        }
        for url in [
            "turn:192.0.2.1",
            "turns:relay.example:443?transport=tcp",
            "turn:[fd00::1]?transport=udp",
        ] {
            let server = IceServer::new(url, password()).expect(url);
            assert_eq!(
                (server.url(), server.credentials()),
                (url, password().as_ref())
            );
            assert!(!format!("{server:?}").contains("secret"));
        }
    }

    #[test]
    fn invalid_url_is_refused_with_a_short_error() {
        for url in [
            "",
            "stun",
            "stun:",
            "stun::1",
            "stun:a b:1",
            "stun:x:0",
            "stun:x:99999",
            "stun:x?transport=tcp",
            "turn:x?transport=sctp",
            "http://x",
            "stun:[fd00::1",
        ] {
            assert_eq!(
                IceServer::new(url, password()),
                Err(IceServerError::Url(url.to_owned())),
                "{url}"
            );
        }
        let long = IceServer::new(&"x".repeat(10_000), None).expect_err("no URL");
        assert!(long.to_string().len() < 300);
    }

    #[test]
    fn turn_without_credentials_is_refused() {
        let error = IceServer::new("turn:x", None).expect_err("no credentials");
        assert_eq!(error, IceServerError::Credentials("turn:x".to_owned()));
    }
}
