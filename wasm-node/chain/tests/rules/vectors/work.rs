//! Compact targets, the targets that they represent, and the work that meeting these proves.

use heartchain_chain::work::{CompactTarget, Work};
use serde_json::{Value, json};

use super::errors::error_name;

/// Boundary values of every byte.
const BITS: [u32; 28] = [
    0x0000_0000,
    0x0000_ffff,
    0x0101_0000,
    0x017f_ffff,
    0x0180_0001,
    0x0201_2345,
    0x0200_00ff,
    0x0300_0001,
    0x0312_3456,
    0x0380_0000,
    0x0400_0001,
    0x0412_3456,
    0x0492_3456,
    0x0500_9234,
    0x1900_ffff,
    0x1901_0000,
    0x1d00_ffff,
    0x1f00_ffff,
    0x1f01_0000,
    0x2000_8000,
    0x2001_0000,
    0x207f_ffff,
    0x2080_0000,
    0x2100_ffff,
    0x2101_0000,
    0x2200_00ff,
    0x2200_0100,
    0xff12_3456,
];

fn vector(bits: u32) -> Value {
    match CompactTarget::from_bits(bits).target() {
        Ok(target) => json!({
            "bits": bits,
            "target": target.to_string(),
            "rewritten": target.to_compact().to_bits(),
            "work": target.work().to_string(),
        }),
        Err(error) => json!({ "bits": bits, "error": error_name(&error) }),
    }
}

pub(super) fn vectors() -> Value {
    let work = CompactTarget::from_bits(0x1f01_0000)
        .target()
        .expect("a target")
        .work();
    let most = Work::from_le_bytes([0xff; 32]);
    let total_work: Vec<Value> = [(Work::ZERO, work), (work, work), (most, work)]
        .into_iter()
        .map(|(a, b)| {
            let sum = a.saturating_add(b);
            json!({ "a": a.to_string(), "b": b.to_string(), "sum": sum.to_string(), "bytes": hex::encode(sum.to_le_bytes()) })
        })
        .collect();
    json!({ "compact": BITS.map(vector), "sums": total_work })
}
