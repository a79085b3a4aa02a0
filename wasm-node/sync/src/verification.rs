//! Verifies signatures outside of the machine, for instance in another thread, and proves to the machine that it was
//! done. Decides nothing else: the machine checks all other rules of a body itself.
//!
//! A Merkle root covers every byte of a body's readings, their signatures included. So the proof is a list of roots.

use alloc::vec::Vec;

use heartchain_chain::{
    content::ReadingForm,
    hash::{ReadingsRoot, RoomId},
    merkle::readings_root,
    reading::{Reading, ReadingError, verify_batch},
};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::message::{MessageError, Response};

/// Readings that [`verify_each`] verifies at a time. Larger batches are hardly faster, and one invalid reading makes a whole
/// batch slow.
const BATCH: usize = 64;

/// The proof that the signatures of some bodies are valid in a room. [`Self::verify`] is the only way to get one, apart
/// from the way between two threads.
#[derive(Clone, Debug)]
pub struct VerifiedBodies {
    room: RoomId,
    roots: Vec<ReadingsRoot>,
}

impl VerifiedBodies {
    /// Verifies the fields and signatures of all readings in these bodies. If one is invalid, the proof covers no body: the
    /// machine then finds out which one it is.
    ///
    /// `seed` must be unpredictable to the authors.
    #[must_use]
    pub fn verify(room: RoomId, bodies: &[&[Reading]], seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        // One large batch is faster than many small ones.
        let readings = bodies.concat();
        let mut roots = Vec::new();
        if verify_batch(room, readings.as_slice(), &mut rng).is_ok() {
            roots.extend(bodies.iter().map(|body| readings_root(body)));
        }
        Self { room, roots }
    }

    /// The same for the bodies in an encoded [`Response::Bodies`].
    ///
    /// # Errors
    /// If the bytes are not a response with readings of this form.
    pub fn verify_encoded(
        room: RoomId,
        form: ReadingForm,
        bytes: &[u8],
        seed: [u8; 32],
    ) -> Result<Self, MessageError> {
        let Response::Bodies(bodies) = Response::decode(form, bytes)? else {
            return Err(MessageError::Malformed);
        };
        let bodies: Vec<&[Reading]> = bodies.iter().flatten().map(Vec::as_slice).collect();
        Ok(Self::verify(room, &bodies, seed))
    }

    /// The bytes that another thread of this peer passes to [`Self::from_own_thread`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let roots = self.roots.iter().map(ReadingsRoot::as_bytes);
        let parts = [self.room.as_bytes()].into_iter().chain(roots);
        parts.flatten().copied().collect()
    }

    /// Reads what another thread of this peer wrote with [`Self::to_bytes`]; `None` if it is something else.
    ///
    /// The bytes must never come from another peer: they would make the machine accept forged readings.
    #[must_use]
    pub fn from_own_thread(bytes: &[u8]) -> Option<Self> {
        let (parts, []) = bytes.as_chunks() else {
            return None;
        };
        let (room, roots) = parts.split_first()?;
        Some(Self {
            room: RoomId::new(*room),
            roots: roots.iter().copied().map(ReadingsRoot::new).collect(),
        })
    }

    /// Whether the signatures of the body with this root are valid in this room.
    pub(crate) fn covers(&self, room: RoomId, root: &ReadingsRoot) -> bool {
        self.room == room && self.roots.contains(root)
    }
}

/// Verifies each of these readings. This is faster than one by one if most are valid.
///
/// `seed` must be unpredictable to the authors.
#[must_use]
pub fn verify_each(
    room: RoomId,
    readings: &[Reading],
    seed: [u8; 32],
) -> Vec<Result<(), ReadingError>> {
    let mut rng = ChaCha12Rng::from_seed(seed);
    let mut results = Vec::with_capacity(readings.len());
    for batch in readings.chunks(BATCH) {
        let is_valid = verify_batch(room, batch, &mut rng).is_ok();
        let each = batch.iter().map(|reading| match is_valid {
            true => Ok(()),
            false => reading.verify(room),
        });
        results.extend(each);
    }
    results
}
