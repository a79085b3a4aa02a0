//! Verifies an export alone: every hash, target, root, signature and sequence number, and what the file says of its tip and
//! its work. Trusts nothing in the file, needs no store, and keeps one block in memory.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use heartchain_chain::{
    block::{Block, BodyError, check_body},
    difficulty::Window,
    hash::BlockHash,
    key::Author,
    mempool::MAX_READINGS,
    profile::{Profile, ProfileError},
    reading::{Reading, ReadingError},
    room::Room,
    validate::{HeaderError, check_header},
    work::Work,
};
use heartchain_sync::config::{MAX_ADOPTED, MAX_JOURNAL, MAX_PROFILES};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::document::{Document, DocumentError, ReadError, Row};

/// Readings that can wait in a valid export: what a peer has in its mempool, keeps of others, and has recorded.
const MAX_WAITING: usize = MAX_READINGS + MAX_ADOPTED + MAX_JOURNAL;

/// What a valid export contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The name of an open room; `None` for a private one.
    pub room: Option<String>,
    /// Blocks after genesis.
    pub blocks: u64,
    /// Readings in blocks.
    pub readings: u64,
    /// Readings that wait for a block.
    pub waiting: usize,
    /// Names of authors, erased ones included.
    pub names: usize,
}

/// Why an export is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file cannot be read as an export.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A header breaks a rule.
    #[error("block {index} breaks the rules: {source}")]
    Header {
        /// The height of the block.
        index: u64,
        /// The rule that it breaks.
        source: HeaderError,
    },
    /// A body breaks a rule.
    #[error("block {index} breaks the rules: {source}")]
    Body {
        /// The height of the block.
        index: u64,
        /// The rule that it breaks.
        source: BodyError,
    },
    /// A reading does not have its author's next number.
    #[error("block {index} has reading {found} of author {author}, whose next is {expected}")]
    Sequence {
        /// The height of the block.
        index: u64,
        /// The author of the reading.
        author: Author,
        /// The author's next number.
        expected: u64,
        /// The number that the reading has.
        found: u64,
    },
    /// The tip is not the last block.
    #[error("the file says that its tip is another one than block {index}, {hash}")]
    Tip {
        /// The height of the last block.
        index: u64,
        /// The hash of the last block.
        hash: BlockHash,
    },
    /// The total work is not that of the blocks.
    #[error("the file says that its work is {found}, and that of its blocks is {expected}")]
    Work {
        /// The work of the blocks.
        expected: Work,
        /// What the file says.
        found: String,
    },
    /// A waiting reading breaks a rule.
    #[error("waiting reading {position} breaks the rules: {source}")]
    Waiting {
        /// Its position in the list, from 1.
        position: usize,
        /// The rule that it breaks.
        source: ReadingError,
    },
    /// A waiting reading is in a block already, or twice in the list.
    #[error("waiting reading {position} is in the file twice: number {seq} of author {author}")]
    Twice {
        /// Its position in the list, from 1.
        position: usize,
        /// The author of the reading.
        author: Author,
        /// The number of the reading.
        seq: u64,
    },
    /// More readings wait than any peer keeps.
    #[error("more than {MAX_WAITING} readings wait, which no peer keeps")]
    TooManyWaiting,
    /// A profile breaks a rule.
    #[error("name {position} breaks the rules: {source}")]
    Profile {
        /// Its position in the list, from 1.
        position: usize,
        /// The rule that it breaks.
        source: ProfileError,
    },
    /// The profiles are not in the order of their authors, one of each.
    #[error("name {position} is not in the order of the authors' keys, one of each")]
    ProfileOrder {
        /// Its position in the list, from 1.
        position: usize,
    },
    /// There are more profiles than any peer keeps.
    #[error("there are more than {MAX_PROFILES} names, which no peer keeps")]
    TooManyProfiles,
    /// The operating system gives no random numbers.
    #[error("this system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
}

/// Verifies the export at `path`.
///
/// # Errors
/// The first rule that the file breaks.
pub fn verify(path: &Path) -> Result<Verified, VerifyError> {
    let document = Document::open(path)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let mut verifier = Verifier::new(&document.room, ChaCha20Rng::from_seed(seed));
    let read = document.read(|row| verifier.add(row));
    read.map_err(|error| match error {
        ReadError::Document(error) => VerifyError::Document(error),
        ReadError::Stopped(error) => error,
    })?;
    verifier.finish(&document)
}

