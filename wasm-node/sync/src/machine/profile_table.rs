//! The names of a room's authors: one signed profile of each, ordered by author so that it can be listed in pages.

use alloc::{boxed::Box, vec::Vec};
use core::cmp::{Ordering, Reverse};

use heartchain_chain::{
    key::Author,
    profile::{Profile, ProfileName},
    time::MonotonicMillis,
};
use litemap::LiteMap;

use crate::config::{PROFILE_FORWARD_BURST, PROFILE_FORWARD_INTERVAL};

/// A profile whose signature was checked.
#[derive(Clone, Debug)]
struct Row {
    profile: Profile,
    /// The name. `None` in a private room whose key is not known here.
    name: Option<ProfileName>,
    /// When all revisions that were forwarded to peers would have been, at one each [`PROFILE_FORWARD_INTERVAL`].
    forwards_until: Option<MonotonicMillis>,
    /// What peers get instead while they would ignore the profile.
    interim: Option<Profile>,
}

/// The latest known profile of each author. Its user bounds how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct ProfileTable {
    rows: LiteMap<Author, Box<Row>>,
}

impl ProfileTable {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, author: &Author) -> Option<&Profile> {
        self.rows.get(author).map(|row| &row.profile)
    }

    /// An author's name, if it can be read here.
    pub(super) fn name(&self, author: &Author) -> Option<&ProfileName> {
        self.rows.get(author)?.name.as_ref()
    }

    /// Whether a profile replaces the one that is known of its author, if there is one.
    pub(super) fn is_newer(&self, profile: &Profile) -> bool {
        let known = self.get(&profile.author);
        known.is_none_or(|known| is_newer(profile, known))
    }

    /// Adds a profile, or replaces that of its author. Returns whether the name that is shown for the author changed.
    pub(super) fn insert(&mut self, profile: Profile, name: Option<ProfileName>) -> bool {
        let before = self.rows.get(&profile.author);
        let is_shown = |name: &&ProfileName| !name.as_str().is_empty();
        let shown_before = before.and_then(|row| row.name.as_ref());
        let changed = shown_before.filter(is_shown) != name.as_ref().filter(is_shown);
        let row = Row {
            name,
            forwards_until: before.and_then(|row| row.forwards_until),
            interim: None,
            profile,
        };
        self.rows.insert(row.profile.author, Box::new(row));
        changed
    }

    /// What peers get instead of an author's profile.
    pub(super) fn interim(&self, author: &Author) -> Option<&Profile> {
        self.rows.get(author)?.interim.as_ref()
    }

    /// Sets what peers get instead of an author's profile, until the next one.
    pub(super) fn set_interim(&mut self, author: &Author, interim: Option<Profile>) {
        if let Some(row) = self.rows.get_mut(author) {
            row.interim = interim;
        }
    }

    pub(super) fn remove(&mut self, author: &Author) {
        self.rows.remove(author);
    }

    /// Whether one more revision of this author may be forwarded now.
    pub(super) fn may_forward(&self, author: &Author, now: MonotonicMillis) -> bool {
        let until = self.rows.get(author).and_then(|row| row.forwards_until);
        let waits = until.map_or(0, |until| until.since(now));
        waits <= (PROFILE_FORWARD_BURST - 1) * PROFILE_FORWARD_INTERVAL
    }

    /// Counts a revision of this author that is forwarded now.
    pub(super) fn note_forward(&mut self, author: &Author, now: MonotonicMillis) {
        if let Some(row) = self.rows.get_mut(author) {
            let until = row.forwards_until.map_or(now, |until| until.max(now));
            row.forwards_until = Some(until.saturating_add(PROFILE_FORWARD_INTERVAL));
        }
    }

    /// What peers get: at most `limit` profiles behind this author, in order; `None` starts at the beginning.
    pub(super) fn list_after(&self, after: Option<Author>, limit: usize) -> Vec<Profile> {
        let from = after.map_or(0, |after| match self.rows.find_index(&after) {
            Ok(at) => at + 1,
            Err(at) => at,
        });
        let rows = self.rows.as_slice().iter().skip(from).take(limit);
        let sent = rows.map(|(_, row)| row.interim.as_ref().unwrap_or(&row.profile));
        sent.cloned().collect()
    }

    pub(super) fn authors(&self) -> impl Iterator<Item = &Author> {
        self.rows.keys()
    }

    /// All profiles, in the order of their authors.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.rows.values().map(|row| &row.profile)
    }

    /// The profiles with the names that can be read here, in the order of their authors.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Profile, &ProfileName)> {
        let rows = self.rows.values();
        let rows = rows.filter_map(|row| Some((&row.profile, row.name.as_ref()?)));
        rows.filter(|(_, name)| !name.as_str().is_empty())
    }
}

