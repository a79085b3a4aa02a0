//! Multiaddrs as text, as far as browsers dial them: from the parts that such an address can have. The library's own reader
//! knows dozens more, with all their alphabets, which every visitor would download (16 kB). Never says what can be dialled.
//!
//! See <https://github.com/multiformats/multiaddr>.

use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use libp2p::{Multiaddr, multiaddr::Protocol, multihash::Multihash};

/// Why a text is no multiaddr that a browser could dial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// It does not begin like one.
    #[error("it does not begin with /")]
    NoSlash,
    /// No address that a browser dials has such a part.
    #[error("/{0} is not known")]
    Unknown(String),
    /// A part ends too early.
    #[error("/{0} needs a value")]
    NoValue(String),
    /// A part has a value that it cannot have.
    #[error("/{name} has no such value as {value}")]
    BadValue {
        /// The part.
        name: String,
        /// What was given.
        value: String,
    },
}

/// Reads an address.
///
/// # Errors
/// Says which part cannot be read.
pub(super) fn read(text: &str) -> Result<Multiaddr, ReadError> {
    let mut words = text.split('/');
    if words.next() != Some("") {
        return Err(ReadError::NoSlash);
    }
    let mut address = Multiaddr::empty();
    while let Some(name) = words.next() {
        let part = match name {
            "tls" => Protocol::Tls,
            "ws" => Protocol::Ws("/".into()),
            "wss" => Protocol::Wss("/".into()),
            "webrtc-direct" => Protocol::WebRTCDirect,
            "webrtc" => Protocol::WebRTC,
            "p2p-circuit" => Protocol::P2pCircuit,
            _ => {
                let no_value = || ReadError::NoValue(name.to_owned());
                with_value(name, words.next().ok_or_else(no_value))?
            }
        };
        address.push(part);
    }
    Ok(address)
}

/// A part that has a value, which may be missing.
fn with_value<'a>(
    name: &str,
    value: Result<&'a str, ReadError>,
) -> Result<Protocol<'a>, ReadError> {
    Ok(match name {
        "ip4" => Protocol::Ip4(parsed(name, value?)?),
        "ip6" => Protocol::Ip6(parsed(name, value?)?),
        "dns" => Protocol::Dns(value?.into()),
        "dns4" => Protocol::Dns4(value?.into()),
        "dns6" => Protocol::Dns6(value?.into()),
        "tcp" => Protocol::Tcp(parsed(name, value?)?),
        "udp" => Protocol::Udp(parsed(name, value?)?),
        "p2p" => Protocol::P2p(parsed(name, value?)?),
        "certhash" => {
            let value = value?;
            Protocol::Certhash(certhash(value).ok_or_else(|| bad(name, value))?)
        }
        _ => return Err(ReadError::Unknown(name.to_owned())),
    })
}

fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, ReadError> {
    value.parse().map_err(|_| bad(name, value))
}

fn bad(name: &str, value: &str) -> ReadError {
    ReadError::BadValue {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A multihash in base64url, the multibase (`u`) that the specification of WebRTC-direct asks for.
fn certhash(value: &str) -> Option<Multihash<64>> {
    let bytes = BASE64URL_NOPAD.decode(value.strip_prefix('u')?.as_bytes());
    Multihash::from_bytes(&bytes.ok()?).ok()
}
