//! What the first bytes of a datagram say about the DTLS in it. Only the first epoch has readable handshake messages.

/// The content type of records that contain handshake messages.
const HANDSHAKE: u8 = 22;
/// Position of the epoch in a record.
const EPOCH_AT: std::ops::Range<usize> = 3..5;
/// Position of the type of a handshake message in a record.
const MESSAGE_TYPE_AT: usize = 13;
/// The types of handshake messages that are told apart.
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Whether the datagram can be DTLS, by its first byte ([RFC 7983](https://www.rfc-editor.org/rfc/rfc7983#section-7)).
pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Whether the datagram begins with a ClientHello, or a fragment of one.
pub(crate) fn is_client_hello(datagram: &[u8]) -> bool {
    begins_with(datagram, CLIENT_HELLO)
}

/// Whether the datagram begins with a ServerHello, or a fragment of one.
pub(crate) fn is_server_hello(datagram: &[u8]) -> bool {
    begins_with(datagram, SERVER_HELLO)
}

fn begins_with(datagram: &[u8], message: u8) -> bool {
    datagram.first() == Some(&HANDSHAKE)
        && datagram.get(EPOCH_AT) == Some(&[0, 0])
        && datagram.get(MESSAGE_TYPE_AT) == Some(&message)
}

/// A datagram that begins like a ClientHello.
#[cfg(test)]
pub(crate) fn client_hello() -> Vec<u8> {
    let mut hello = vec![HANDSHAKE, 254, 253, 0, 0];
    hello.resize(60, 0);
    if let Some(message) = hello.get_mut(MESSAGE_TYPE_AT) {
        *message = CLIENT_HELLO;
    }
    hello
}
