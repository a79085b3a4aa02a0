//! Fuzz targets of text that links, relays and files contain: addresses, server URLs and hexadecimal IDs. An accepted
//! text keeps its meaning, and an error message has a bounded length.

use heartchain_chain::{hash::BlockHash, key::Signature};
use libp2p::Multiaddr;

use crate::{
    address_text::{CircuitAddress, PageScheme, RelayAddress},
    ice::IceServer,
};

/// The longest error message, in bytes, including the input that it repeats.
const MAX_ERROR_LEN: usize = 1_500;

/// A multiaddr of `relay.json` or of a link, and the URL of a STUN or TURN server.
pub fn address(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let plain = RelayAddress::parse(text, PageScheme::Plain);
    let secure = RelayAddress::parse(text, PageScheme::Secure);
    match (&plain, &secure) {
        (Ok(plain), Ok(secure)) => assert_eq!(plain, secure),
        (Ok(_), Err(error)) => assert!(error.to_string().contains("not encrypted"), "{error}"),
        (Err(error), Err(_)) => assert!(error.to_string().len() <= MAX_ERROR_LEN, "{error}"),
        (Err(error), Ok(_)) => panic!("a secure page dials what a plain one does not: {error}"),
    }
    if let Ok(relay) = plain {
        let again = RelayAddress::parse(&relay.address.to_string(), PageScheme::Plain);
        assert_eq!(again.as_ref(), Ok(&relay));
        // The libp2p parser, which accepts many more addresses, reads the same.
        let theirs = text.trim().parse::<Multiaddr>();
        assert_eq!(theirs.ok().as_ref(), Some(&relay.address));
    }
    match CircuitAddress::parse(text, PageScheme::Plain) {
        Ok(named) => {
            let text = format!("{}/p2p-circuit/p2p/{}", named.relay.address, named.peer);
            assert_eq!(CircuitAddress::parse(&text, PageScheme::Plain), Ok(named));
        }
        Err(error) => assert!(error.to_string().len() <= MAX_ERROR_LEN, "{error}"),
    }
    let credentials = Some(("user".to_owned(), "password".to_owned()));
    match IceServer::new(text, credentials) {
        Ok(server) => {
            assert_eq!(server.url(), text);
            let forwards = text.starts_with("turn");
            assert_eq!(server.credentials().is_some(), forwards);
            assert_eq!(IceServer::new(text, None).is_ok(), !forwards);
        }
        Err(error) => assert!(error.to_string().len() <= MAX_ERROR_LEN, "{error}"),
    }
}

/// A hexadecimal ID of an exported file: 32 or 64 bytes. Upper case is accepted, and never written.
pub fn hex(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(hash) = text.parse::<BlockHash>() {
        assert_eq!(hash.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(signature) = text.parse::<Signature>() {
        assert_eq!(signature.to_string(), text.to_ascii_lowercase());
    }
}
