//! The links of private rooms: `#private=<token>&label=<label>`. The token is the room's key. The label is what people call
//! the room; it never leaves the link and the page. Anything else is refused in words, so that a damaged link never opens
//! another room than the one that was meant.

use heartchain_chain::{
    room::RoomName,
    room_key::{RoomKey, TokenError},
};
use heartchain_peer::room_link::{LinkError, LinkParts};

use crate::storage::MAX_ROOM_LABEL_LEN;

/// Why a text is not the link of a private room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RoomLinkError {
    /// The link has no key, as when a messenger cut it off.
    #[error("this link has no key of a private room: ask for the complete link and open it again")]
    NoKey,
    /// A part of the link occurs twice.
    #[error("this link has the part {name:?} twice: ask for the link again")]
    Twice {
        /// The name of the part.
        name: String,
    },
    /// A part of the link is neither `private` nor `label`.
    #[error(
        "this link has the part {name:?}, which no link of a private room has: ask for the link again"
    )]
    Unknown {
        /// The name of the part.
        name: String,
    },
    /// The key is incomplete or was altered.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl From<LinkError> for RoomLinkError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Twice { name } => Self::Twice { name },
            LinkError::Unknown { name } => Self::Unknown { name },
        }
    }
}

/// The key in a link, or in the part of it that begins with `#`.
pub(crate) fn read(link: &str) -> Result<RoomKey, RoomLinkError> {
    let token = LinkParts::of_private(link)?.token;
    Ok(RoomKey::from_token(token.ok_or(RoomLinkError::NoKey)?)?)
}

/// What a link calls its room, if that is a valid label. Nothing depends on it.
pub(crate) fn label(link: &str) -> Option<String> {
    let (_, fragment) = link.split_once('#')?;
    let mut parts = fragment.split('&');
    let label = parts.find_map(|part| part.strip_prefix("label="))?;
    let label = String::from(js_sys::decode_uri_component(label).ok()?);
    (!label.is_empty() && label.len() <= MAX_ROOM_LABEL_LEN).then_some(label)
}

/// The part of a link that opens the open room with this name.
pub(crate) fn open(name: &RoomName) -> String {
    let name = String::from(js_sys::encode_uri_component(name.as_str()));
    format!("#room={name}")
}

/// The part of a link that opens the room with this key.
pub(crate) fn write(key: &RoomKey, label: &str) -> String {
    let token = key.to_token();
    let label = String::from(js_sys::encode_uri_component(label));
    format!("#private={token}&label={label}")
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn key() -> RoomKey {
        RoomKey::new([7; 32])
    }

    #[test]
    fn link_opens_the_room_it_was_made_for() {
        for label in ["", "Family", "a&b=c #d", "\u{ac00}\u{c871} \u{2665}"] {
            let link = write(&key(), label);
            assert_eq!(read(&link), Ok(key()), "{label:?}");
            assert_eq!(super::label(&link).unwrap_or_default(), label);
            let whole = format!("https://example.org/page?direct=no{link}");
            assert_eq!(read(&whole), Ok(key()), "{label:?}");
        }
        // Messengers decode a label.
        let decoded = format!("#private={}&label=Team #1", key().to_token());
        assert_eq!(read(&decoded), Ok(key()));
        assert_eq!(read(&format!("#private={}", key().to_token())), Ok(key()));
    }

    #[test]
    fn damaged_link_is_refused_in_words() {
        let token = key().to_token();
        let cases = [
            (String::new(), "has the part \"\""),
            ("#".to_owned(), "has the part \"\""),
            ("#label=Family".to_owned(), "no key"),
            ("#private=".to_owned(), "0 characters instead of 48"),
            (
                format!("#private={}", &token[..40]),
                "40 characters instead of 48",
            ),
            (format!("#private={token}x&label=a"), "49 characters"),
            (format!("#private={}!", &token[..47]), "the character '!'"),
            (
                format!("#private={}", token.replacen('B', "C", 1)),
                "altered",
            ),
            (
                format!("#private={token}&private={token}"),
                "\"private\" twice",
            ),
            (format!("#private={token}&room=lobby"), "the part \"room\""),
            (
                format!("#private={token}label=a"),
                "characters instead of 48",
            ),
            (format!("#label=a&{token}"), &token[..12]),
        ];
        for (link, expected) in cases {
            let error = read(&link).expect_err(&link).to_string();
            assert!(error.contains(expected), "{link}: {error}");
            assert!(!error.contains(&token[..20]), "{error}");
        }
    }
}
