//! Wall clocks that are set back or ahead while the peer runs, and blocks that wait until the clock comes to them.

use core::fmt::Debug;

use chain::{
    time::{MonotonicMillis, UnixMillis},
    validate::MAX_FUTURE_MS,
};

use super::Machine;
use crate::{
    config::{EARLY_TIP_PATIENCE, MIN_CLOCK_JUMP, MIN_CLOCK_OFFSET, Millis},
    seam::{Event, Output},
};

/// What the wall clock should show, by the monotonic one.
#[derive(Clone, Debug)]
pub(super) struct ClockWatch {
    wall: UnixMillis,
    monotonic: MonotonicMillis,
    /// The wall clock went ahead: it was set, or the computer slept. Peers' clocks will tell.
    maybe_ahead: bool,
    /// Since when the best tip has been too far ahead of the clock to be built on.
    early_tip_since: Option<MonotonicMillis>,
}

/// How a wall clock moved against a monotonic one.
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

    /// Compares both clocks with how they stood when they were last found to run together. Small steps add up.
    fn look(&mut self, wall: UnixMillis, monotonic: MonotonicMillis) -> Option<Jump> {
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
        match self.clock_watch.look(self.wall, self.now) {
            Some(Jump::Back(by)) => self.clock_set_back(by),
            Some(Jump::Ahead) => {
                // Offsets were measured against a clock that is another one now.
                self.clock_watch.maybe_ahead = true;
                for known in self.peers.iter_mut().map(|(_, known)| known) {
                    known.clock_offset = None;
                    known.wants_status = true;
                }
            }
            None => {}
        }
        self.tell_if_ahead();
        self.check_early_tip();
        let due = self.tree.held_back_until();
        if due.is_some_and(|due| due <= self.latest_now())
            && self.tree.release_due(self.latest_now())
        {
            self.advance();
            self.confirm_released();
        }
    }

    /// The later of the wall clock and the adjusted one, to judge blocks by: peers whose clocks are slow, or that say so,
    /// cannot make this one refuse blocks that its own clock lets it take.
    pub(super) fn latest_now(&self) -> UnixMillis {
        self.wall.max(self.adjusted_now())
    }

    /// The earlier of the two, to stamp blocks by: peers whose clocks are fast, or that say so, cannot make this one stamp
    /// blocks that others refuse.
    pub(super) fn earliest_now(&self) -> UnixMillis {
        self.wall.min(self.adjusted_now())
    }

    /// Blocks that are ahead of the clock now leave the best branch; they return when their time comes, or the clock is set
    /// right.
    fn clock_set_back(&mut self, by: Millis) {
        self.clock_watch.maybe_ahead = false;
        let by_signed = i64::try_from(by).unwrap_or(i64::MAX);
        for known in self.peers.iter_mut().map(|(_, known)| known) {
            known.clock_offset = known.clock_offset.map(|at| at.saturating_add(by_signed));
            known.wants_status = true;
        }
        self.mining.clock_set_back();
        if by >= MIN_CLOCK_OFFSET {
            self.outputs.push(Output::Tell(Event::ClockSetBack { by }));
        }
        self.leave_early_blocks();
    }

    /// Peers' clocks moved ours ahead, and are gone, or said otherwise since: a tip that was accepted by them cannot be built
    /// on. After a while blocks that are ahead of the clock are held back, as if it had been set back.
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
            self.leave_early_blocks();
        }
    }

    fn leave_early_blocks(&mut self) {
        let confirmed = self.tree.best_hash(self.tree.settled_index());
        if let Some(switch) = self.tree.hold_back(self.latest_now()) {
            let held = confirmed.filter(|hash| self.tree.is_held_back(hash));
            held.into_iter()
                .for_each(|hash| self.confirmation.hold_back(hash));
            self.rounds.announce();
            self.switched(&switch);
        }
        self.download.tree_changed();
        self.advance();
    }

    /// The clock went ahead, and now the peers' median says whether it was set, or the computer slept.
    fn tell_if_ahead(&mut self) {
        let Some(offset) = self.clock_offset().filter(|_| self.clock_watch.maybe_ahead) else {
            return;
        };
        self.clock_watch.maybe_ahead = false;
        let by = offset.unsigned_abs();
        if offset < 0 && by >= MIN_CLOCK_OFFSET {
            self.outputs.push(Output::Tell(Event::ClockSetAhead { by }));
        }
    }

    /// When the next block that is held back is due, or one is to be held back.
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
    fn jumps_both_ways_are_seen_once() {
        let at = MonotonicMillis::new;
        let wall = UnixMillis::new;
        let mut watch = ClockWatch::new(wall(1_000_000), at(50));
        assert_eq!(watch.look(wall(1_000_100), at(150)), None);
        assert_eq!(
            watch.look(wall(900_000), at(250)),
            Some(Jump::Back(100_200))
        );
        assert_eq!(watch.look(wall(900_050), at(300)), None);
        assert_eq!(watch.look(wall(2_000_000), at(350)), Some(Jump::Ahead));
        assert_eq!(watch.look(wall(2_000_000), at(350)), None);
    }

    #[test]
    fn small_steps_back_add_up() {
        let at = MonotonicMillis::new;
        let mut watch = ClockWatch::new(UnixMillis::new(1_000_000), at(0));
        let steps = (1..=20).filter(|step| {
            let wall = UnixMillis::new(1_000_000 - 100 * step);
            watch.look(wall, at(0)).is_some()
        });
        assert_eq!(steps.count() as u64, 2_000 / MIN_CLOCK_JUMP);
    }
}
