//! STUN binding requests and answers ([RFC 8489](https://www.rfc-editor.org/rfc/rfc8489)), as far as ICE uses them.
//! A pure function of a datagram: nothing is kept between a request and its answer, which is how an ICE-lite server
//! resists floods.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Bytes of the header of a message.
const HEADER_LEN: usize = 20;
/// The value that every message contains.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// What the checksum of a message is combined with.
const FINGERPRINT_XOR: u32 = 0x5354_554E;
/// Bytes of a MESSAGE-INTEGRITY attribute, its header included.
const INTEGRITY_LEN: usize = 24;
/// Bytes of a FINGERPRINT attribute, its header included.
const FINGERPRINT_LEN: usize = 8;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802A;

/// The priority of a peer-reflexive candidate, as in [RFC 8445](https://www.rfc-editor.org/rfc/rfc8445#section-5.1.2).
const CANDIDATE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// A number that links an answer to its request.
pub type TransactionId = [u8; 12];

/// Whether the datagram can be a STUN message, by its first byte
/// ([RFC 7983](https://www.rfc-editor.org/rfc/rfc7983#section-7)).
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// A request whose integrity has not been verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingRequest<'a> {
    /// Links the answer to the request.
    pub transaction: TransactionId,
    /// The USERNAME attribute.
    pub username: &'a str,
    signed: Signed<'a>,
}

/// An answer whose integrity has not been verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingSuccess<'a> {
    /// That of the request.
    pub transaction: TransactionId,
    signed: Signed<'a>,
}

/// Why a datagram is not a request or answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StunError {
    /// The datagram is not a STUN message: its header is wrong, or its length differs from what the header says.
    #[error("not a STUN message")]
    Header,
    /// The message is of another kind.
    #[error("STUN message of kind {0:#06x}")]
    Kind(u16),
    /// An attribute extends beyond the message.
    #[error("a STUN attribute is longer than its message")]
    Truncated,
    /// The user name is not UTF-8.
    #[error("the user name of a STUN message is not UTF-8")]
    Username,
    /// An attribute that is required is missing.
    #[error("a STUN message has no user name or no integrity")]
    Missing,
}

impl<'a> BindingRequest<'a> {
    /// Parses a request. Attributes after MESSAGE-INTEGRITY are ignored, because they are not authenticated.
    ///
    /// # Errors
    /// If the datagram is not a complete request with a user name and integrity.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        let (transaction, mut attributes) = open(datagram, BINDING_REQUEST)?;
        let mut username = None;
        while let Some(attribute) = attributes.next()? {
            match attribute.kind {
                USERNAME => {
                    username =
                        Some(str::from_utf8(attribute.value).map_err(|_| StunError::Username)?);
                }
                MESSAGE_INTEGRITY => {
                    return Ok(Self {
                        transaction,
                        username: username.ok_or(StunError::Missing)?,
                        signed: Signed::new(datagram, &attribute)?,
                    });
                }
                _ => {}
            }
        }
        Err(StunError::Missing)
    }

    /// Whether the sender knows `password`.
    #[must_use]
    pub fn is_from(&self, password: &str) -> bool {
        self.signed.is_from(password)
    }
}

impl<'a> BindingSuccess<'a> {
    /// Parses an answer.
    ///
    /// # Errors
    /// If the datagram is not a complete answer with integrity.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        let (transaction, mut attributes) = open(datagram, BINDING_SUCCESS)?;
        while let Some(attribute) = attributes.next()? {
            if attribute.kind == MESSAGE_INTEGRITY {
                let signed = Signed::new(datagram, &attribute)?;
                return Ok(Self {
                    transaction,
                    signed,
                });
            }
        }
        Err(StunError::Missing)
    }

    /// Whether the sender knows `password`.
    #[must_use]
    pub fn is_from(&self, password: &str) -> bool {
        self.signed.is_from(password)
    }
}

/// Writes a request to nominate this path, from the side that controls ICE.
#[must_use]
pub fn binding_request(
    transaction: TransactionId,
    username: &str,
    password: &str,
    tie_breaker: u64,
) -> Vec<u8> {
    let mut message = header(BINDING_REQUEST, transaction);
    push(&mut message, USERNAME, username.as_bytes());
    push(&mut message, ICE_CONTROLLING, &tie_breaker.to_be_bytes());
    push(&mut message, USE_CANDIDATE, &[]);
    push(&mut message, PRIORITY, &CANDIDATE_PRIORITY.to_be_bytes());
    sign(message, password)
}

