//! Profiles: the name that an author shows to the others of a room. A name is personal data, so it stays off the chain:
//! it can be changed, and erased by an empty one. Specified in docs/chain.md, "Profiles".

use alloc::{string::String, vec::Vec};
use core::fmt;

use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error as IoError, ErrorKind, Read, Result as IoResult, Write},
};
use thiserror::Error;

use crate::{
    codec::DecodeError,
    content::ReadingForm,
    hash::{RoomId, bytes_newtype},
    key::{Author, SecretKey, Signature},
    room::Room,
    room_key::Purpose,
    time::{MAX_READING_TIME, UnixMillis},
};

/// Prefix of every signed profile.
const SIGNING_TAG: &[u8] = b"heartchain/profile/2";
/// Maximum length of a name in bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 40;
/// Length in bytes of what surrounds the content of an encoded profile.
const FRAME_LEN: usize = Author::LEN + 8 + Signature::LEN;
/// Maximum length of an encoded profile in bytes.
pub const MAX_PROFILE_LEN: usize = FRAME_LEN + SealedName::LEN;

bytes_newtype! {
    /// A name, padded with zeros to [`MAX_NAME_LEN`] and sealed: 40 bytes and a tag of 16.
    SealedName, 56
}

/// The name of an author: up to [`MAX_NAME_LEN`] bytes of UTF-8, trimmed, without characters that no one can see. Empty
/// means erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

/// Why a text is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum ProfileNameError {
    /// The name is longer than [`MAX_NAME_LEN`].
    #[error("a name of {found} bytes is longer than {MAX_NAME_LEN}: use a shorter one")]
    TooLong { found: usize },
    /// The name begins or ends with white space.
    #[error("the name begins or ends with white space")]
    NotTrimmed,
    /// The name has a character that breaks lines, changes their direction or cannot be seen.
    #[error("the name has the invisible character U+{:04X}: remove it", *character as u32)]
    Invisible { character: char },
    /// The bytes are not UTF-8, or are not padded with zeros.
    #[error("the name is not valid text")]
    Malformed,
}

impl ProfileName {
    /// Accepts a valid name unchanged. The caller brings it into Unicode normal form C, which is not checked: equal
    /// names in different forms look the same, as do many others.
    ///
    /// # Errors
    /// If it is too long, not trimmed, or has an invisible character.
    pub fn new(name: &str) -> Result<Self, ProfileNameError> {
        if name.len() > MAX_NAME_LEN {
            let found = name.len();
            return Err(ProfileNameError::TooLong { found });
        }
        if let Some(character) = invisible_in(name) {
            return Err(ProfileNameError::Invisible { character });
        }
        if name.trim() != name {
            return Err(ProfileNameError::NotTrimmed);
        }
        Ok(Self(name.into()))
    }

    /// The name as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_padded(padded: &[u8; MAX_NAME_LEN]) -> Result<Self, ProfileNameError> {
        let len = padded.iter().rposition(|byte| *byte != 0);
        let name = padded.get(..len.map_or(0, |last| last + 1));
        let name = core::str::from_utf8(name.unwrap_or_default());
        Self::new(name.map_err(|_| ProfileNameError::Malformed)?)
    }

    fn to_padded(&self) -> [u8; MAX_NAME_LEN] {
        let mut padded = [0; MAX_NAME_LEN];
        for (to, from) in padded.iter_mut().zip(self.0.bytes()) {
            *to = from;
        }
        padded
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first character that cannot be seen where it stands. A variation selector is allowed after a character that can be seen, because
/// it chooses the form of that one. A joiner is allowed between such characters, because Persian, Sinhala and Malayalam names and many
/// pictures of people need it.
fn invisible_in(name: &str) -> Option<char> {
    let is_visible = |character: char| !character.is_whitespace() && !is_invisible(character);
    let (mut follows_visible, mut is_selected) = (false, false);
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let selects = is_variation_selector(character) && follows_visible;
        let is_joiner = matches!(character, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER);
        let precedes_visible = characters.peek().copied().is_some_and(is_visible);
        let joins = is_joiner && (follows_visible || is_selected) && precedes_visible;
        if is_invisible(character) && !selects && !joins {
            return Some(character);
        }
        (follows_visible, is_selected) = (is_visible(character), selects);
    }
    None
}

