//! The key of a private room, the text that a link carries it in, and what is sealed with keys derived from it.
//!
//! The cipher is AES-256-GCM-SIV ([RFC 8452](https://www.rfc-editor.org/rfc/rfc8452)). It is deterministic and resists
//! the misuse of nonces: a peer seals its readings again from the journal, and an author key that is used in two places
//! repeats nonces. Each nonce follows from what is sealed, so it is not sent. Specified in docs/chain.md, "Seals".

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use aes_gcm_siv::{AeadInPlace as _, Aes256GcmSiv, KeyInit as _};
use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    base64url,
    hash::{BlockHash, bytes_newtype},
    key::Author,
};

/// Prefix of the bytes whose hash commits to a room key.
const COMMITMENT_TAG: &[u8] = b"heartchain/room-key/2";
/// Prefix of the bytes whose hash protects a link's token against typing errors.
const LINK_TAG: &[u8] = b"heartchain/link/2";
/// Prefix of the bytes whose hash is the nonce of a reading.
const READING_NONCE_TAG: &[u8] = b"heartchain/nonce/2";
/// Prefix of the bytes whose hash is the nonce of a profile.
const PROFILE_NONCE_TAG: &[u8] = b"heartchain/profile-nonce/2";
/// Prefix of the bytes whose hash is the nonce of a binding.
const BINDING_NONCE_TAG: &[u8] = b"heartchain/binding-nonce/2";
/// HKDF's info for the key of readings.
const READING_KEY_INFO: &[u8] = b"heartchain/reading-key/2";
/// HKDF's info for the key of profiles.
const PROFILE_KEY_INFO: &[u8] = b"heartchain/profile-key/2";
/// HKDF's info for the key of bindings.
const BINDING_KEY_INFO: &[u8] = b"heartchain/binding-key/2";

/// Length of a token's checksum in bytes: a typing error goes unnoticed once in 2^32 cases.
const CHECKSUM_LEN: usize = 4;
/// Length of a token in characters.
pub const TOKEN_LEN: usize = (RoomKey::LEN + CHECKSUM_LEN) / 3 * 4;
/// Length of the nonces of AES-256-GCM-SIV in bytes.
const NONCE_LEN: usize = 12;
/// Length of the tag that AES-256-GCM-SIV appends, in bytes.
pub(crate) const TAG_LEN: usize = 16;

bytes_newtype! {
    /// What the parameters of a private room contain of its key: a hash. It does not help to find the key.
    #[derive(Hash)]
    KeyCommitment, 32
}

/// The key of a private room. Who has it can read the room. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomKey([u8; 32]);

/// Why a text is not the token of a room's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum TokenError {
    /// Characters are missing, or there are too many.
    #[error(
        "the key in this link has {found} characters instead of {TOKEN_LEN}: copy the whole link again"
    )]
    Length { found: usize },
    /// There is a character that no token has.
    #[error(
        "the key in this link has the character {character:?}, which no key has: copy the link again"
    )]
    Character { character: char },
    /// The checksum does not match.
    #[error("the key in this link was altered: copy the link again")]
    Checksum,
}

impl RoomKey {
    /// Length of the key in bytes.
    pub const LEN: usize = 32;

    /// Wraps 32 bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key itself, to store it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the parameters of the room contain of the key.
    #[must_use]
    pub fn commitment(&self) -> KeyCommitment {
        KeyCommitment::new(hash(&[COMMITMENT_TAG, &self.0]))
    }

    /// The text that a link carries the key in: base64url of the key and a checksum, [`TOKEN_LEN`] characters.
    #[must_use]
    pub fn to_token(&self) -> String {
        BASE64URL_NOPAD.encode(&[&self.0[..], &self.checksum()].concat())
    }

    /// Parses the text that a link carries a key in.
    ///
    /// # Errors
    /// If it is incomplete or was altered.
    pub fn from_token(token: &str) -> Result<Self, TokenError> {
        let found = token.chars().count();
        if found != TOKEN_LEN {
            return Err(TokenError::Length { found });
        }
        let is_foreign = |character: &char| {
            !(character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
        };
        if let Some(character) = token.chars().find(is_foreign) {
            return Err(TokenError::Character { character });
        }
        let bytes = base64url::decode(token).ok_or(TokenError::Checksum)?;
        let (key, checksum) = bytes.split_first_chunk().ok_or(TokenError::Checksum)?;
        let key = Self(*key);
        if checksum == key.checksum() {
            Ok(key)
        } else {
            Err(TokenError::Checksum)
        }
    }

    fn checksum(&self) -> [u8; CHECKSUM_LEN] {
        first(hash(&[LINK_TAG, &self.0]))
    }

    fn derive(&self, genesis: &BlockHash, info: &[u8]) -> Aes256GcmSiv {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(genesis.as_bytes()), &self.0)
            .expand(info, &mut key)
            .expect("HKDF-SHA256 yields up to 8,160 bytes");
        Aes256GcmSiv::new(&key.into())
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoomKey").field(&self.commitment()).finish()
    }
}

