//! The name of this peer's author: signed and stored first, then shown to others.

use alloc::collections::VecDeque;
use core::fmt::Debug;

use heartchain_chain::{
    key::SecretKey,
    profile::{Profile, ProfileName},
    time::{MAX_READING_TIME, MonotonicMillis, UnixMillis},
};

use super::context::Context;
use crate::{
    config::{MAX_CLOCK_OFFSET, MAX_PENDING_NAMES, WRITE_RETRY},
    io::{Event, NameError, StoreOperation, Ticket, WriteId},
};

/// Names that wait for the disk, in the order in which they were chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnName {
    /// A name without a ticket is one that a key took over from the key before it.
    pending: VecDeque<(Option<Ticket>, ProfileName)>,
    /// One write at a time, because each revision follows from the one before.
    writing: Option<(WriteId, Option<Ticket>, Profile)>,
    retry_at: MonotonicMillis,
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

    /// Signs the next name with `key` and writes it. `before` is the revision that it must exceed.
    pub(super) fn poll<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        key: &SecretKey,
        before: Option<UnixMillis>,
    ) {
        if self.writing.is_some() || self.retry_at > ctx.now() {
            return;
        }
        let Some((ticket, name)) = self.pending.pop_front() else {
            return;
        };
        let lowest = before.map_or(UnixMillis::default(), |before| before.saturating_add(1));
        let revision = ctx.clock.corrected().max(lowest);
        let room = ctx.tree.room();
        let profile = (revision <= MAX_READING_TIME)
            .then(|| room.sign_profile(key, revision, &name))
            .flatten();
        match (profile, ticket) {
            (Some(profile), ticket) => {
                let put = StoreOperation::PutProfile(profile.clone());
                let id = ctx.write_strictly(alloc::vec![put]);
                self.writing = Some((id, ticket, profile));
            }
            (None, Some(ticket)) => {
                let reason = NameError::Clock;
                ctx.emit(Event::NameFailed { ticket, reason });
            }
            (None, None) => {}
        }
    }

    /// Whether this write is one of a name.
    pub(super) fn is_writing(&self, id: WriteId) -> bool {
        let writing = self.writing.as_ref();
        writing.is_some_and(|(writing, ..)| *writing == id)
    }

    /// Handles the end of a write. If it is one of a name that is now stored, returns the profile.
    pub(super) fn on_written<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        id: WriteId,
        stored: bool,
    ) -> Option<Profile> {
        let (_, ticket, profile) = self.writing.take_if(|(writing, ..)| *writing == id)?;
        match ticket {
            Some(ticket) if stored => ctx.emit(Event::NameSet { ticket }),
            Some(ticket) => {
                let reason = NameError::NotStored;
                ctx.emit(Event::NameFailed { ticket, reason });
            }
            None if stored => {}
            None => {
                if let Some(name) = ctx.tree.room().open_profile(&profile) {
                    self.take_over(name);
                }
                self.retry_at = ctx.now().saturating_add(WRITE_RETRY);
            }
        }
        stored.then_some(profile)
    }

    /// When the next name is written, unless a write is in progress.
    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        (self.writing.is_none() && !self.pending.is_empty()).then_some(self.retry_at)
    }
}
