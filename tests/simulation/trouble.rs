//! What goes wrong: power, sleep, clocks, networks. Never decides when (`scenario` does).

use sync::Input;

use crate::{
    node::Life,
    world::{Id, START, World},
};

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The network falls into so many parts.
    Split(u64),
    /// It is whole again.
    Heal,
    /// A peer's computer loses power.
    Crash(Id),
    /// It starts again.
    Restart(Id),
    /// A peer's computer sleeps.
    Sleep(Id),
    /// It wakes.
    Wake(Id),
    /// A link breaks.
    Break,
    /// A peer's clock is set so many ms ahead of the truth.
    SetClock(Id, i64),
    /// A peer starts with a clock so many ms ahead of the truth.
    StartWithClock(Id, i64),
    /// A peer's hash rate changes.
    SetRate(Id, u64),
    /// A peer's computer is switched off and never comes back.
    Leave(Id),
    /// A tab opens at this computer, in the slot that the driver picks.
    OpenTab(usize),
    /// A tab is closed.
    CloseTab(Id),
    /// A peer's disk is full for so long, ms: every write fails.
    FillDisk(Id, u64),
    /// A peer's database is deleted while it runs.
    EmptyDisk(Id),
}

/// A machine that is told of a deleted database has so long to write all of it again, ms.
pub(crate) const REWRITE_PATIENCE: u64 = 30_000;

impl World {
    /// The driver sees that its database is closed, opens it again, finds it empty and says so.
    fn store_was_emptied(&mut self, id: Id) {
        self.feed(id, Input::StoreReset);
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        if self.trace {
            eprintln!("{} trouble {trouble:?}", self.now - START);
        }
        match trouble {
            Trouble::Split(parts) => {
                for at in 0..self.parts.len() {
                    self.parts[at] = self.dice.below(parts);
                }
                self.cut_across();
            }
            Trouble::Heal => self.parts.fill(0),
            Trouble::Crash(id) => {
                // What a running peer has yet to write again is lost with it, and that is no fault.
                let emptied = self.node(id).disk.emptied_at;
                let rewritten = emptied.is_none_or(|at| at + REWRITE_PATIENCE < self.now);
                if self.node(id).life == Life::Awake && rewritten {
                    self.node_mut(id).crash();
                    self.cut_all(id, 8_000);
                }
            }
            Trouble::Restart(id) => self.restart(id),
            Trouble::Sleep(id) => {
                if self.node(id).life == Life::Awake {
                    let now = self.now;
                    let node = self.node_mut(id);
                    node.life = Life::Asleep;
                    node.clock.falls_asleep(now);
                    self.cut_all(id, 8_000);
                }
            }
            Trouble::Wake(id) => {
                if self.node(id).life == Life::Asleep {
                    let now = self.now;
                    let node = self.node_mut(id);
                    node.life = Life::Awake;
                    node.clock.wakes(now);
                    node.restart_verdict_clocks(now);
                    node.watch.note_start(now);
                    // What was left of the time until its alarm is left still.
                    if let Some(at) = node.alarm {
                        self.set_alarm(id, at);
                    }
                    // Its connections died in its sleep.
                    for peer in self.node(id).connections() {
                        self.node_mut(id).note_connection(peer, false);
                        self.feed(id, Input::PeerDisconnected { peer });
                    }
                    for input in self.node_mut(id).missed() {
                        self.feed(id, input);
                    }
                    self.feed(id, Input::Woke);
                }
            }
            Trouble::Break => {
                let links: Vec<(Id, Id)> = self.links.keys().copied().collect();
                if let Some((a, b)) = self.dice.pick(&links) {
                    self.cut(a, b, 8_000);
                }
            }
            Trouble::SetClock(id, offset) => self.node_mut(id).clock.offset = offset,
            Trouble::StartWithClock(id, offset) => {
                if self.node(id).life == Life::Off {
                    self.node_mut(id).clock.offset = offset;
                    self.restart(id);
                }
            }
            Trouble::Leave(id) => {
                self.node_mut(id).gone = true;
                self.node_mut(id).crash();
                self.cut_all(id, 8_000);
            }
            Trouble::OpenTab(computer) => {
                self.open_tab(computer);
            }
            Trouble::CloseTab(id) => self.close_tab(id),
            Trouble::FillDisk(id, time) => {
                self.node_mut(id).disk.full_until = self.now + time;
            }
            Trouble::EmptyDisk(id) => {
                if self.node(id).life == Life::Awake {
                    let now = self.now;
                    self.node_mut(id).disk.empty(now);
                    self.store_was_emptied(id);
                }
            }
            Trouble::SetRate(id, rate) => self.node_mut(id).rate = rate,
        }
    }
}
