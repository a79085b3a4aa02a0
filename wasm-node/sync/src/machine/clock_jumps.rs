//! Wall clocks that are set back or ahead while the peer runs, and blocks that are held back until the clock
//! reaches them.

use core::fmt::Debug;

use heartchain_chain::{
    time::{MonotonicMillis, UnixMillis},
    validate::MAX_FUTURE_MS,
};

use super::Machine;
use crate::{
    config::{EARLY_TIP_PATIENCE, MIN_CLOCK_JUMP, MIN_CLOCK_OFFSET, Millis},
    io::{Event, Output},
};

/// What the wall clock should show according to the monotonic clock.
#[derive(Clone, Debug)]
pub(super) struct ClockWatch {
    wall: UnixMillis,
    monotonic: MonotonicMillis,
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

impl ClockWatch {
    pub(super) const fn new(wall: UnixMillis, monotonic: MonotonicMillis) -> Self {
        Self {
            wall,
            monotonic,
            maybe_ahead: false,
            early_tip_since: None,
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
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn watch_clocks(&mut self) {
        match self.clock_watch.check(self.wall, self.now) {
            Some(Jump::Back(by)) => self.clock_set_back(by),
            Some(Jump::Ahead) => {
                // The offsets were measured against the clock before its jump.
                self.clock_watch.maybe_ahead = true;
                for state in self.peers.iter_mut().map(|(_, state)| state) {
                    state.clock_offset = None;
                    state.wants_status = true;
                }
            }
            None => {}
        }
        self.emit_clock_ahead();
        self.check_early_tip();
        let due = self.tree.held_back_until();
        if due.is_some_and(|due| due <= self.latest_now())
            && self.tree.release_due(self.latest_now())
        {
            self.advance();
            self.confirm_released();
        }
    }

    /// The later of the wall clock and the corrected clock, to check blocks with. Peers with slow clocks, or
    /// that claim to have them, cannot make this peer refuse blocks that its own clock accepts.
    pub(super) fn latest_now(&self) -> UnixMillis {
        self.wall.max(self.adjusted_now())
    }

    /// The earlier of the two, to timestamp blocks with. Peers with fast clocks, or that claim to have them,
    /// cannot make this peer mine blocks that others refuse.
    pub(super) fn earliest_now(&self) -> UnixMillis {
        self.wall.min(self.adjusted_now())
    }

    /// Blocks that are now ahead of the clock leave the best branch. They return when they are due, or when the
    /// clock is corrected.
    fn clock_set_back(&mut self, by: Millis) {
        self.clock_watch.maybe_ahead = false;
        let by_signed = i64::try_from(by).unwrap_or(i64::MAX);
        for state in self.peers.iter_mut().map(|(_, state)| state) {
            state.clock_offset = state.clock_offset.map(|at| at.saturating_add(by_signed));
            state.wants_status = true;
        }
        self.mining.clock_set_back();
        if by >= MIN_CLOCK_OFFSET {
            self.outputs.push(Output::Emit(Event::ClockSetBack { by }));
        }
        self.hold_back_early_blocks();
    }

    /// Handles a tip that was accepted by the corrected clock when the peers that corrected it are gone or
    /// changed their minds. Such a tip cannot be mined on. After a while, blocks ahead of the clock are held
    /// back as if the clock had been set back.
    fn check_early_tip(&mut self) {
        let latest = self.latest_now();
        let limit = latest.saturating_add(MAX_FUTURE_MS);
        let is_early = self.tree.tip().time > limit && self.tree.tip_window().mtp() >= limit;
        if !is_early {
            self.clock_watch.early_tip_since = None;
            return;
        }
        let since = *self.clock_watch.early_tip_since.get_or_insert(self.now);
        if since.saturating_add(EARLY_TIP_PATIENCE) <= self.now {
            self.clock_watch.early_tip_since = None;
            self.hold_back_early_blocks();
        }
    }

    fn hold_back_early_blocks(&mut self) {
        let confirmed = self.tree.best_hash(self.tree.confirmed_index());
        if let Some(switch) = self.tree.hold_back(self.latest_now()) {
            let held_back = confirmed.filter(|hash| self.tree.is_held_back(hash));
            held_back
                .into_iter()
                .for_each(|hash| self.confirmation.hold_back(hash));
            self.mempool_sync.announce();
            self.apply_switch(&switch);
        }
        self.download.tree_changed();
        self.advance();
    }

    /// After a jump ahead, the peers' median shows whether the clock was set or the computer slept.
    fn emit_clock_ahead(&mut self) {
        let Some(offset) = self.clock_offset().filter(|_| self.clock_watch.maybe_ahead) else {
            return;
        };
        self.clock_watch.maybe_ahead = false;
        let by = offset.unsigned_abs();
        if offset < 0 && by >= MIN_CLOCK_OFFSET {
            self.outputs.push(Output::Emit(Event::ClockSetAhead { by }));
        }
    }

    /// When the next held-back block is due, or the early tip has to be held back.
    pub(super) fn clock_due(&self) -> Option<MonotonicMillis> {
        let until = self.tree.held_back_until();
        let due = until.map(|until| self.now.saturating_add(until.since(self.latest_now())));
        let early = self.clock_watch.early_tip_since;
        let early = early.map(|since| since.saturating_add(EARLY_TIP_PATIENCE));
        due.into_iter().chain(early).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_detected_once() {
        let at = MonotonicMillis::new;
        let wall = UnixMillis::new;
        let mut watch = ClockWatch::new(wall(1_000_000), at(50));
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
        let mut watch = ClockWatch::new(UnixMillis::new(1_000_000), at(0));
        let steps = (1..=20).filter(|step| {
            let wall = UnixMillis::new(1_000_000 - 100 * step);
            watch.check(wall, at(0)).is_some()
        });
        assert_eq!(steps.count() as u64, 2_000 / MIN_CLOCK_JUMP);
    }
}
