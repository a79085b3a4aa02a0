//! The links that the page shares: `#room=<name>` of an open room, `#private=<token>&label=<label>` of a private one. The
//! token is the room's key. Anything else is refused in words, so that a damaged link never opens another room than the one
//! that was meant. Depends on no platform.

use heartchain_chain::{
    room::{Room, RoomName, RoomNameError, RoomParams},
    room_key::{RoomKey, TokenError},
};
use heartchain_peer::room_link::{LinkError, LinkParts};
use unicode_normalization::UnicodeNormalization as _;

/// Why a text is not the link of a room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoomLinkError {
    /// The link names no room, as when a messenger cut it off.
    #[error("this link has neither a room's name nor a key: copy the complete link")]
    NoRoom,
    /// A part of the link occurs twice.
    #[error("this link has the part {name:?} twice: copy the link again")]
    Twice {
        /// The name of the part.
        name: String,
    },
    /// No link of a room has such a part.
    #[error("this link has the part {name:?}, which no link of a room has: copy the link again")]
    Unknown {
        /// The name of the part.
        name: String,
    },
    /// The name is not percent-encoded UTF-8.
    #[error("the name in this link is damaged: copy the link again")]
    Encoding,
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] RoomNameError),
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

/// The room of a link, or of the part of it that begins with `#`.
///
/// # Errors
/// If the link is incomplete, was altered, or has parts that no link has.
pub fn room_of_link(link: &str) -> Result<Room, RoomLinkError> {
    let LinkParts { room, token, label } = LinkParts::of(link)?;
    match (token, room, label) {
        (Some(token), None, _) => Ok(Room::private(RoomKey::from_token(token)?)),
        (None, Some(name), None) => Ok(open_room(&percent_decoded(name)?)?),
        (None, None, _) => Err(RoomLinkError::NoRoom),
        // No name may be taken for that of a private room.
        (Some(_), Some(_), _) | (None, Some(_), Some(_)) => Err(RoomLinkError::Unknown {
            name: "room".to_owned(),
        }),
    }
}

/// The open room with a name that a person typed: white space around it is left out, and it is normalized.
///
/// # Errors
/// If the name is empty or too long.
pub fn open_room(name: &str) -> Result<Room, RoomNameError> {
    let name: String = name.trim().nfc().collect();
    let name = RoomName::new(&name)?;
    Ok(Room::new(RoomParams::with_defaults(name)))
}

fn percent_decoded(text: &str) -> Result<String, RoomLinkError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(RoomLinkError::Encoding)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| RoomLinkError::Encoding)?;
        bytes.extend(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| RoomLinkError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RoomKey {
        RoomKey::new([7; 32])
    }

    #[test]
    fn link_opens_the_room_it_was_made_for() {
        let private = Room::private(key());
        let token = key().to_token();
        for link in [
            format!("#private={token}"),
            format!("#private={token}&label=Family"),
            format!("https://example.org/page?direct=no#private={token}&label=a%26b"),
            // Messengers decode a label.
            format!("#private={token}&label=Team #1"),
        ] {
            let found = room_of_link(&link);
            assert_eq!(found.as_ref(), Ok(&private), "{link}");
            assert!(found.is_ok_and(|room| room.is_member()));
        }
        let korean = "http://127.0.0.1:8080/#room=%EC%8B%AC%EC%9E%A5%20%231";
        let found = room_of_link(korean).map(|room| room.id());
        let expected = open_room(" \u{c2ec}\u{c7a5} #1 ").map(|room| room.id());
        assert_eq!(found, Ok(expected.expect("a name")));
        // The same name, typed in decomposed form.
        let composed = open_room("\u{e9}").map(|room| room.id());
        assert_eq!(composed, open_room("e\u{301}").map(|room| room.id()));
    }

    #[test]
    fn damaged_link_is_refused_in_words() {
        let token = key().to_token();
        let cases = [
            (String::new(), "has the part \"\""),
            ("lobby".to_owned(), "has the part \"lobby\""),
            ("#label=Family".to_owned(), "neither"),
            ("#room=".to_owned(), "at least one character"),
            ("#room=%4".to_owned(), "damaged"),
            ("#room=%ff".to_owned(), "damaged"),
            ("#private=".to_owned(), "0 characters instead of 48"),
            (
                format!("#private={}", &token[..40]),
                "40 characters instead of 48",
            ),
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
            (format!("#label=a&{token}"), &token[..12]),
        ];
        for (link, expected) in cases {
            let error = room_of_link(&link).expect_err(&link).to_string();
            assert!(error.contains(expected), "{link}: {error}");
            assert!(!error.contains(&token[..20]), "{error}");
        }
    }
}
