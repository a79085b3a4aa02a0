//! The first messages of a DTLS 1.2 handshake, as far as a listener has to read and write them before it keeps anything for
//! a peer: ClientHello and HelloVerifyRequest
//! ([RFC 6347](https://www.rfc-editor.org/rfc/rfc6347#section-4.2.1)). Data only.

/// The content type of records that contain handshake messages.
const HANDSHAKE: u8 = 22;
/// The types of handshake messages.
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// The versions on the wire. A HelloVerifyRequest always has the older one.
const DTLS_1_0: [u8; 2] = [254, 255];
const DTLS_1_2: [u8; 2] = [254, 253];
/// Positions in a record with a ClientHello: epoch of the record, then type and offset of the message.
const EPOCH_AT: std::ops::Range<usize> = 3..5;
const MESSAGE_TYPE_AT: usize = 13;
const FRAGMENT_OFFSET_AT: std::ops::Range<usize> = 19..22;
const RANDOM_AT: std::ops::Range<usize> = 27..59;
const SESSION_ID_AT: usize = 59;
/// Bytes of a cookie. `dimpl` accepts no others.
const COOKIE_LEN: usize = 32;
/// Bytes of the header of a handshake message.
const MESSAGE_HEADER_LEN: u8 = 12;

/// What a client has to send back to prove its address.
pub(crate) type Cookie = [u8; COOKIE_LEN];

/// The beginning of a ClientHello, which is all that a cookie depends on: the rest may come in other datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientHello<'a> {
    pub(crate) random: &'a [u8],
    /// Empty in the first ClientHello of a client.
    pub(crate) cookie: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads a datagram that begins with a ClientHello, or with its first fragment.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        if !is_client_hello(datagram) || datagram.get(FRAGMENT_OFFSET_AT)? != [0, 0, 0] {
            return None;
        }
        let random = datagram.get(RANDOM_AT)?;
        let (_, rest) = split_vector(datagram.get(SESSION_ID_AT..)?)?;
        let (cookie, _) = split_vector(rest)?;
        Some(Self { random, cookie })
    }
}

/// Splits off a vector with one byte of length.
fn split_vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Whether the datagram can be DTLS, by its first byte ([RFC 7983](https://www.rfc-editor.org/rfc/rfc7983#section-7)).
pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Whether the datagram begins with a ClientHello, or a fragment of one. Only the first epoch has readable messages.
pub(crate) fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.first() == Some(&HANDSHAKE)
        && datagram.get(EPOCH_AT) == Some(&[0, 0])
        && datagram.get(MESSAGE_TYPE_AT) == Some(&CLIENT_HELLO)
}

/// A datagram that asks a client to repeat its ClientHello with this cookie. It is shorter than any ClientHello. Its record
/// always has number 0: a client ignores a second one, and the server's next record has number 1.
pub(crate) fn hello_verify_request(cookie: &Cookie) -> Vec<u8> {
    let mut body = DTLS_1_0.to_vec();
    push_vector(&mut body, cookie);
    record(DTLS_1_0, HELLO_VERIFY_REQUEST, &body)
}

/// The shortest ClientHello that a server answers: without a cookie, and with one cipher suite.
pub(crate) fn first_client_hello() -> Vec<u8> {
    let mut body = DTLS_1_2.to_vec();
    body.extend([0; 32]);
    // Neither a session nor a cookie; TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression.
    body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    record(DTLS_1_2, CLIENT_HELLO, &body)
}

/// Appends a vector with one byte of length.
fn push_vector(bytes: &mut Vec<u8>, vector: &[u8]) {
    bytes.push(u8::try_from(vector.len()).unwrap_or(u8::MAX));
    bytes.extend(vector);
}

/// A record of epoch 0 and number 0, with message 0 in one piece, which is short.
fn record(version: [u8; 2], message: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut record = vec![HANDSHAKE];
    record.extend(version);
    record.extend([0; 9]);
    record.push(length.saturating_add(MESSAGE_HEADER_LEN));
    record.extend([message, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length]);
    record.extend(body);
    record
}

/// A ClientHello with this cookie.
#[cfg(test)]
pub(crate) fn client_hello(cookie: &[u8]) -> Vec<u8> {
    let mut body = DTLS_1_2.to_vec();
    body.extend([9; 32]);
    body.push(0);
    push_vector(&mut body, cookie);
    body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    record(DTLS_1_2, CLIENT_HELLO, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_are_read() {
        let hello = client_hello(&[7; 32]);
        let parsed = ClientHello::parse(&hello).expect("valid");
        assert_eq!(parsed.random, [9; 32]);
        assert_eq!(parsed.cookie, [7; 32]);
        let first = first_client_hello();
        let parsed = ClientHello::parse(&first).expect("valid");
        assert_eq!(parsed.cookie, [0; 0]);
        for length in 0..61 {
            let cut = first.get(..length).expect("long enough");
            assert_eq!(ClientHello::parse(cut), None);
        }
    }

    #[test]
    fn later_fragment_is_no_beginning() {
        let mut hello = client_hello(&[]);
        if let Some(offset) = hello.get_mut(21) {
            *offset = 1;
        }
        assert!(is_client_hello(&hello));
        assert_eq!(ClientHello::parse(&hello), None);
    }

    #[test]
    fn answer_is_shorter_than_any_hello() {
        let shortest = (0..)
            .find(|length| {
                let hello = first_client_hello();
                hello
                    .get(..*length)
                    .is_some_and(|hello| ClientHello::parse(hello).is_some())
            })
            .expect("it is read at some length");
        assert!(hello_verify_request(&[0; COOKIE_LEN]).len() < shortest);
    }
}
