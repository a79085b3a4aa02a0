//! Fault injection. It never decides when a fault happens (`scenario` does).

use heartchain_sync::Input;
use heartchain_test_support::START;

use crate::{
    fault::{Fault, REWRITE_PATIENCE},
    id::Id,
    node::RunState,
    world::World,
};

impl World {
    /// The driver notices that the database was closed, opens it again, finds it empty and notifies the machine.
    fn on_database_deleted(&mut self, id: Id) {
        self.feed(id, Input::StoreReset);
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        if self.trace {
            eprintln!("{} fault {fault:?}", self.now - START);
        }
        match fault {
            Fault::Partition(partitions) => {
                for at in 0..self.partitions.len() {
                    self.partitions[at] = self.rng.below(partitions);
                }
                self.cut_partition_links();
            }
            Fault::HealPartition => self.partitions.fill(0),
            Fault::Crash(id) => {
                // A crash before the peer has rewritten a deleted database loses data. That is not the machine's fault,
                // so the crash is skipped.
                let emptied = self.node(id).faults.emptied_at;
                let rewritten = emptied.is_none_or(|at| at + REWRITE_PATIENCE < self.now);
                if self.node(id).run_state == RunState::Awake && rewritten {
                    self.node_mut(id).crash();
                    self.cut_all(id, 8_000);
                }
            }
            Fault::Restart(id) => self.restart(id),
            Fault::Sleep(id) => {
                if self.node(id).run_state == RunState::Awake {
                    let now = self.now;
                    let node = self.node_mut(id);
                    node.run_state = RunState::Asleep;
                    node.clock.sleep(now);
                    self.cut_all(id, 8_000);
                }
            }
            Fault::Wake(id) => {
                if self.node(id).run_state == RunState::Asleep {
                    let now = self.now;
                    let node = self.node_mut(id);
                    node.run_state = RunState::Awake;
                    node.clock.wake(now);
                    node.restart_verdict_clocks(now);
                    node.metrics.note_start(now);
                    // The time left on its timer did not run while it slept.
                    if let Some(at) = node.state.wake_at {
                        self.set_timer(id, at);
                    }
                    // Its connections were closed while it slept.
                    for peer in self.node(id).connections() {
                        self.node_mut(id).note_connection(peer, false);
                        self.feed(id, Input::PeerDisconnected { peer });
                    }
                    for input in self.node_mut(id).take_missed_inputs() {
                        self.feed(id, input);
                    }
                    self.feed(id, Input::Resumed);
                }
            }
            Fault::CutLink => {
                let links: Vec<(Id, Id)> = self.links.keys().copied().collect();
                if let Some((a, b)) = self.rng.pick(&links) {
                    self.cut(a, b, 8_000);
                }
            }
            Fault::SetClock(id, offset) => self.node_mut(id).clock.offset = offset,
            Fault::StartWithClock(id, offset) => {
                if self.node(id).run_state == RunState::Off {
                    self.node_mut(id).clock.offset = offset;
                    self.restart(id);
                }
            }
            Fault::Leave(id) => {
                self.node_mut(id).gone = true;
                self.node_mut(id).crash();
                self.cut_all(id, 8_000);
            }
            Fault::OpenTab(computer) => {
                self.open_tab(computer);
            }
            Fault::CloseTab(id) => self.close_tab(id),
            Fault::FillDisk(id, time) => {
                self.node_mut(id).faults.full_until = self.now + time;
            }
            Fault::DeleteDatabase(id) => {
                if self.node(id).run_state == RunState::Awake {
                    let now = self.now;
                    let node = self.node_mut(id);
                    node.state.disk.clear();
                    node.faults.emptied_at = Some(now);
                    // If the tab is closed before it is written again, and no other has it, the name is lost.
                    node.name = None;
                    self.on_database_deleted(id);
                }
            }
            Fault::SetHashRate(id, rate) => self.node_mut(id).hash_rate = rate,
        }
    }
}