/// What a seal protects. Each purpose has a key of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// Time and heart rate of an author's reading with this sequence number.
    Reading(&'a Author, u64),
    /// An author's name with this revision.
    Profile(&'a Author, u64),
    /// The author of the peer with this ID.
    Binding(&'a [u8]),
}

/// The ciphers of a private room, and the key that they are derived from. A clone shares them.
#[derive(Clone)]
pub(crate) struct Ciphers(Arc<Derived>);

struct Derived {
    key: RoomKey,
    genesis: BlockHash,
    reading: Aes256GcmSiv,
    profile: Aes256GcmSiv,
    binding: Aes256GcmSiv,
}

impl Ciphers {
    pub(crate) fn new(key: RoomKey, genesis: BlockHash) -> Self {
        Self(Arc::new(Derived {
            reading: key.derive(&genesis, READING_KEY_INFO),
            profile: key.derive(&genesis, PROFILE_KEY_INFO),
            binding: key.derive(&genesis, BINDING_KEY_INFO),
            key,
            genesis,
        }))
    }

    pub(crate) fn key(&self) -> &RoomKey {
        &self.0.key
    }

    /// Seals `plain` into `N` bytes: `plain` encrypted, and the tag.
    pub(crate) fn seal<const N: usize>(&self, purpose: Purpose<'_>, plain: &[u8]) -> [u8; N] {
        debug_assert_eq!(plain.len() + TAG_LEN, N, "length of {purpose:?}");
        let (nonce, covers) = self.envelope(purpose);
        let mut sealed = [0; N];
        let (body, tag) = sealed.split_at_mut(N - TAG_LEN);
        body.copy_from_slice(plain);
        let computed = self
            .cipher(purpose)
            .encrypt_in_place_detached(&nonce.into(), &covers, body)
            .expect("what is sealed is shorter than 64 GiB");
        tag.copy_from_slice(&computed);
        sealed
    }

    /// Opens a seal; `None` if it was made with another key or for another purpose, or was altered.
    pub(crate) fn open<const N: usize>(
        &self,
        purpose: Purpose<'_>,
        sealed: &[u8],
    ) -> Option<[u8; N]> {
        let (nonce, covers) = self.envelope(purpose);
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let mut plain: [u8; N] = body.try_into().ok()?;
        self.cipher(purpose)
            .decrypt_in_place_detached(&nonce.into(), &covers, &mut plain, &(*tag).into())
            .ok()?;
        Some(plain)
    }

    fn cipher(&self, purpose: Purpose<'_>) -> &Aes256GcmSiv {
        match purpose {
            Purpose::Reading(..) => &self.0.reading,
            Purpose::Profile(..) => &self.0.profile,
            Purpose::Binding(_) => &self.0.binding,
        }
    }

    /// The nonce and the additional data.
    fn envelope(&self, purpose: Purpose<'_>) -> ([u8; NONCE_LEN], Vec<u8>) {
        let number;
        let (tag, owner, number): (_, &[u8], &[u8]) = match purpose {
            Purpose::Reading(author, seq) => {
                number = seq.to_le_bytes();
                (READING_NONCE_TAG, author.as_bytes(), &number)
            }
            Purpose::Profile(author, revision) => {
                number = revision.to_le_bytes();
                (PROFILE_NONCE_TAG, author.as_bytes(), &number)
            }
            Purpose::Binding(peer) => (BINDING_NONCE_TAG, peer, &[]),
        };
        let nonce = first(hash(&[tag, owner, number]));
        (nonce, [self.0.genesis.as_bytes(), owner, number].concat())
    }
}

/// The same key seals the same room.
impl PartialEq for Ciphers {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.key, &self.0.genesis) == (&other.0.key, &other.0.genesis)
    }
}

impl Eq for Ciphers {}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ciphers").field(&self.0.key).finish()
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let hash = parts.iter().fold(Sha256::new(), Sha256::chain_update);
    hash.finalize().into()
}

/// The first bytes of a hash.
fn first<const N: usize>(hash: [u8; 32]) -> [u8; N] {
    core::array::from_fn(|at| hash.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
