//! A reference implementation of the difficulty rule over the whole list of blocks. It is slow and meant to be
//! obviously correct. It shares no arithmetic with the crate.

use ruint::aliases::U512;

/// The fields of a header that the rule reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) time: u64,
    pub(crate) bits: u32,
}

/// The parameters of a room that the rule reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) floor_bits: u8,
    pub(crate) interval: u64,
}

impl Room {
    fn floor(self) -> U512 {
        U512::ONE << (256 - usize::from(self.floor_bits))
    }

    pub(crate) fn genesis(self) -> Block {
        Block {
            time: 0,
            bits: to_compact(self.floor()),
        }
    }
}

/// Median time past of `blocks[index]`; `blocks[0]` is genesis.
pub(crate) fn mtp(blocks: &[Block], index: usize) -> u64 {
    if index == 0 {
        return 0;
    }
    let first = index.saturating_sub(10).max(1);
    let mut times: Vec<u64> = blocks[first..=index]
        .iter()
        .map(|block| block.time)
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// Whether `blocks[index]` is a quiet block.
pub(crate) fn is_quiet(room: Room, blocks: &[Block], index: usize) -> bool {
    if index < 2 {
        return false;
    }
    let first = index.saturating_sub(11).max(1);
    let greatest = blocks[first..index]
        .iter()
        .map(|block| block.time)
        .max()
        .expect("not empty");
    i128::from(blocks[index].time) - i128::from(greatest)
        > i128::from((60 * room.interval).max(60_000))
}

/// The bits of the next block after `blocks` if it has this time.
pub(crate) fn next_bits(room: Room, blocks: &[Block], time: u64) -> u32 {
    let h = blocks.len();
    let mut with_next = blocks.to_vec();
    with_next.push(Block { time, bits: 0 });
    if is_quiet(room, &with_next, h) {
        return to_compact(room.floor());
    }
    let latest_quiet = (0..h)
        .rev()
        .find(|index| is_quiet(room, blocks, *index))
        .unwrap_or(0);
    let mut targets = U512::ZERO;
    let mut weighted_solves = U512::ZERO;
    for j in 1..=60 {
        // Entry 60 is block h - 1.
        let (target, solve) = match (h + j).checked_sub(61) {
            Some(b) if b >= 2 && b >= latest_quiet => {
                let solve = (mtp(blocks, b) - mtp(blocks, b - 1)).min(6 * room.interval);
                (from_compact(blocks[b].bits), solve)
            }
            _ => (room.floor(), room.interval),
        };
        targets += target;
        weighted_solves += U512::from(j) * U512::from(solve);
    }
    let next = targets * weighted_solves / (U512::from(60 * 1830) * U512::from(room.interval));
    let parent = from_compact(blocks[h - 1].bits);
    let four = U512::from(4);
    let next = next.max(parent / four).min(parent * four);
    to_compact(next.max(U512::ONE).min(room.floor()))
}

/// Decodes compact bits: mantissa * 256^(size - 3).
fn from_compact(bits: u32) -> U512 {
    let size = bits >> 24;
    let mantissa = U512::from(bits & 0x007f_ffff);
    let base = U512::from(256);
    if size >= 3 {
        mantissa * base.pow(U512::from(size - 3))
    } else {
        mantissa / base.pow(U512::from(3 - size))
    }
}

/// Encodes a number as compact bits: the number of bytes and the first three. The bytes have no leading zeros, except
/// one if the first byte would have the sign bit set.
fn to_compact(value: U512) -> u32 {
    let all: [u8; 64] = value.to_be_bytes();
    let start = all.iter().position(|byte| *byte != 0).unwrap_or(all.len());
    let mut bytes = all[start..].to_vec();
    if bytes.first().is_some_and(|byte| *byte >= 0x80) {
        bytes.insert(0, 0);
    }
    let size = bytes.len();
    bytes.resize(size.max(3), 0);
    u32::from_be_bytes([
        u8::try_from(size).expect("64 bytes at most"),
        bytes[0],
        bytes[1],
        bytes[2],
    ])
}
