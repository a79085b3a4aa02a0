//! Move files: what an author takes to another device, encrypted with a passphrase. `docs/storage.md` has the format,
//! under "Move files". Pure: salt and nonce are arguments.
//!
//! # How can it be attacked?
//!
//! A file that falls into other hands can be tried with many passphrases. Argon2id makes each try cost 19 MiB and 65 ms.
//! A file from other hands is refused without its passphrase, and its header cannot ask for more work than
//! [`MAX_MEMORY_KIB`] and [`MAX_PASSES`]. No length in it drives an allocation, and its keys and its journal are bounded.

use aes_gcm_siv::{AeadInPlace as _, Aes256GcmSiv, KeyInit as _};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use heartchain_chain::{
    bpm::Bpm,
    content::ReadingForm,
    hash::{IdPrefix, RoomId},
    profile::MAX_PROFILE_LEN,
    room::MAX_ROOM_NAME_LEN,
    time::{MAX_READING_TIME, UnixMillis},
};
use heartchain_sync::{config::MAX_JOURNAL, io::JournalEntry};
use litemap::LiteMap;
use sha2::{Digest as _, Sha256};

use crate::room_access::RoomAccess;

/// What every move file begins with.
const MAGIC: &[u8; 15] = b"heartchain/move";
/// The version of the format.
const VERSION: u8 = 1;
/// Prefix of the bytes whose hash shows that a file is complete.
const CHECKSUM_TAG: &[u8] = b"heartchain/move-checksum/1";
/// Length of the checksum at the end, in bytes.
const CHECKSUM_LEN: usize = 8;
/// Length of the tag of AES-256-GCM-SIV in bytes.
const TAG_LEN: usize = 16;
/// Length of a salt in bytes, as RFC 9106 recommends.
pub(crate) const SALT_LEN: usize = 16;
/// Length of a nonce of AES-256-GCM-SIV in bytes.
pub(crate) const NONCE_LEN: usize = 12;
/// Length of the header in bytes: magic, version, three parameters, salt and nonce.
const HEADER_LEN: usize = MAGIC.len() + 1 + 3 * 4 + SALT_LEN + NONCE_LEN;
/// Length of an entry of the journal in an open room, in bytes. In a private room, 4 bytes of the reading's ID follow.
const ENTRY_LEN: usize = 8 + 2 + 4;
/// The most that Argon2id may be asked to use, in KiB: three times what this version asks for.
pub(crate) const MAX_MEMORY_KIB: u32 = 65_536;
/// The most passes of Argon2id.
pub(crate) const MAX_PASSES: u32 = 8;
/// The most keys of one author in a file: a tab gets another key when its own is used elsewhere, which is rare. The start of a tab
/// restores each key, and each takes 80 characters of `localStorage`.
pub(crate) const MAX_MOVED_KEYS: usize = 1_024;
/// Length of the longest file in bytes: a full journal of a private room takes 38 MB.
pub(crate) const MAX_MOVE_FILE_LEN: usize = 40 * 1_024 * 1_024;

/// What a move file contains.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MovedIdentity {
    /// What opens the room.
    pub(crate) access: RoomAccess,
    /// What people call the room; may be empty.
    pub(crate) label: String,
    /// The seeds of the author's keys, each with the first position that it signs. The first one is that of position 0.
    pub(crate) keys: Vec<(u64, [u8; 32])>,
    /// The journal; `None` for a lost entry.
    pub(crate) journal: Vec<Option<JournalEntry>>,
    /// Entries below this position were confirmed.
    pub(crate) unconfirmed_from: u64,
    /// The author's profile as it is sent, if there is one. The reader checks it.
    pub(crate) profile: Option<Vec<u8>>,
}

/// Prints neither keys nor heart rates.
impl std::fmt::Debug for MovedIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MovedIdentity")
            .field("access", &self.access)
            .field("journal", &self.journal.len())
            .finish_non_exhaustive()
    }
}

/// How costly a try of a passphrase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// How much memory Argon2id uses, in KiB.
    pub(crate) memory_kib: u32,
    /// Passes over the memory.
    pub(crate) passes: u32,
}

impl Cost {
    /// What new files have: the first recommendation of OWASP for Argon2id.
    pub(crate) const DEFAULT: Self = Self {
        memory_kib: 19_456,
        passes: 2,
    };
}

