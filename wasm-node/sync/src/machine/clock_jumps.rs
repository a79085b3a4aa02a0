//! Wall clocks that are set back or ahead while the peer runs, the clocks of the peers, and blocks that are held back until the
//! clock reaches them.

use core::fmt::Debug;

use heartchain_chain::{
    time::{MonotonicMillis, UnixMillis},
    validate::MAX_FUTURE_MS,
};
use litemap::LiteMap;

use super::{clock, context::Context, follow_up::FollowUp};
use crate::{
    config::{EARLY_TIP_PATIENCE, MIN_CLOCK_JUMP, MIN_CLOCK_OFFSET, Millis},
    io::{Event, Now},
};

/// What the wall clock should show according to the monotonic clock and to the peers.
#[derive(Clone, Debug)]
pub(crate) struct ClockWatch<P> {
    wall: UnixMillis,
    monotonic: MonotonicMillis,
    /// The wall clocks of peers minus ours, in ms.
    offsets: LiteMap<P, i64>,
    /// The wall clock jumped ahead: it was set, or the computer slept. The peers' clocks will show which.
    maybe_ahead: bool,
    /// Since when the best tip has been too far ahead of the clock to mine on it.
    early_tip_since: Option<MonotonicMillis>,
}

/// How the wall clock moved relative to the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jump {
    Back(Millis),
    Ahead,
}

impl<P: Copy + Ord + Debug> ClockWatch<P> {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            wall: now.wall,
            monotonic: now.monotonic,
            offsets: LiteMap::new(),
            maybe_ahead: false,
            early_tip_since: None,
        }
    }

    /// A peer's clock showed `theirs` when it answered a request that was sent at `sent_at`.
    pub(super) fn on_peer_clock(
        &mut self,
        ctx: &mut Context<P>,
        peer: P,
        theirs: UnixMillis,
        sent_at: UnixMillis,
    ) {
        let offset = clock::offset(theirs, sent_at, ctx.clock.wall());
        self.offsets.insert(peer, offset);
        self.correct(ctx);
    }

    pub(super) fn on_peer_gone(&mut self, ctx: &mut Context<P>, peer: &P) {
        self.offsets.remove(peer);
        self.correct(ctx);
    }

    fn correct(&self, ctx: &mut Context<P>) {
        let offsets = self.offsets.values().copied();
        ctx.clock.correct(clock::median_offset(offsets));
    }

    /// Notices jumps of the wall clock, and blocks that are due or ahead of the clock.
    pub(super) fn poll(&mut self, ctx: &mut Context<P>) {
        match self.check(ctx.clock.wall(), ctx.now()) {
            Some(Jump::Back(by)) => self.on_set_back(ctx, by),
            Some(Jump::Ahead) => {
                // The offsets were measured against the clock before its jump.
                self.maybe_ahead = true;
                self.offsets.clear();
                self.correct(ctx);
                ctx.follow_up(FollowUp::ClockJumped { back: false });
            }
            None => {}
        }
        self.emit_clock_ahead(ctx);
        self.check_early_tip(ctx);
        let latest = ctx.clock.latest();
        let due = ctx.tree.held_back_until();
        if due.is_some_and(|due| due <= latest) && ctx.tree.release_due(latest) {
            ctx.follow_up(FollowUp::Advance);
            ctx.follow_up(FollowUp::Released);
        }
    }

    /// Compares both clocks with the last time they agreed. Small steps add up.
    fn check(&mut self, wall: UnixMillis, monotonic: MonotonicMillis) -> Option<Jump> {
        let expected = self.wall.saturating_add(monotonic.since(self.monotonic));
        let back = expected.since(wall);
        let ahead = wall.since(expected);
        if back.max(ahead) < MIN_CLOCK_JUMP {
            return None;
        }
        (self.wall, self.monotonic) = (wall, monotonic);
        Some(if back > 0 {
            Jump::Back(back)
        } else {
            Jump::Ahead
        })
    }

    /// Blocks that are now ahead of the clock leave the best branch. They return when they are due, or when the
    /// clock is corrected.
    fn on_set_back(&mut self, ctx: &mut Context<P>, by: Millis) {
        self.maybe_ahead = false;
        let by_signed = i64::try_from(by).unwrap_or(i64::MAX);
        for (_, offset) in &mut self.offsets {
            *offset = offset.saturating_add(by_signed);
        }
        self.correct(ctx);
        ctx.follow_up(FollowUp::ClockJumped { back: true });
        if by >= MIN_CLOCK_OFFSET {
            ctx.emit(Event::ClockSetBack { by });
        }
        ctx.hold_back_early_blocks();
    }

    /// Handles a tip that was accepted by the corrected clock when the peers that corrected it are gone or
    /// changed their minds. Such a tip cannot be mined on. After a while, blocks ahead of the clock are held
    /// back as if the clock had been set back.
    fn check_early_tip(&mut self, ctx: &mut Context<P>) {
        let limit = ctx.clock.latest().saturating_add(MAX_FUTURE_MS);
        let is_early = ctx.tree.tip().time > limit && ctx.tree.tip_window().mtp() >= limit;
        if !is_early {
            self.early_tip_since = None;
            return;
        }
        let since = *self.early_tip_since.get_or_insert(ctx.now());
        if since.saturating_add(EARLY_TIP_PATIENCE) <= ctx.now() {
            self.early_tip_since = None;
            ctx.hold_back_early_blocks();
        }
    }

    /// After a jump ahead, the peers' median shows whether the clock was set or the computer slept.
    fn emit_clock_ahead(&mut self, ctx: &mut Context<P>) {
        let Some(offset) = ctx.clock.offset().filter(|_| self.maybe_ahead) else {
            return;
        };
        self.maybe_ahead = false;
        let by = offset.unsigned_abs();
        if offset < 0 && by >= MIN_CLOCK_OFFSET {
            ctx.emit(Event::ClockSetAhead { by });
        }
    }

    /// When the next held-back block is due, or the early tip has to be held back.
    pub(super) fn next_deadline(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let due = ctx.tree.held_back_until();
        let due = due.map(|due| ctx.clock.due(due));
        let early = self.early_tip_since;
        let early = early.map(|since| since.saturating_add(EARLY_TIP_PATIENCE));
        due.into_iter().chain(early).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(wall: u64, monotonic: u64) -> ClockWatch<u64> {
        ClockWatch::new(Now {
            wall: UnixMillis::new(wall),
            monotonic: MonotonicMillis::new(monotonic),
        })
    }

    #[test]
    fn jumps_are_detected_once() {
        let at = MonotonicMillis::new;
        let wall = UnixMillis::new;
        let mut watch = watch(1_000_000, 50);
        assert_eq!(watch.check(wall(1_000_100), at(150)), None);
        assert_eq!(
            watch.check(wall(900_000), at(250)),
            Some(Jump::Back(100_200))
        );
        assert_eq!(watch.check(wall(900_050), at(300)), None);
        assert_eq!(watch.check(wall(2_000_000), at(350)), Some(Jump::Ahead));
        assert_eq!(watch.check(wall(2_000_000), at(350)), None);
    }

    #[test]
    fn small_steps_back_add_up() {
        let at = MonotonicMillis::new;
        let mut watch = watch(1_000_000, 0);
        let steps = (1..=20).filter(|step| {
            let wall = UnixMillis::new(1_000_000 - 100 * step);
            watch.check(wall, at(0)).is_some()
        });
        assert_eq!(steps.count() as u64, 2_000 / MIN_CLOCK_JUMP);
    }
}
