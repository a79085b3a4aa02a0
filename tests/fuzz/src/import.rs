//! A file that a person imports, piece by piece, as any bytes say: every piece is answered once, no bound is exceeded, and
//! nothing that was recorded meanwhile is lost. The browser itself reads the file's JSON, and `words` its names.

use arbitrary::Arbitrary;
use chain::{block::Block, bpm::Bpm, reading::Reading};
use sync::seam::ImportPiece;

use crate::{
    machine::bytes_of,
    stage::Stage,
    steps::{Material, all_of},
};

/// So many pieces at the most.
const MAX_PIECES: usize = 40;

/// A piece of a file, and what happens after it.
#[derive(Arbitrary, Debug)]
struct Piece {
    blocks: Vec<Material>,
    readings: Vec<Material>,
    ends: bool,
    /// How many jobs the disk does then.
    disk: u8,
    /// A heart rate that the person enters meanwhile.
    recorded: Option<u8>,
}

/// Imports what the bytes say, and lets everything come to rest.
pub fn import(data: &[u8]) {
    let mut stage = Stage::new();
    for piece in all_of::<Piece>(data, MAX_PIECES) {
        let blocks = piece.blocks.iter();
        let blocks = blocks.filter_map(|block| Block::decode(&bytes_of(&stage, block)).ok());
        let readings = piece.readings.iter();
        let readings =
            readings.filter_map(|reading| Reading::decode(&bytes_of(&stage, reading)).ok());
        let piece_of_file = ImportPiece {
            blocks: blocks.collect(),
            readings: readings.collect(),
            ends: piece.ends,
        };
        stage.import(piece_of_file);
        if let Some(bpm) = piece.recorded {
            stage.record(Bpm::new(20 + u16::from(bpm)).expect("20 to 275"));
        }
        for _ in 0..piece.disk % 8 {
            stage.disk(false);
        }
    }
    stage.settle();
    assert_eq!(stage.importing(), 0, "every piece is answered");
    stage.check_kept();
}