/// Why a file was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MoveFileError {
    /// The file is longer than any move file.
    #[error("this file is too long for a move file: choose the file that was made for the move")]
    TooLong,
    /// The author has had more keys than a file may have.
    #[error(
        "this tab has had more than {MAX_MOVED_KEYS} keys, so it cannot move: record in a new tab, which can"
    )]
    TooManyKeys,
    /// The file is of another kind.
    #[error("this is not a move file: choose the file that was made for the move")]
    OtherKind,
    /// The file has a version that this code does not know.
    #[error(
        "this move file was made by a newer version of Heartchain: reload the page and try again"
    )]
    Newer,
    /// Bytes are missing or differ.
    #[error("this move file is incomplete or was altered: copy it again, or make a new one")]
    Damaged,
    /// The file is complete and does not open.
    #[error("this passphrase does not open the move file: type it again")]
    Passphrase,
    /// The content breaks a rule, although the passphrase is right.
    #[error("the content of this move file is not valid: make a new one")]
    Content,
    /// There is not enough memory to try the passphrase.
    #[error("there is not enough memory to open the move file: close other tabs and try again")]
    Memory,
}

/// The first bytes of a file. They are not secret, and cannot be altered either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    cost: Cost,
    salt: [u8; SALT_LEN],
    nonce: [u8; NONCE_LEN],
}

/// Encrypts a move file. `salt` and `nonce` must be random. Returns no file that is longer than
/// [`MAX_MOVE_FILE_LEN`] or has more than [`MAX_MOVED_KEYS`] keys.
///
/// # Errors
/// [`MoveFileError::TooLong`], [`MoveFileError::TooManyKeys`], or [`MoveFileError::Memory`].
pub(crate) fn seal(
    identity: &MovedIdentity,
    passphrase: &str,
    cost: Cost,
    salt: [u8; SALT_LEN],
    nonce: [u8; NONCE_LEN],
) -> Result<Vec<u8>, MoveFileError> {
    if identity.keys.len() > MAX_MOVED_KEYS {
        return Err(MoveFileError::TooManyKeys);
    }
    let header = Header { cost, salt, nonce };
    let mut file = header.encode();
    file.extend(identity.encode());
    let (head, body) = file.split_at_mut(HEADER_LEN);
    let cipher = header.cipher(passphrase)?;
    let tag = cipher
        .encrypt_in_place_detached(&nonce.into(), head, body)
        .map_err(|_| MoveFileError::TooLong)?;
    file.extend(tag);
    let checksum = checksum(&file);
    file.extend(checksum);
    if file.len() > MAX_MOVE_FILE_LEN {
        return Err(MoveFileError::TooLong);
    }
    Ok(file)
}

/// The keys that sign: of several for one position, the last.
pub(crate) fn keys_in_use(keys: impl IntoIterator<Item = (u64, [u8; 32])>) -> Vec<(u64, [u8; 32])> {
    // A key that was replaced before it signed anything leaves its position to the next.
    keys_by_position(keys).into_tuple_vec()
}

/// Keys by the position of the first journal entry that each signs: of several for one position, the last.
pub(crate) fn keys_by_position(
    keys: impl IntoIterator<Item = (u64, [u8; 32])>,
) -> LiteMap<u64, [u8; 32]> {
    let mut by_position = LiteMap::new();
    for (from, key) in keys {
        by_position.insert(from, key);
    }
    by_position
}