/// The higher revision wins. Of two with the same revision the one with the lower bytes does, so that all peers choose
/// the same.
fn is_newer(new: &Profile, known: &Profile) -> bool {
    match new.revision.cmp(&known.revision) {
        Ordering::Less => false,
        Ordering::Equal => Reverse(new.encode()) > Reverse(known.encode()),
        Ordering::Greater => true,
    }
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{
        key::SecretKey,
        room::{Room, RoomName, RoomParams},
        time::UnixMillis,
    };

    use super::*;

    fn profile(author: u8, revision: u64, name: &str) -> (Profile, Option<ProfileName>) {
        let room = Room::new(RoomParams::with_defaults(
            RoomName::new("r").expect("a name"),
        ));
        let key = SecretKey::from_seed([author; 32]);
        let name = ProfileName::new(name).expect("a name");
        let profile = room.sign_profile(&key, UnixMillis::new(revision), &name);
        (profile.expect("an open room"), Some(name))
    }

    #[test]
    fn highest_revision_wins_and_ties_have_one_winner() {
        let mut table = ProfileTable::default();
        let (old, name) = profile(1, 5, "Old");
        assert!(table.is_newer(&old) && table.insert(old.clone(), name));
        assert!(!table.is_newer(&old), "it is known");
        assert!(!table.is_newer(&profile(1, 4, "Older").0));
        assert!(table.is_newer(&profile(1, 6, "New").0));
        let (tie, name) = profile(1, 5, "Tie");
        let tie_wins = table.is_newer(&tie);
        assert_eq!(tie_wins, tie.encode() < old.encode());
        table.insert(tie, name);
        assert_eq!(table.is_newer(&old), !tie_wins);
    }

    #[test]
    fn only_a_change_of_what_is_shown_counts() {
        let mut table = ProfileTable::default();
        for (revision, name, changes) in [
            (1, "", false),
            (2, "Ada", true),
            (3, "Ada", false),
            (4, "", true),
            (5, "", false),
        ] {
            let (profile, name) = profile(1, revision, name);
            assert_eq!(table.insert(profile, name), changes, "revision {revision}");
        }
        assert_eq!((table.len(), table.names().count()), (1, 0));
    }

    #[test]
    fn revisions_are_forwarded_at_a_rate_with_a_burst() {
        let mut table = ProfileTable::default();
        let (first, name) = profile(1, 1, "A");
        let author = first.author;
        table.insert(first, name);
        let at = MonotonicMillis::new;
        let take = |table: &mut ProfileTable, now| {
            let may_forward = table.may_forward(&author, now);
            if may_forward {
                table.note_forward(&author, now);
            }
            may_forward
        };
        for _ in 0..PROFILE_FORWARD_BURST {
            assert!(take(&mut table, at(7)));
        }
        let (second, name) = profile(1, 2, "B");
        table.insert(second, name);
        for times in 1..3 {
            let due = 7 + times * PROFILE_FORWARD_INTERVAL;
            assert!(!take(&mut table, at(due - 1)));
            assert!(take(&mut table, at(due)));
        }
        for _ in 0..PROFILE_FORWARD_BURST {
            assert!(take(&mut table, at(9 * PROFILE_FORWARD_INTERVAL)));
        }
        assert!(!take(&mut table, at(9 * PROFILE_FORWARD_INTERVAL)));
    }
}
