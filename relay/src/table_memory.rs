//! Gives back the memory of hash tables that most entries have left. Those of the standard library keep it, so that a relay
//! would keep the tables of its largest crowd forever.

use std::{collections::HashMap, hash::Hash};

/// Entries that a table may always have room for.
const SMALL: usize = 128;
/// Entries that a larger table may have room for, for each that it has.
const ROOM_PER_ENTRY: usize = 8;

/// The most entries that a table with this many may have room for.
pub(crate) fn max_capacity(entries: usize) -> usize {
    entries.saturating_mul(ROOM_PER_ENTRY).max(SMALL)
}

/// Gives back what a table needs no longer. Called after entries were removed, which on average takes no longer for it: a
/// table that has shrunk must lose half of its entries to shrink again, and double them to grow.
pub(crate) fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > max_capacity(table.len()) {
        table.shrink_to(table.len().saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_follows_the_entries_in_both_directions() {
        let mut table = HashMap::new();
        let mut changes = 0;
        for round in 0..3 {
            for key in 0..10_000 {
                table.insert(key, round);
            }
            for key in 0..10_000 {
                table.remove(&key);
                let before = table.capacity();
                shrink(&mut table);
                changes += usize::from(table.capacity() != before);
                assert!(table.capacity() <= max_capacity(table.len()));
                assert_eq!(table.len(), 9_999 - key);
            }
        }
        assert!(changes < 30, "{changes} times");
    }
}
