//! Who has recorded what on the best branch, four bytes a reading.
//!
//! Authors are interned: blocks refer to them by a small number, and an author that no kept block names is
//! forgotten. Holds no reading.

use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::{key::Author, tree::IdPrefix};

#[derive(Clone, Debug)]
pub(crate) struct Row {
    key: Author,
    /// How many readings of kept blocks name this author.
    references: usize,
    /// Its readings on the best branch, in the order of its count: number `seq` stands at `seq`.
    linked: Vec<IdPrefix>,
    /// How many of these are confirmed.
    pub(crate) settled: u64,
    /// How many are buried.
    pub(crate) buried: u64,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorTable {
    rows: Vec<Row>,
    free: Vec<u32>,
    by_key: HashMap<Author, u32>,
}

impl AuthorTable {
    /// The author's number, one reference more.
    pub(crate) fn intern(&mut self, key: &Author) -> u32 {
        if let Some(&number) = self.by_key.get(key) {
            self.row_mut(number).references += 1;
            return number;
        }
        let row = Row {
            key: *key,
            references: 1,
            linked: Vec::new(),
            settled: 0,
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

    /// One reference less; the last one frees the row.
    pub(crate) fn release(&mut self, number: u32) {
        let row = self.row_mut(number);
        row.references -= 1;
        if row.references == 0 {
            let key = row.key;
            row.linked = Vec::new();
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

    /// The author's number, if a kept block names it.
    pub(crate) fn number(&self, key: &Author) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// How many readings of this author the best branch has: its next place.
    pub(crate) fn linked(&self, number: u32) -> u64 {
        self.row(number).linked.len() as u64
    }

    pub(crate) fn next_seq(&self, key: &Author) -> u64 {
        self.by_key
            .get(key)
            .map_or(0, |&number| self.linked(number))
    }

    pub(crate) fn linked_prefix(&self, key: &Author, seq: u64) -> Option<IdPrefix> {
        let number = *self.by_key.get(key)?;
        self.row(number)
            .linked
            .get(usize::try_from(seq).ok()?)
            .copied()
    }

    /// The author's next reading joined the best branch.
    pub(crate) fn link_next(&mut self, number: u32, prefix: IdPrefix) {
        self.row_mut(number).linked.push(prefix);
    }

    /// The author's last reading left the best branch; returns its place.
    pub(crate) fn unlink_last(&mut self, number: u32) -> u64 {
        let linked = &mut self.row_mut(number).linked;
        linked.pop();
        linked.len() as u64
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
