//! 260 steps of the difficulty rule: blocks that come too fast, a quiet block, times that go back and forth, slow
//! blocks.

use heartchain_chain::{difficulty::Window, time::UnixMillis};
use serde_json::{Value, json};

use crate::{
    difficulty::{header, room},
    reference,
};

/// Milliseconds between the times of a block and its parent, computed from the block's index alone.
fn delta(index: u64) -> i64 {
    let noise = i64::try_from(index * 7919 % 1000).expect("below 1000");
    match index {
        1..=80 => 100 + noise / 2,
        81 => 60_000,
        82..=119 => 800 + noise / 3,
        120 => 75_000,
        121..=200 => 3 * noise - 1000,
        201..=230 => 4000 + noise,
        _ => 1000,
    }
}

pub(super) fn vectors() -> Value {
    let (room, reference_room) = room(16, 1000);
    let mut window = Window::genesis(&room);
    let mut blocks = vec![reference_room.genesis()];
    let mut time = 1_700_000_000_000_u64;
    let mut steps = Vec::new();
    for index in 1..=260 {
        time = time
            .saturating_add_signed(delta(index))
            .max(window.mtp().get() + 1);
        let quiet = window.is_quiet(UnixMillis::new(time));
        let bits = window.next_bits(UnixMillis::new(time)).to_bits();
        assert_eq!(
            bits,
            reference::next_bits(reference_room, &blocks, time),
            "block {index}"
        );
        assert_eq!(quiet, index == 120, "block {index}");
        window.push(&header(blocks.len(), time, bits));
        blocks.push(reference::Block { time, bits });
        steps.push(json!([time, bits, window.mtp().get()]));
    }
    json!({
        "floor_bits": 16,
        "block_interval_ms": 1000,
        "quiet_blocks": [120],
        "columns": ["time", "bits", "mtp"],
        "blocks_from_index_1": steps,
    })
}
