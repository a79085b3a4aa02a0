//! Base64url without padding, as [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648) specifies it: the texts of links and of
//! certificates' hashes.
//!
//! Of the crate `data-encoding`, a download contains what decodes every possible alphabet, 38 kB of wasm. libp2p only encodes.

use alloc::vec::Vec;

/// The number of bits that one character carries.
const BITS: u32 = 6;

/// The bytes of this text, if it has the one form in which they are written.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    // The bits that do not fill a byte yet, and how many these are.
    let (mut rest, mut count) = (0_u32, 0);
    for character in text.bytes() {
        rest = (rest << BITS) | u32::from(digit(character)?);
        count += BITS;
        if let Some(left) = count.checked_sub(u8::BITS) {
            bytes.push(u8::try_from(rest >> left).ok()?);
            rest &= (1 << left) - 1;
            count = left;
        }
    }
    // Of a character too many, all bits are left.
    (rest == 0 && count < BITS).then_some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decodes_what_is_encoded(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&BASE64URL_NOPAD.encode(&bytes)), Some(bytes));
        }

        #[test]
        fn decodes_as_the_library_does(text in "[A-Za-z0-9_-]{0,12}|[AQgw_=+é-]{0,6}") {
            let text: String = text;
            prop_assert_eq!(decode(&text), BASE64URL_NOPAD.decode(text.as_bytes()).ok());
        }
    }
}