/// Keeps two letters apart that would be joined.
const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
/// Joins two letters, or two pictures into one.
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Whether a character chooses the form of the one before it: Unicode's property `Variation_Selector`.
const fn is_variation_selector(character: char) -> bool {
    matches!(
        character,
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Whether a character breaks lines, changes their direction, or cannot be seen: Unicode 16.0's categories Cc, Cf, Zl and Zp, its property
/// `Default_Ignorable_Code_Point`, and the blank Braille pattern. The rule does not change with Unicode.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}'
            | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A name as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileContent {
    /// In an open room: the name in the clear.
    Open(ProfileName),
    /// In a private room: the name, sealed.
    Sealed(SealedName),
}

impl ProfileContent {
    /// What is signed and sent.
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Open(name) => {
                // A name has at most MAX_NAME_LEN bytes.
                let len = u8::try_from(name.0.len()).unwrap_or(u8::MAX);
                [&[len], name.0.as_bytes()].concat()
            }
            Self::Sealed(sealed) => sealed.as_bytes().to_vec(),
        }
    }
}

/// An author's name with its revision, as received: the signature is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The author whose name it is.
    pub author: Author,
    /// When the name was set, by the author's clock, and later than the one before. The latest name counts.
    pub revision: UnixMillis,
    /// The name, which others see only after the signature was checked.
    pub content: ProfileContent,
    /// The author's signature over the other fields and the room.
    pub signature: Signature,
}

/// Why a profile is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum ProfileError {
    /// There are too few bytes, or too many.
    #[error(transparent)]
    Length(#[from] DecodeError),
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] ProfileNameError),
    /// The revision is later than [`MAX_READING_TIME`].
    #[error("revision {found} is later than {MAX_READING_TIME}")]
    Revision { found: UnixMillis },
    /// The signature is not the author's, or not for this room.
    #[error("the signature is not author {author}'s in this room")]
    Signature { author: Author },
}