/// Writes the answer to a request that came from `observed`.
#[must_use]
pub fn binding_success(
    transaction: TransactionId,
    observed: SocketAddr,
    password: &str,
) -> Vec<u8> {
    let mut message = header(BINDING_SUCCESS, transaction);
    let key: Vec<u8> = MAGIC_COOKIE.into_iter().chain(transaction).collect();
    let (family, octets) = match observed.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let address = observed.port().to_be_bytes().into_iter().zip(key.iter());
    let address = address.chain(octets.into_iter().zip(key.iter()));
    let address: Vec<u8> = [0, family]
        .into_iter()
        .chain(address.map(|(byte, key)| byte ^ key))
        .collect();
    push(&mut message, XOR_MAPPED_ADDRESS, &address);
    sign(message, password)
}

/// What MESSAGE-INTEGRITY covers, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signed<'a> {
    covered: &'a [u8],
    code: &'a [u8],
}

impl<'a> Signed<'a> {
    fn new(datagram: &'a [u8], integrity: &Attribute<'a>) -> Result<Self, StunError> {
        let covered = datagram
            .get(..integrity.position)
            .ok_or(StunError::Truncated)?;
        Ok(Self {
            covered,
            code: integrity.value,
        })
    }

    /// The code covers the message up to itself, with a length in the header as if nothing followed it.
    fn is_from(&self, password: &str) -> bool {
        let Some(mac) = code(self.covered, password) else {
            return false;
        };
        mac.verify_slice(self.code).is_ok()
    }
}

fn code(covered: &[u8], password: &str) -> Option<Hmac<Sha1>> {
    let (kind, rest) = covered.split_at_checked(2)?;
    let (_, rest) = rest.split_at_checked(2)?;
    let length = u16::try_from(covered.len().checked_sub(HEADER_LEN)? + INTEGRITY_LEN).ok()?;
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).ok()?;
    mac.update(kind);
    mac.update(&length.to_be_bytes());
    mac.update(rest);
    Some(mac)
}

/// Checks the header, and returns what identifies and what makes up the message.
fn open(datagram: &[u8], wanted: u16) -> Result<(TransactionId, Attributes<'_>), StunError> {
    let (head, body) = datagram
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(StunError::Header)?;
    let [k0, k1, l0, l1, magic @ ..] = head;
    let (magic, transaction) = magic.split_first_chunk::<4>().ok_or(StunError::Header)?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if *magic != MAGIC_COOKIE || length != body.len() || !length.is_multiple_of(4) {
        return Err(StunError::Header);
    }
    let kind = u16::from_be_bytes([*k0, *k1]);
    if kind != wanted {
        return Err(StunError::Kind(kind));
    }
    let transaction = transaction.try_into().map_err(|_| StunError::Header)?;
    let attributes = Attributes {
        rest: body,
        position: HEADER_LEN,
    };
    Ok((transaction, attributes))
}

#[derive(Clone, Copy, Debug)]
struct Attributes<'a> {
    rest: &'a [u8],
    /// Bytes of the message before `rest`.
    position: usize,
}

#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// Bytes of the message before the attribute.
    position: usize,
}

impl<'a> Attributes<'a> {
    fn next(&mut self) -> Result<Option<Attribute<'a>>, StunError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let [k0, k1, l0, l1] = *head;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(..length).ok_or(StunError::Truncated)?;
        let padded = length.next_multiple_of(4);
        let attribute = Attribute {
            kind: u16::from_be_bytes([k0, k1]),
            value,
            position: self.position,
        };
        self.rest = rest.get(padded..).ok_or(StunError::Truncated)?;
        self.position += 4 + padded;
        Ok(Some(attribute))
    }
}

fn header(kind: u16, transaction: TransactionId) -> Vec<u8> {
    let mut message = Vec::with_capacity(128);
    message.extend(kind.to_be_bytes());
    message.extend([0, 0]);
    message.extend(MAGIC_COOKIE);
    message.extend(transaction);
    message
}

fn push(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Values are addresses, codes and user names of at most 513 bytes.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    message.extend(kind.to_be_bytes());
    message.extend(length.to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Sets the length in the header to what the message has, plus `following` bytes.
fn set_length(message: &mut [u8], following: usize) {
    let length = message.len().saturating_sub(HEADER_LEN) + following;
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length);
    }
}

