//! Fuzz target of imports: any sequence of file pieces. Every piece is answered exactly once, no bound is exceeded, and
//! no reading that is recorded meanwhile is lost. The browser parses the file's JSON; the target `hex` covers its
//! hexadecimal fields.

use arbitrary::Arbitrary;
use heartchain_chain::{block::Block, bpm::Bpm, content::ReadingForm, reading::Reading};
use heartchain_sync::io::ImportPiece;
use heartchain_test_support::Driver as _;

use crate::{
    harness::Harness,
    machine::payload_bytes,
    pool::pool,
    steps::{Payload, all_of},
};

/// The most pieces of one input.
const MAX_PIECES: usize = 40;

/// A piece of a file, and what happens after it.
#[derive(Arbitrary, Debug)]
struct Piece {
    blocks: Vec<Payload>,
    readings: Vec<Payload>,
    ends: bool,
    /// Number of disk jobs that complete afterwards, modulo 8.
    disk: u8,
    /// A heart rate that the person records meanwhile.
    recorded: Option<u8>,
}

/// Imports the pieces that the bytes describe, and waits until everything is settled.
pub fn import(data: &[u8]) {
    let mut harness = Harness::new(pool());
    for piece in all_of::<Piece>(data, MAX_PIECES) {
        let blocks = piece.blocks.iter();
        let blocks = blocks.filter_map(|block| {
            Block::decode(ReadingForm::Open, &payload_bytes(&harness, block)).ok()
        });
        let readings = piece.readings.iter();
        let readings = readings.filter_map(|reading| {
            Reading::decode(ReadingForm::Open, &payload_bytes(&harness, reading)).ok()
        });
        let piece_of_file = ImportPiece {
            blocks: blocks.collect(),
            readings: readings.collect(),
            profiles: Vec::new(),
            is_last: piece.ends,
        };
        harness.import(piece_of_file);
        if let Some(bpm) = piece.recorded {
            harness.record(Bpm::new(20 + u16::from(bpm)).expect("20 to 275"));
        }
        for _ in 0..piece.disk % 8 {
            harness.disk(false);
        }
    }
    harness.settle();
    assert_eq!(harness.importing(), 0, "every piece is answered");
    harness.check_nothing_lost();
}
