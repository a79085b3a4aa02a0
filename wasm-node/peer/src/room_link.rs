//! The parts of the links that the page shares: `#room=<name>` of an open room, `#private=<token>&label=<label>` of a private
//! one. Anything else is refused, so that a damaged link never opens another room than the one that was meant. A platform
//! decides what the parts mean, and has the sentences. Pure.

/// How many characters of an unknown part an error repeats.
const MAX_SHOWN: usize = 12;

/// Why a text is no link of a room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A part of the link occurs twice.
    #[error("the part {name:?} occurs twice")]
    Twice {
        /// The name of the part.
        name: String,
    },
    /// No such link has this part.
    #[error("the part {name:?} is unknown")]
    Unknown {
        /// The name of the part, or its beginning.
        name: String,
    },
}

/// The parts of a link as they are in it, without decoding.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkParts<'a> {
    /// The name of an open room.
    pub room: Option<&'a str>,
    /// The token of a private room, which is its key.
    pub token: Option<&'a str>,
    /// What people call a private room.
    pub label: Option<&'a str>,
}

impl std::fmt::Debug for LinkParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token must not reach a log.
        f.debug_struct("LinkParts").finish_non_exhaustive()
    }
}

impl<'a> LinkParts<'a> {
    /// The parts of the link of any room, or of the part of it that begins with `#`.
    ///
    /// # Errors
    /// If a part is unknown or occurs twice.
    pub fn of(link: &'a str) -> Result<Self, LinkError> {
        Self::read(link, |parts, name| match name {
            "room" => Some(&mut parts.room),
            _ => parts.of_private_room(name),
        })
    }

    /// The same of the link of a private room, in which the name of an open room is an unknown part.
    ///
    /// # Errors
    /// If a part is unknown or occurs twice.
    pub fn of_private(link: &'a str) -> Result<Self, LinkError> {
        Self::read(link, Self::of_private_room)
    }

    fn of_private_room(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        match name {
            "private" => Some(&mut self.token),
            "label" => Some(&mut self.label),
            _ => None,
        }
    }

    fn read(
        link: &'a str,
        place_of: impl for<'p> Fn(&'p mut Self, &str) -> Option<&'p mut Option<&'a str>>,
    ) -> Result<Self, LinkError> {
        // A fragment begins at the first `#`; a label may contain more.
        let fragment = link.split_once('#').map_or(link, |(_, fragment)| fragment);
        let mut parts = Self::default();
        for part in fragment.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(place) = place_of(&mut parts, name) else {
                let name = shortened(name);
                return Err(LinkError::Unknown { name });
            };
            if place.replace(value).is_some() {
                let name = name.to_owned();
                return Err(LinkError::Twice { name });
            }
        }
        Ok(parts)
    }
}

/// The beginning of a part's name, because what is in the wrong place may be the key, and messages are shown and logged.
fn shortened(name: &str) -> String {
    let mut characters = name.chars();
    let mut start: String = characters.by_ref().take(MAX_SHOWN).collect();
    if characters.next().is_some() {
        start.push('\u{2026}');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(name: &str) -> LinkError {
        let name = name.to_owned();
        LinkError::Unknown { name }
    }

    #[test]
    fn parts_are_found_in_any_order() {
        let parts = LinkParts {
            token: Some("t"),
            label: Some("a #b=c"),
            ..LinkParts::default()
        };
        for link in [
            "#private=t&label=a #b=c",
            "#label=a #b=c&private=t",
            "https://example.org/page?direct=no#private=t&label=a #b=c",
        ] {
            assert!(LinkParts::of(link) == Ok(parts), "{link}");
            assert!(LinkParts::of_private(link) == Ok(parts), "{link}");
        }
        let room = LinkParts::of("#room=%23").expect("a link").room;
        assert_eq!(room, Some("%23"));
    }

    #[test]
    fn other_parts_are_refused() {
        let both = "#private=t&room=lobby";
        assert!(LinkParts::of(both).is_ok());
        assert_eq!(LinkParts::of_private(both), Err(unknown("room")));
        let name = "private".to_owned();
        let twice = LinkParts::of("#private=t&private=t");
        assert_eq!(twice, Err(LinkError::Twice { name }));
        for (link, name) in [("", ""), ("#", ""), ("lobby", "lobby"), ("#Room=a", "Room")] {
            assert_eq!(LinkParts::of(link), Err(unknown(name)), "{link}");
        }
    }

    #[test]
    fn key_in_the_wrong_place_is_not_repeated() {
        let shown = "x".repeat(MAX_SHOWN);
        assert_eq!(LinkParts::of(&shown), Err(unknown(&shown)));
        let long = format!("{shown}y");
        let expected = unknown(&format!("{shown}\u{2026}"));
        assert_eq!(LinkParts::of(&long), Err(expected));
        let parts = LinkParts::of("#private=secret").expect("a link");
        assert!(!format!("{parts:?}").contains("secret"));
    }
}