/// Decrypts a move file. `is_nfc` says whether the name of an open room is in Unicode normal form C.
///
/// # Errors
/// If it is not a complete move file, or the passphrase is another one.
pub(crate) fn open(
    file: &[u8],
    passphrase: &str,
    is_nfc: impl FnOnce(&str) -> bool,
) -> Result<MovedIdentity, MoveFileError> {
    if file.len() > MAX_MOVE_FILE_LEN {
        return Err(MoveFileError::TooLong);
    }
    let rest = file.strip_prefix(MAGIC).ok_or(MoveFileError::OtherKind)?;
    match rest.first() {
        Some(&VERSION) => {}
        Some(_) => return Err(MoveFileError::Newer),
        None => return Err(MoveFileError::Damaged),
    }
    let (sealed, found) = file
        .split_last_chunk::<CHECKSUM_LEN>()
        .ok_or(MoveFileError::Damaged)?;
    if checksum(sealed) != *found {
        return Err(MoveFileError::Damaged);
    }
    let (head, body) = sealed
        .split_at_checked(HEADER_LEN)
        .ok_or(MoveFileError::Damaged)?;
    let (body, tag) = body
        .split_last_chunk::<TAG_LEN>()
        .ok_or(MoveFileError::Damaged)?;
    let header = Header::decode(head).ok_or(MoveFileError::Newer)?;
    let cipher = header.cipher(passphrase)?;
    let mut plain = body.to_vec();
    cipher
        .decrypt_in_place_detached(&header.nonce.into(), head, &mut plain, &(*tag).into())
        .map_err(|_| MoveFileError::Passphrase)?;
    MovedIdentity::decode(&plain, is_nfc).ok_or(MoveFileError::Content)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = Sha256::new()
        .chain_update(CHECKSUM_TAG)
        .chain_update(bytes)
        .finalize();
    let mut first = [0; CHECKSUM_LEN];
    for (to, from) in first.iter_mut().zip(hash) {
        *to = from;
    }
    first
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let Self { cost, salt, nonce } = self;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        for parameter in [cost.memory_kib, cost.passes, 1] {
            bytes.extend(parameter.to_le_bytes());
        }
        bytes.extend(salt);
        bytes.extend(nonce);
        bytes
    }

    /// `None` if the header is malformed, or asks for more work than is allowed.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
        let (memory_kib, rest) = take_u32(rest)?;
        let (passes, rest) = take_u32(rest)?;
        let (lanes, rest) = take_u32(rest)?;
        let (salt, nonce) = rest.split_first_chunk()?;
        let is_allowed = (Params::MIN_M_COST..=MAX_MEMORY_KIB).contains(&memory_kib)
            && (Params::MIN_T_COST..=MAX_PASSES).contains(&passes)
            && lanes == 1;
        is_allowed.then_some(Self {
            cost: Cost { memory_kib, passes },
            salt: *salt,
            nonce: nonce.try_into().ok()?,
        })
    }

    /// The cipher with the key that follows from the passphrase.
    fn cipher(&self, passphrase: &str) -> Result<Aes256GcmSiv, MoveFileError> {
        let Cost { memory_kib, passes } = self.cost;
        let params = Params::new(memory_kib, passes, 1, Some(32));
        let params = params.map_err(|_| MoveFileError::Newer)?;
        let mut memory: Vec<Block> = Vec::new();
        let blocks = params.block_count();
        memory
            .try_reserve_exact(blocks)
            .map_err(|_| MoveFileError::Memory)?;
        memory.resize(blocks, Block::new());
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.as_bytes(),
                &self.salt,
                &mut key,
                &mut memory,
            )
            .map_err(|_| MoveFileError::Passphrase)?;
        Ok(Aes256GcmSiv::new(&key.into()))
    }
}

impl MovedIdentity {
    /// The content of a file, before it is encrypted.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let room = self.access.room();
        let mut bytes = room.id().as_bytes().to_vec();
        bytes.extend(self.access.encode());
        push_short(&mut bytes, self.label.as_bytes());
        push_u32(&mut bytes, self.keys.len() as u64);
        for (from, seed) in &self.keys {
            push_u32(&mut bytes, *from);
            bytes.extend(seed);
        }
        push_u32(&mut bytes, self.unconfirmed_from);
        push_u32(&mut bytes, self.journal.len() as u64);
        for entry in &self.journal {
            push_entry(&mut bytes, room.form(), entry.as_ref());
        }
        push_short(&mut bytes, self.profile.as_deref().unwrap_or_default());
        bytes
    }

    /// Decodes the content of a file. Strict: what is accepted encodes to the same bytes.
    pub(crate) fn decode(bytes: &[u8], is_nfc: impl FnOnce(&str) -> bool) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (access, rest) = RoomAccess::decode(rest, is_nfc)?;
        let room = access.room();
        // Other parameters than those of this version make another room.
        if room.id() != RoomId::new(*id) {
            return None;
        }
        let (label, rest) = take_short(rest, MAX_ROOM_NAME_LEN)?;
        let label = str::from_utf8(label).ok()?.to_owned();
        let (count, mut rest) = take_u32(rest)?;
        if usize::try_from(count).is_ok_and(|count| count > MAX_MOVED_KEYS) {
            return None;
        }
        let mut keys: Vec<(u64, [u8; 32])> = Vec::new();
        for _ in 0..count {
            let (from, after) = take_u32(rest)?;
            let (seed, after) = after.split_first_chunk()?;
            let from = u64::from(from);
            if keys.last().map_or(from != 0, |(before, _)| from <= *before) {
                return None;
            }
            keys.push((from, *seed));
            rest = after;
        }
        let (last_from, _) = keys.last()?;
        let (unconfirmed_from, rest) = take_u32(rest)?;
        let (len, mut rest) = take_u32(rest)?;
        // Entries that are signed again may exceed the limit for new ones.
        let is_possible = usize::try_from(len).is_ok_and(|len| len <= 2 * MAX_JOURNAL);
        if !is_possible || *last_from > len.into() || unconfirmed_from > len {
            return None;
        }
        let mut journal = Vec::new();
        for position in 0..len {
            let (entry, after) = take_entry(rest, room.form(), position)?;
            journal.push(entry);
            rest = after;
        }
        let (profile, []) = take_short(rest, MAX_PROFILE_LEN)? else {
            return None;
        };
        Some(Self {
            access,
            label,
            keys,
            journal,
            unconfirmed_from: unconfirmed_from.into(),
            profile: (!profile.is_empty()).then(|| profile.to_vec()),
        })
    }

    /// How many readings were recorded, lost ones included. An entry that was signed again counts once.
    pub(crate) fn readings(&self) -> u64 {
        let again = self.journal.iter().flatten();
        let again = again.filter(|entry| entry.replaces.is_some()).count();
        self.journal.len().saturating_sub(again) as u64
    }
}