impl Profile {
    /// The encoding, which is sent and stored: author, revision, content, signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &self.author.as_bytes()[..],
            &self.revision.get().to_le_bytes(),
            &self.content.to_bytes(),
            self.signature.as_bytes(),
        ]
        .concat()
    }

    /// Decodes a profile of a room whose readings have this form, and checks its fields.
    ///
    /// # Errors
    /// If the length is wrong, or a field breaks a rule.
    pub fn decode(form: ReadingForm, bytes: &[u8]) -> Result<Self, ProfileError> {
        let found = bytes.len();
        let wrong_length = |expected| DecodeError::Length {
            what: "profile",
            expected,
            found,
        };
        let short = wrong_length(FRAME_LEN + 1);
        let (author, rest) = bytes.split_first_chunk().ok_or(short)?;
        let (revision, rest) = rest.split_first_chunk().ok_or(short)?;
        let (content, signature) = rest.split_last_chunk().ok_or(short)?;
        let revision = UnixMillis::new(u64::from_le_bytes(*revision));
        if revision > MAX_READING_TIME {
            return Err(ProfileError::Revision { found: revision });
        }
        let content = match form {
            ReadingForm::Open => {
                let (len, name) = content.split_first().ok_or(short)?;
                if name.len() != usize::from(*len) {
                    return Err(wrong_length(FRAME_LEN + 1 + usize::from(*len)).into());
                }
                let name = core::str::from_utf8(name).map_err(|_| ProfileNameError::Malformed)?;
                ProfileContent::Open(ProfileName::new(name)?)
            }
            ReadingForm::Sealed => {
                let sealed = content.try_into();
                let sealed = sealed.map_err(|_| wrong_length(MAX_PROFILE_LEN))?;
                ProfileContent::Sealed(SealedName::new(sealed))
            }
        };
        Ok(Self {
            author: Author::new(*author),
            revision,
            content,
            signature: Signature::new(*signature),
        })
    }

    /// Reads a profile of a room whose readings have this form. It says how long it is.
    ///
    /// # Errors
    /// If there are too few bytes, or a field breaks a rule.
    pub fn deserialize<R: Read>(form: ReadingForm, reader: &mut R) -> IoResult<Self> {
        let malformed = |why| IoError::new(ErrorKind::InvalidData, why);
        let mut head = [0; Author::LEN + 8];
        reader.read_exact(&mut head)?;
        let content = match form {
            ReadingForm::Open => {
                let len = u8::deserialize_reader(reader)?;
                if usize::from(len) > MAX_NAME_LEN {
                    return Err(malformed("a name that is too long"));
                }
                let mut content = alloc::vec![len; 1 + usize::from(len)];
                if let Some((_, name)) = content.split_first_mut() {
                    reader.read_exact(name)?;
                }
                content
            }
            ReadingForm::Sealed => {
                let sealed = SealedName::deserialize_reader(reader)?;
                sealed.as_bytes().to_vec()
            }
        };
        let signature = Signature::deserialize_reader(reader)?;
        let bytes = [&head[..], &content, signature.as_bytes()].concat();
        Self::decode(form, &bytes).map_err(|_| malformed("a profile that breaks a rule"))
    }

    /// Checks the signature for `room`.
    ///
    /// # Errors
    /// If it is not the author's.
    pub fn verify(&self, room: RoomId) -> Result<(), ProfileError> {
        let author = self.author;
        if author.has_signed(&self.signed_bytes(room), &self.signature) {
            Ok(())
        } else {
            Err(ProfileError::Signature { author })
        }
    }

    fn signed_bytes(&self, room: RoomId) -> Vec<u8> {
        [
            SIGNING_TAG,
            room.as_bytes(),
            self.author.as_bytes(),
            &self.revision.get().to_le_bytes(),
            &self.content.to_bytes(),
        ]
        .concat()
    }
}

impl BorshSerialize for Profile {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        writer.write_all(&self.encode())
    }
}

impl SecretKey {
    /// Signs a profile with this content.
    #[must_use]
    pub fn sign_profile_content(
        &self,
        room: RoomId,
        revision: UnixMillis,
        content: ProfileContent,
    ) -> Profile {
        let mut profile = Profile {
            author: self.author(),
            revision,
            content,
            signature: Signature::new([0; Signature::LEN]),
        };
        profile.signature = self.sign_bytes(&profile.signed_bytes(room));
        profile
    }
}

impl Room {
    /// Signs a name. `None` in a private room whose key is not known here.
    #[must_use]
    pub fn sign_profile(
        &self,
        key: &SecretKey,
        revision: UnixMillis,
        name: &ProfileName,
    ) -> Option<Profile> {
        let author = key.author();
        let content = match self.form() {
            ReadingForm::Open => ProfileContent::Open(name.clone()),
            ReadingForm::Sealed => {
                let purpose = Purpose::Profile(&author, revision.get());
                let sealed = self.ciphers()?.seal(purpose, &name.to_padded());
                ProfileContent::Sealed(SealedName::new(sealed))
            }
        };
        Some(key.sign_profile_content(self.id(), revision, content))
    }

    /// The name in a profile; `None` if it cannot be opened here, or breaks a rule.
    #[must_use]
    pub fn open_profile(&self, profile: &Profile) -> Option<ProfileName> {
        match &profile.content {
            ProfileContent::Open(name) => Some(name.clone()),
            ProfileContent::Sealed(sealed) => {
                let purpose = Purpose::Profile(&profile.author, profile.revision.get());
                let padded = self.ciphers()?.open(purpose, sealed.as_bytes())?;
                ProfileName::from_padded(&padded).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests;
