//! Servers that help two tabs to find a direct way: STUN, which tells a tab its public address, and TURN, which
//! forwards. Only what browsers take: one bad URL would make them refuse every connection. Never asks a server.

/// A server, as browsers take it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IceServer {
    url: String,
    /// User name and password, which TURN asks for.
    credentials: Option<(String, String)>,
}

/// Why something is no such server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IceServerError {
    /// No URL that a browser takes.
    #[error(
        "{0:?} is no STUN or TURN server: one looks like stun:stun.example:3478 or turn:turn.example:3478?transport=tcp"
    )]
    Url(String),
    /// TURN forwards for those whom it knows.
    #[error("the TURN server {0:?} needs a username and a credential")]
    Credentials(String),
}

/// Characters of a foreign text that are repeated in an error.
const SHOWN: usize = 120;

impl IceServer {
    /// Reads a server: `stun:`, `stuns:`, `turn:` or `turns:`, a host, perhaps a port, and for TURN perhaps the transport.
    ///
    /// # Errors
    /// Says in words why browsers do not take it.
    pub(crate) fn new(
        url: &str,
        credentials: Option<(String, String)>,
    ) -> Result<Self, IceServerError> {
        let shown = || url.chars().take(SHOWN).collect::<String>();
        let refused = || IceServerError::Url(shown());
        let (scheme, rest) = url.split_once(':').ok_or_else(refused)?;
        let forwards = matches!(scheme, "turn" | "turns");
        let place = match rest.split_once('?') {
            Some((place, "transport=udp" | "transport=tcp")) if forwards => place,
            Some(_) => return Err(refused()),
            None => rest,
        };
        if !(forwards || matches!(scheme, "stun" | "stuns")) || !is_place(place) {
            return Err(refused());
        }
        if forwards && credentials.is_none() {
            return Err(IceServerError::Credentials(shown()));
        }
        Ok(Self {
            url: url.to_owned(),
            credentials: credentials.filter(|_| forwards),
        })
    }

    /// As it was given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// User name and password of a TURN server.
    pub(crate) fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_ref()
    }
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password is nobody's business.
        f.debug_tuple("IceServer").field(&self.url).finish()
    }
}

/// Whether this is `host` or `host:port`.
fn is_place(place: &str) -> bool {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        Some(_) | None => (place, "3478"),
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
    fn what_browsers_take_is_taken() {
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
    fn what_browsers_refuse_is_refused_in_words() {
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
    fn a_turn_server_without_credentials_is_refused() {
        let error = IceServer::new("turn:x", None).expect_err("forwards for nobody");
        assert_eq!(error, IceServerError::Credentials("turn:x".to_owned()));
    }
}
