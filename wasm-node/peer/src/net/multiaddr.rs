//! A small parser for multiaddrs: it knows only the protocols of addresses that a browser can dial. The parser of the
//! `multiaddr` crate knows dozens more, with all their encodings, and adds 16 kB to every visitor's download. Whether
//! the parsed address can be dialed is decided in `address`.
//!
//! See <https://github.com/multiformats/multiaddr>.

use std::str::FromStr;

use heartchain_chain::base64url;
use libp2p::{Multiaddr, multiaddr::Protocol, multihash::Multihash};

/// Why a text cannot be parsed as a multiaddr that a browser could dial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// It does not begin with a slash.
    #[error("it does not begin with /")]
    NoSlash,
    /// A protocol that does not occur in addresses that browsers dial.
    #[error("/{0} is not known")]
    Unknown(String),
    /// A protocol without its value.
    #[error("/{0} needs a value")]
    NoValue(String),
    /// A protocol with an invalid value.
    #[error("{value} is not a valid value for /{name}")]
    BadValue {
        /// Name of the protocol, such as `tcp`.
        name: String,
        /// The value as given.
        value: String,
    },
}

/// Parses an address.
///
/// # Errors
/// If a part of the text is unknown or invalid.
pub(super) fn parse(text: &str) -> Result<Multiaddr, ParseError> {
    let mut segments = text.split('/');
    if segments.next() != Some("") {
        return Err(ParseError::NoSlash);
    }
    let mut address = Multiaddr::empty();
    while let Some(name) = segments.next() {
        let part = match name {
            "tls" => Protocol::Tls,
            "ws" => Protocol::Ws("/".into()),
            "wss" => Protocol::Wss("/".into()),
            "webrtc-direct" => Protocol::WebRTCDirect,
            "webrtc" => Protocol::WebRTC,
            "p2p-circuit" => Protocol::P2pCircuit,
            _ => {
                let no_value = || ParseError::NoValue(name.to_owned());
                with_value(name, segments.next().ok_or_else(no_value))?
            }
        };
        address.push(part);
    }
    Ok(address)
}

/// Parses a protocol that takes a value, which may be missing.
fn with_value<'a>(
    name: &str,
    value: Result<&'a str, ParseError>,
) -> Result<Protocol<'a>, ParseError> {
    Ok(match name {
        "ip4" => Protocol::Ip4(parse_value(name, value?)?),
        "ip6" => Protocol::Ip6(parse_value(name, value?)?),
        "dns" => Protocol::Dns(value?.into()),
        "dns4" => Protocol::Dns4(value?.into()),
        "dns6" => Protocol::Dns6(value?.into()),
        "tcp" => Protocol::Tcp(parse_value(name, value?)?),
        "udp" => Protocol::Udp(parse_value(name, value?)?),
        "p2p" => Protocol::P2p(parse_value(name, value?)?),
        "x-parity-ws" => {
            let value = value?;
            Protocol::Ws(path(value).ok_or_else(|| bad_value(name, value))?.into())
        }
        "certhash" => {
            let value = value?;
            Protocol::Certhash(certhash(value).ok_or_else(|| bad_value(name, value))?)
        }
        _ => return Err(ParseError::Unknown(name.to_owned())),
    })
}

fn parse_value<T: FromStr>(name: &str, value: &str) -> Result<T, ParseError> {
    value.parse().map_err(|_| bad_value(name, value))
}

fn bad_value(name: &str, value: &str) -> ParseError {
    ParseError::BadValue {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// Parses a multihash in base64url with the multibase prefix `u`, as the WebRTC-direct specification requires.
fn certhash(value: &str) -> Option<Multihash<64>> {
    Multihash::from_bytes(&base64url::decode(value.strip_prefix('u')?)?).ok()
}

/// Decodes the path of a WebSocket, in which slashes are escaped: `%2Fhearts%2F` is `/hearts/`.
///
/// It becomes a part of a URL after the port, so it must not change the host or end the path.
fn path(escaped: &str) -> Option<String> {
    let mut bytes = escaped.bytes();
    let mut path = Vec::new();
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from((high << 4) | low).ok()?
            }
            byte => byte,
        });
    }
    let is_path = path.first() == Some(&b'/')
        && path
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(byte));
    String::from_utf8(path).ok().filter(|_| is_path)
}
