//! The ICE user names with which clients of WebRTC-direct introduce themselves. A server learns its own user name and
//! password from the client's first packet:
//!
//! | | version 1 | version 2 |
//! |---|---|---|
//! | user name of the server, and its password | S = `libp2p+webrtc+v1/` and random characters | S = `libp2p+webrtc+v2/` and the client's password |
//! | user name of the client, and its password | S | its own |
//! | `USERNAME` from client to server | `S:S` | `S:` and the client's user name |
//!
//! Version 1 needs a browser that lets pages rewrite their session description; version 2 does not. This module never
//! sees a packet.

/// Characters of a password at least, in [RFC 8839](https://www.rfc-editor.org/rfc/rfc8839#section-5.4).
const MIN_PASSWORD_LEN: usize = 22;
/// Characters of a user name at least.
const MIN_UFRAG_LEN: usize = 4;
/// Characters of a user name or a password at most.
const MAX_LEN: usize = 256;

/// What all user names of WebRTC-direct begin with, except those of old go-libp2p.
const PREFIX: &str = "libp2p+webrtc+";
const PREFIX_V1: &str = "libp2p+webrtc+v1/";
const PREFIX_V2: &str = "libp2p+webrtc+v2/";

/// Random characters of a user name or password: more than 128 bits.
const RANDOM_LEN: usize = 32;

/// The version of the user names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The client rewrites its session description: both ends have the same user name.
    V1,
    /// The client keeps its own credentials, and the server's contain the client's password.
    V2,
}

/// A valid `USERNAME` of a client's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Username<'a> {
    /// The version that its form implies.
    pub version: Version,
    /// The user name of the server, which is also its password.
    pub server: &'a str,
    /// The user name of the client.
    pub client: &'a str,
}

/// Why a `USERNAME` is not one of WebRTC-direct.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsernameError {
    /// There is no colon in the text.
    #[error("there is no colon between two user names")]
    NoColon,
    /// A part is too short, too long, or contains characters that ICE does not allow.
    #[error(
        "a user name or password is too short or too long, or contains other characters than ICE allows"
    )]
    Characters,
    /// The prefix belongs to an unknown version.
    #[error("unknown version of WebRTC-direct")]
    Version,
    /// In version 1 both parts must be equal.
    #[error("the two user names of version 1 differ")]
    Different,
}

impl<'a> Username<'a> {
    /// Parses a `USERNAME`. Dialers of go-libp2p before 2024 send no prefix; their names count as version 1.
    ///
    /// # Errors
    /// If the name does not have the form of a known version.
    pub fn parse(text: &'a str) -> Result<Self, UsernameError> {
        let (server, client) = text.split_once(':').ok_or(UsernameError::NoColon)?;
        if !is_ice_text(server, MIN_PASSWORD_LEN) || !is_ice_text(client, MIN_UFRAG_LEN) {
            return Err(UsernameError::Characters);
        }
        let version = if let Some(password) = server.strip_prefix(PREFIX_V2) {
            if !is_ice_text(password, MIN_PASSWORD_LEN) {
                return Err(UsernameError::Characters);
            }
            Version::V2
        } else if server.starts_with(PREFIX_V1) || !server.starts_with(PREFIX) {
            if server != client {
                return Err(UsernameError::Different);
            }
            Version::V1
        } else {
            return Err(UsernameError::Version);
        };
        Ok(Self {
            version,
            server,
            client,
        })
    }
}

/// The credentials of both ends of a connection that this side dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialCredentials {
    /// User name and password of the server.
    pub(crate) server: String,
    /// User name of this side.
    pub(crate) client: String,
    /// Password of this side.
    pub(crate) password: String,
}

impl DialCredentials {
    /// New random credentials.
    pub(crate) fn random(version: Version) -> Self {
        match version {
            Version::V1 => {
                let server = format!("{PREFIX_V1}{}", random_text());
                Self {
                    client: server.clone(),
                    password: server.clone(),
                    server,
                }
            }
            Version::V2 => {
                let password = random_text();
                Self {
                    server: format!("{PREFIX_V2}{password}"),
                    client: random_text(),
                    password,
                }
            }
        }
    }

    /// The `USERNAME` of this side's packets.
    pub(crate) fn username(&self) -> String {
        format!("{}:{}", self.server, self.client)
    }

    /// The `USERNAME` of the server's packets: a server that is not ICE-lite sends checks of its own.
    pub(crate) fn username_of_server(&self) -> String {
        format!("{}:{}", self.client, self.server)
    }
}

fn random_text() -> String {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    rand::random::<[u8; RANDOM_LEN]>()
        .iter()
        .filter_map(|byte| CHARACTERS.get(usize::from(byte % 64)))
        .map(|character| char::from(*character))
        .collect()
}

/// Whether `text` is `min` to 256 of the characters that ICE allows.
fn is_ice_text(text: &str, min: usize) -> bool {
    (min..=MAX_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: &str = "abcdefghijklmnopqrstuv";

    #[test]
    fn both_versions_are_recognised() {
        let server = format!("{PREFIX_V1}abc+/9");
        let text = format!("{server}:{server}");
        let name = Username::parse(&text).expect("version 1");
        assert_eq!((name.version, name.server), (Version::V1, server.as_str()));

        let server = format!("{PREFIX_V2}{RANDOM}");
        let text = format!("{server}:abcd");
        let name = Username::parse(&text).expect("version 2");
        assert_eq!((name.version, name.server), (Version::V2, server.as_str()));
        assert_eq!(name.client, "abcd");
    }

    #[test]
    fn name_without_prefix_is_version_1() {
        let text = format!("{RANDOM}:{RANDOM}");
        let name = Username::parse(&text).expect("old go-libp2p");
        assert_eq!((name.version, name.server), (Version::V1, RANDOM));
        let short = &RANDOM[1..];
        let error = Username::parse(&format!("{short}:{short}")).map(|_| ());
        assert_eq!(error, Err(UsernameError::Characters));
    }

    #[test]
    fn other_names_are_refused() {
        let long = "a".repeat(MAX_LEN + 1);
        for (text, error) in [
            (String::new(), UsernameError::NoColon),
            (RANDOM.to_owned(), UsernameError::NoColon),
            (format!("{RANDOM}:other"), UsernameError::Different),
            (format!("{RANDOM}:abc"), UsernameError::Characters),
            (format!("{RANDOM}:ab\r\n"), UsernameError::Characters),
            (format!("{RANDOM}:{RANDOM}:x"), UsernameError::Characters),
            (format!("{long}:{long}"), UsernameError::Characters),
            (
                format!("{PREFIX_V2}short:abcdef"),
                UsernameError::Characters,
            ),
            (
                format!("{PREFIX_V1}{RANDOM}:{PREFIX_V1}y"),
                UsernameError::Different,
            ),
            (
                format!("{PREFIX}v3/{RANDOM}:{PREFIX}v3/{RANDOM}"),
                UsernameError::Version,
            ),
        ] {
            assert_eq!(Username::parse(&text).map(|_| ()), Err(error), "{text}");
        }
    }

    #[test]
    fn own_credentials_are_valid() {
        for version in [Version::V1, Version::V2] {
            let credentials = DialCredentials::random(version);
            let text = credentials.username();
            let name = Username::parse(&text).expect("well-formed");
            assert_eq!(name.version, version);
            assert_eq!(name.server, credentials.server);
            assert_ne!(credentials, DialCredentials::random(version));
        }
    }
}