fn push_u32(bytes: &mut Vec<u8>, number: u64) {
    // A journal has at most 2^22 positions.
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    bytes.extend(number.to_le_bytes());
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// Appends up to 255 bytes with their length.
fn push_short(bytes: &mut Vec<u8>, content: &[u8]) {
    let len = u8::try_from(content.len()).unwrap_or_default();
    bytes.push(len);
    bytes.extend(content.iter().take(usize::from(len)));
}

fn take_short(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let len = usize::from(*len);
    (len <= limit).then(|| rest.split_at_checked(len)).flatten()
}

/// Appends an entry: time, heart rate, and the position that it replaces plus one; only zeros if it is lost.
fn push_entry(bytes: &mut Vec<u8>, form: ReadingForm, entry: Option<&JournalEntry>) {
    let Some(entry) = entry else {
        bytes.extend([0; ENTRY_LEN]);
        if form == ReadingForm::Sealed {
            bytes.extend([0; 4]);
        }
        return;
    };
    bytes.extend(entry.time.get().to_le_bytes());
    bytes.extend(entry.bpm.get().to_le_bytes());
    push_u32(bytes, entry.replaces.map_or(0, |at| at.saturating_add(1)));
    if form == ReadingForm::Sealed {
        let prefix = entry.prefix.map_or(0, IdPrefix::to_bits);
        bytes.extend(prefix.to_le_bytes());
    }
}

/// An entry, or `None` if it is lost, and what follows it.
type TakenEntry<'a> = (Option<JournalEntry>, &'a [u8]);

fn take_entry(bytes: &[u8], form: ReadingForm, position: u32) -> Option<TakenEntry<'_>> {
    let (time, rest) = bytes.split_first_chunk()?;
    let (bpm, rest) = rest.split_first_chunk()?;
    let (replaces, rest) = take_u32(rest)?;
    let (prefix, rest) = match form {
        ReadingForm::Open => (0, rest),
        ReadingForm::Sealed => take_u32(rest)?,
    };
    let (time, bpm) = (u64::from_le_bytes(*time), u16::from_le_bytes(*bpm));
    if bpm == 0 {
        let is_lost = time == 0 && replaces == 0 && prefix == 0;
        return is_lost.then_some((None, rest));
    }
    let time = UnixMillis::new(time);
    if time > MAX_READING_TIME || replaces > position {
        return None;
    }
    let entry = JournalEntry {
        time,
        bpm: Bpm::new(bpm).ok()?,
        replaces: replaces.checked_sub(1).map(u64::from),
        // Zero stands for a prefix that is not known, too: it is computed at the next start.
        prefix: (prefix != 0).then(|| IdPrefix::from_bits(prefix)),
    };
    Some((Some(entry), rest))
}

// With an explicit path, because the fuzz target includes this file from elsewhere.
#[cfg(test)]
#[path = "move_file/tests.rs"]
mod tests;
