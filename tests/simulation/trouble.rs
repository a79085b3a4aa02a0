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
    /// A peer's hash rate changes.
    SetRate(Id, u64),
}

impl World {
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
                if self.node(id).life == Life::Awake {
                    self.node_mut(id).crash();
                    self.cut_all(id, 8_000);
                }
            }
            Trouble::Restart(id) => self.restart(id),
            Trouble::Sleep(id) => {
                if self.node(id).life == Life::Awake {
                    self.node_mut(id).life = Life::Asleep;
                    self.cut_all(id, 8_000);
                }
            }
            Trouble::Wake(id) => {
                if self.node(id).life == Life::Asleep {
                    self.node_mut(id).life = Life::Awake;
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
            Trouble::SetClock(id, offset) => self.node_mut(id).clock = offset,
            Trouble::SetRate(id, rate) => self.node_mut(id).rate = rate,
        }
    }
}
