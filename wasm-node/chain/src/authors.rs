//! The authors of all readings in the tree, with an index of their readings on the best branch.
//!
//! Authors are interned: blocks refer to them by a small number, and the row of an author is freed when no block in the
//! tree refers to it. The index takes four bytes a reading; the readings themselves are not stored.

use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::{hash::IdPrefix, key::Author};

#[derive(Clone, Debug)]
pub(crate) struct Row {
    key: Author,
    /// Number of readings by this author in blocks of the tree.
    references: usize,
    /// Id prefixes of the author's readings on the best branch, indexed by `seq`.
    prefixes: Vec<IdPrefix>,
    /// How many of these are confirmed, see [`Tree::settle`](crate::tree::Tree::settle).
    pub(crate) confirmed: u64,
    /// How many of these are buried [`BURIED_BLOCKS`](crate::tree::BURIED_BLOCKS) deep.
    pub(crate) buried: u64,
}

/// All authors of readings in the tree, by number and by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorTable {
    rows: Vec<Row>,
    free: Vec<u32>,
    by_key: HashMap<Author, u32>,
}

impl AuthorTable {
    /// Adds a reference to the author and returns its number.
    pub(crate) fn intern(&mut self, key: &Author) -> u32 {
        if let Some(&number) = self.by_key.get(key) {
            self.row_mut(number).references += 1;
            return number;
        }
        let row = Row {
            key: *key,
            references: 1,
            prefixes: Vec::new(),
            confirmed: 0,
            buried: 0,
        };
        let number = if let Some(number) = self.free.pop() {
            *self.row_mut(number) = row;
            number
        } else {
            self.rows.push(row);
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_key.insert(*key, number);
        number
    }

    /// Drops a reference to the author. Dropping the last one frees the row.
    pub(crate) fn release(&mut self, number: u32) {
        let row = self.row_mut(number);
        row.references -= 1;
        if row.references == 0 {
            let key = row.key;
            row.prefixes = Vec::new();
            self.by_key.remove(&key);
            self.free.push(number);
        }
    }

    pub(crate) fn key(&self, number: u32) -> Author {
        self.row(number).key
    }

    pub(crate) fn row_of(&self, key: &Author) -> Option<&Row> {
        Some(self.row(*self.by_key.get(key)?))
    }

    /// The author's number, if a block in the tree refers to it.
    pub(crate) fn number(&self, key: &Author) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The number of readings of this author on the best branch, which is also its next `seq`.
    pub(crate) fn next_seq_of(&self, number: u32) -> u64 {
        self.row(number).prefixes.len() as u64
    }

    pub(crate) fn next_seq(&self, key: &Author) -> u64 {
        self.by_key
            .get(key)
            .map_or(0, |&number| self.next_seq_of(number))
    }

    pub(crate) fn best_prefix(&self, key: &Author, seq: u64) -> Option<IdPrefix> {
        let number = *self.by_key.get(key)?;
        self.row(number)
            .prefixes
            .get(usize::try_from(seq).ok()?)
            .copied()
    }

    /// Adds the author's next reading to the best branch.
    pub(crate) fn push(&mut self, number: u32, prefix: IdPrefix) {
        self.row_mut(number).prefixes.push(prefix);
    }

    /// Removes the author's last reading from the best branch and returns its `seq`.
    pub(crate) fn pop(&mut self, number: u32) -> u64 {
        let prefixes = &mut self.row_mut(number).prefixes;
        prefixes.pop();
        prefixes.len() as u64
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a number is an index that this table gave out"
    )]
    fn row(&self, number: u32) -> &Row {
        &self.rows[number as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a number is an index that this table gave out"
    )]
    pub(crate) fn row_mut(&mut self, number: u32) -> &mut Row {
        &mut self.rows[number as usize]
    }
}
