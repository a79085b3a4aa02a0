//! The name of this peer's author: signed and stored first, then shown to others.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{
    key::{Author, SecretKey},
    profile::{Profile, ProfileName},
    time::{MAX_READING_TIME, MonotonicMillis, UnixMillis},
};

use super::{context::Context, journal::Journal, profile_table::ProfileTable};
use crate::{
    config::{MAX_CLOCK_OFFSET, MAX_PENDING_NAMES, MAX_REVISION_AHEAD, WRITE_RETRY},
    io::{Event, NameError, StoreOperation, Ticket, WriteId},
};

/// Names that wait for the disk, in the order in which they were chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnName {
    /// A name without a ticket is one that a key took over from the key before it.
    pending: VecDeque<(Option<Ticket>, ProfileName)>,
    /// One write at a time, because each revision follows from the one before. The profile of our key comes first, then
    /// those of earlier keys.
    writing: Option<(WriteId, Option<Ticket>, Vec<Profile>)>,
    retry_at: MonotonicMillis,
    /// The revision of the last interim profile.
    interim: UnixMillis,
}

impl OwnName {
    /// A person chose a name.
    pub(super) fn set<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        ticket: Ticket,
        name: ProfileName,
    ) {
        let limit = MAX_PENDING_NAMES;
        let offset = ctx.clock.offset().map_or(0, i64::unsigned_abs);
        let refused = if !ctx.tree.room().is_member() {
            Some(NameError::NoKey)
        } else if offset > MAX_CLOCK_OFFSET {
            // Others would ignore the name, or this peer could not change it for as long as its clock was ahead.
            Some(NameError::Clock)
        } else if self.pending.len() >= limit {
            Some(NameError::TooMany { limit })
        } else {
            None
        };
        match refused {
            Some(reason) => ctx.emit(Event::NameFailed { ticket, reason }),
            None => self.pending.push_back((Some(ticket), name)),
        }
    }

    /// Takes a name over from an earlier key of this peer.
    pub(super) fn take_over(&mut self, name: ProfileName) {
        self.pending.push_front((None, name));
    }

    /// Signs the next name with our key and writes it. A name that a person chose also replaces the other names of earlier
    /// keys, in the same write: otherwise an erased one would stay, and our key could take it over again.
    pub(super) fn poll<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        journal: &Journal,
        table: &ProfileTable,
    ) {
        if self.writing.is_some() || self.retry_at > ctx.now() {
            return;
        }
        let Some((ticket, name)) = self.pending.pop_front() else {
            return;
        };
        let corrected = ctx.clock.corrected();
        let room = ctx.tree.room();
        let sign = |key: &SecretKey, author: &Author| {
            let before = table.get(author).map(|known| known.revision);
            let lowest = before.map_or(UnixMillis::default(), |before| before.saturating_add(1));
            let revision = corrected.max(lowest);
            let is_valid = revision <= MAX_READING_TIME;
            is_valid.then(|| room.sign_profile(key, revision, &name))?
        };
        let own = journal.author();
        let profile = sign(journal.key(), &own);
        match (profile, ticket) {
            (Some(profile), ticket) => {
                let is_other = |author: &Author| {
                    let known = table.name(author);
                    known.is_some_and(|known| !known.as_str().is_empty() && *known != name)
                };
                let eras = journal.eras().filter(|era| era.author != own);
                let eras = eras.filter(|era| ticket.is_some() && is_other(&era.author));
                let earlier = eras.filter_map(|era| sign(&era.key, &era.author));
                let profiles: Vec<Profile> = [profile].into_iter().chain(earlier).collect();
                let puts = profiles.iter().cloned().map(StoreOperation::PutProfile);
                let id = ctx.write_strictly(puts.collect());
                self.writing = Some((id, ticket, profiles));
            }
            (None, Some(ticket)) => {
                let reason = NameError::Clock;
                ctx.emit(Event::NameFailed { ticket, reason });
            }
            (None, None) => {}
        }
    }

    /// Peers ignore our profile while its revision is too far ahead, as after a clock that was wrong, and each later one
    /// follows it. So they get an interim profile with the same name and the time of now until it is due. The same holds for
    /// the profiles of earlier keys. Returns new ones. It signs no interim profile while the clock is known to be wrong.
    ///
    /// Our profile stays the one that counts: it replaces an earlier name at peers whose clocks are still ahead.
    pub(super) fn interim<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
        journal: &Journal,
        table: &mut ProfileTable,
    ) -> Vec<Profile> {
        let corrected = ctx.clock.corrected();
        let latest = corrected.saturating_add(MAX_REVISION_AHEAD);
        let offset = ctx.clock.offset().map_or(0, i64::unsigned_abs);
        let mut signed = Vec::new();
        for era in journal.eras() {
            let Some(known) = table.get(&era.author) else {
                continue;
            };
            if known.revision <= latest {
                table.set_interim(&era.author, None);
                continue;
            }
            let interim = table.interim(&era.author);
            let is_due = interim.is_some_and(|interim| interim.revision <= latest);
            let (false, Some(name)) =
                (is_due || offset > MAX_CLOCK_OFFSET, table.name(&era.author))
            else {
                continue;
            };
            // The clock may have been wrong for the last one as well.
            let next = self.interim.saturating_add(1);
            let revision = corrected.max(if next <= latest { next } else { corrected });
            let interim = ctx.tree.room().sign_profile(&era.key, revision, name);
            self.interim = revision;
            table.set_interim(&era.author, interim.clone());
            signed.extend(interim);
        }
        signed
    }

    /// Whether a name is being written.
    pub(super) const fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether this write is one of a name.
    pub(super) fn is_writing(&self, id: WriteId) -> bool {
        let writing = self.writing.as_ref();
        writing.is_some_and(|(writing, ..)| *writing == id)
    }

    /// Handles the end of a write. If it is one of a name that is now stored, returns the profiles with it.
    pub(super) fn on_written<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        id: WriteId,
        stored: bool,
    ) -> Option<Vec<Profile>> {
        let (_, ticket, profiles) = self.writing.take_if(|(writing, ..)| *writing == id)?;
        match ticket {
            Some(ticket) if stored => ctx.emit(Event::NameSet { ticket }),
            Some(ticket) => {
                let reason = NameError::NotStored;
                ctx.emit(Event::NameFailed { ticket, reason });
            }
            None if stored => {}
            None => {
                let room = ctx.tree.room();
                if let Some(name) = profiles.first().and_then(|own| room.open_profile(own)) {
                    self.take_over(name);
                }
                self.retry_at = ctx.now().saturating_add(WRITE_RETRY);
            }
        }
        stored.then_some(profiles)
    }

    /// When the next name is written, unless a write is in progress.
    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        (self.writing.is_none() && !self.pending.is_empty()).then_some(self.retry_at)
    }
}