/// Appends MESSAGE-INTEGRITY and FINGERPRINT.
fn sign(mut message: Vec<u8>, password: &str) -> Vec<u8> {
    if let Some(mac) = code(&message, password) {
        let code = mac.finalize().into_bytes();
        push(&mut message, MESSAGE_INTEGRITY, &code);
    }
    set_length(&mut message, FINGERPRINT_LEN);
    let checksum = crc32fast::hash(&message) ^ FINGERPRINT_XOR;
    push(&mut message, FINGERPRINT, &checksum.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: TransactionId = [7; 12];

    fn request() -> Vec<u8> {
        binding_request(TRANSACTION, "server:client", "server", 1)
    }

    #[test]
    fn request_round_trips() {
        let message = request();
        assert!(is_stun(&message));
        let parsed = BindingRequest::parse(&message).expect("well-formed");
        assert_eq!(parsed.transaction, TRANSACTION);
        assert_eq!(parsed.username, "server:client");
        assert!(parsed.is_from("server"));
        assert!(!parsed.is_from("Server"));
    }

    /// The sample request of RFC 5769, section 2.1.
    #[test]
    fn sample_of_the_specification_is_accepted() {
        const SAMPLE: [u8; 108] = [
            0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34,
            0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e,
            0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24,
            0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1,
            0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68,
            0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c,
            0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5,
            0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
        ];
        let parsed = BindingRequest::parse(&SAMPLE).expect("well-formed");
        assert_eq!(parsed.username, "evtj:h6vY");
        assert!(parsed.is_from("VOkJxbRl1RmTxUk/WvJxBt"));
    }

    #[test]
    fn answer_contains_the_observed_address() {
        let observed: SocketAddr = "192.0.2.1:32853".parse().expect("an address");
        // The transaction, the address and its encoding are those of RFC 5769, section 2.2.
        let transaction = [
            0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
        ];
        let message = binding_success(transaction, observed, "secret");
        let address = [
            0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
        ];
        assert_eq!(message.get(20..32), Some(&address[..]));
        let parsed = BindingSuccess::parse(&message).expect("well-formed");
        assert_eq!(parsed.transaction, transaction);
        assert!(parsed.is_from("secret") && !parsed.is_from("guess"));

        let observed: SocketAddr = "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
            .parse()
            .expect("an address");
        let message = binding_success(transaction, observed, "secret");
        let address = [
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3,
            0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(message.get(20..44), Some(&address[..]));
    }

    #[test]
    fn answer_is_shorter_than_its_request() {
        let observed = "[2001:db8::1]:1".parse().expect("an address");
        let name = format!("libp2p+webrtc+v1/{0}:libp2p+webrtc+v1/{0}", "x".repeat(22));
        let request = binding_request(TRANSACTION, &name, "x", 1);
        assert!(binding_success(TRANSACTION, observed, "x").len() < request.len());
    }

    #[test]
    fn every_truncation_is_refused() {
        let message = request();
        for length in 0..message.len() {
            let (part, _) = message.split_at(length);
            assert!(BindingRequest::parse(part).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let message = request();
        // FINGERPRINT and its checksum follow the code, which does not cover them.
        let covered = message.len() - FINGERPRINT_LEN;
        for bit in 0..covered * 8 {
            let mut changed = message.clone();
            if let Some(byte) = changed.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            let accepted = BindingRequest::parse(&changed).is_ok_and(|r| r.is_from("server"));
            assert!(!accepted, "bit {bit}");
        }
    }

    #[test]
    fn request_needs_a_name_and_a_code() {
        let nameless = sign(header(BINDING_REQUEST, TRANSACTION), "x");
        assert_eq!(BindingRequest::parse(&nameless), Err(StunError::Missing));
        let mut unsigned = header(BINDING_REQUEST, TRANSACTION);
        push(&mut unsigned, USERNAME, b"a:b");
        set_length(&mut unsigned, 0);
        assert_eq!(BindingRequest::parse(&unsigned), Err(StunError::Missing));
        let answer = binding_success(TRANSACTION, "192.0.2.1:1".parse().expect("valid"), "x");
        assert_eq!(
            BindingRequest::parse(&answer),
            Err(StunError::Kind(BINDING_SUCCESS))
        );
    }
}
