//! The rooms that `--keep` names. The relay does not know how rooms work: it passes on what an operator wrote.

use std::{fmt, str::FromStr};

use tokio::process::Command;

/// Rooms that one relay keeps: each is a process with some 20 MB.
pub(crate) const MAX_KEPT_ROOMS: usize = 32;

/// A room to keep, as an operator names it. It may contain a key, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub enum KeptRoom {
    /// The name of an open room.
    Name(String),
    /// The link of a room, which has the key of a private one.
    Link(String),
    /// The commitment of a private room, which is kept without its key.
    Commitment(String),
}

impl fmt::Debug for KeptRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(_) => "Name",
            Self::Link(_) => "Link",
            Self::Commitment(_) => "Commitment",
        })
    }
}

impl FromStr for KeptRoom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.trim().is_empty() {
            Err("name a room, or give its link".to_owned())
        } else if text.contains(char::is_control) {
            Err("a room is one line".to_owned())
        } else if text.contains('#') {
            Ok(Self::Link(text.to_owned()))
        } else if is_digest {
            Ok(Self::Commitment(text.to_owned()))
        } else {
            Ok(Self::Name(text.to_owned()))
        }
    }
}

impl KeptRoom {
    /// Adds the flag that names the room. A link goes into the environment, which other users cannot see.
    pub(crate) fn name(&self, command: &mut Command) {
        match self {
            // In one word, because a name may begin with a dash.
            Self::Name(name) => command.arg(format!("--room={name}")),
            Self::Link(link) => command.env("HEARTCHAIN_LINK", link),
            Self::Commitment(commitment) => command.args(["--commitment", commitment]),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_a_name_a_link_or_a_commitment() {
        let digest = "9b".repeat(32);
        for (text, room) in [
            ("lobby", KeptRoom::Name("lobby".to_owned())),
            (
                "http://x/#room=a",
                KeptRoom::Link("http://x/#room=a".to_owned()),
            ),
            ("#private=abc", KeptRoom::Link("#private=abc".to_owned())),
            (&digest, KeptRoom::Commitment(digest.clone())),
        ] {
            assert_eq!(text.parse(), Ok(room), "{text}");
        }
        for wrong in [" ", "#room=a\n#room=b", "a\n"] {
            assert!(wrong.parse::<KeptRoom>().is_err(), "{wrong:?}");
        }
        let link: KeptRoom = "#private=secret".parse().expect("a link");
        assert!(!format!("{link:?}").contains("secret"));
    }
}