struct Verifier<'a> {
    room: &'a Room,
    rng: ChaCha20Rng,
    window: Window,
    tip: (u64, BlockHash),
    work: Work,
    next_seqs: HashMap<Author, u64>,
    readings: u64,
    waiting: HashSet<(Author, u64)>,
    /// The number of profiles, and the author of the last.
    profiles: (usize, Option<Author>),
}

impl<'a> Verifier<'a> {
    fn new(room: &'a Room, rng: ChaCha20Rng) -> Self {
        Self {
            room,
            rng,
            window: Window::genesis(room),
            tip: (0, room.genesis_hash()),
            work: Work::ZERO,
            next_seqs: HashMap::new(),
            readings: 0,
            waiting: HashSet::new(),
            profiles: (0, None),
        }
    }

    fn add(&mut self, row: Row) -> Result<(), VerifyError> {
        match row {
            Row::Block(block) => self.add_block(&block),
            Row::Waiting(reading) => self.add_waiting(&reading),
            Row::Profile(profile) => self.add_profile(&profile),
        }
    }

    fn add_block(&mut self, Block { header, readings }: &Block) -> Result<(), VerifyError> {
        let (parent_index, parent) = self.tip;
        let index = header.index;
        let hash = header.hash();
        // Whether the block was early when it was mined is not known any more.
        let now = header.time;
        let target = check_header(&self.window, parent, parent_index, header, &hash, now)
            .map_err(|source| VerifyError::Header { index, source })?;
        check_body(self.room.id(), header, readings, |_| false, &mut self.rng)
            .map_err(|source| VerifyError::Body { index, source })?;
        for &Reading { author, seq, .. } in readings {
            let next = self.next_seqs.entry(author).or_default();
            if seq != *next {
                return Err(VerifyError::Sequence {
                    index,
                    author,
                    expected: *next,
                    found: seq,
                });
            }
            *next += 1;
        }
        self.readings += readings.len() as u64;
        self.work = self.work.saturating_add(target.work());
        self.window.push(header);
        self.tip = (index, hash);
        Ok(())
    }

    fn add_waiting(&mut self, reading: &Reading) -> Result<(), VerifyError> {
        let position = self.waiting.len() + 1;
        let &Reading { author, seq, .. } = reading;
        let checked = reading.check_fields();
        checked
            .and_then(|()| reading.verify(self.room.id()))
            .map_err(|source| VerifyError::Waiting { position, source })?;
        let next = self.next_seqs.get(&author).copied().unwrap_or_default();
        if seq < next || !self.waiting.insert((author, seq)) {
            return Err(VerifyError::Twice {
                position,
                author,
                seq,
            });
        }
        match position > MAX_WAITING {
            true => Err(VerifyError::TooManyWaiting),
            false => Ok(()),
        }
    }

    fn add_profile(&mut self, profile: &Profile) -> Result<(), VerifyError> {
        let (count, last) = self.profiles;
        let position = count + 1;
        profile
            .verify(self.room.id())
            .map_err(|source| VerifyError::Profile { position, source })?;
        if last.is_some_and(|last| last >= profile.author) {
            return Err(VerifyError::ProfileOrder { position });
        }
        if position > MAX_PROFILES {
            return Err(VerifyError::TooManyProfiles);
        }
        self.profiles = (position, Some(profile.author));
        Ok(())
    }

    /// Compares what was found with what the head says.
    fn finish(self, document: &Document) -> Result<Verified, VerifyError> {
        let (index, hash) = self.tip;
        let head = &document.head;
        if head.tip.index != index || head.tip.hash != hash.to_string() {
            return Err(VerifyError::Tip { index, hash });
        }
        if head.total_work != self.work.to_string() {
            return Err(VerifyError::Work {
                expected: self.work,
                found: head.total_work.clone(),
            });
        }
        Ok(Verified {
            room: head.room.name.clone(),
            blocks: index,
            readings: self.readings,
            waiting: self.waiting.len(),
            names: self.profiles.0,
        })
    }
}
