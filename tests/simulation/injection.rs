//! Fault injection. It never decides when a fault happens (`scenario` does).

use heartchain_sync::Input;
use heartchain_test_support::START;

use crate::{
    fault::{Fault, REWRITE_PATIENCE},
    id::Id,
    links::NOTICED_WITHIN,
    node::RunState,
    packet::{Link, LinkId},
    world::World,
};

impl World {
    /// The driver notices that the database was closed, opens it again, finds it empty and notifies the machine.
    fn on_database_deleted(&mut self, id: Id) {
        self.feed(id, Input::StoreReset);
    }

    /// A random link that delivers.
    fn pick_link(&mut self) -> Option<(LinkId, Link)> {
        let links = self.links.iter().filter(|(_, link)| !link.is_dead);
        let links: Vec<(LinkId, Link)> = links.map(|(id, link)| (*id, *link)).collect();
        self.rng.pick(&links)
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
                    self.cut_all(id, NOTICED_WITHIN);
                }
            }
            Fault::Restart(id) => self.restart(id),
            Fault::Sleep(id) => {
                if self.node(id).run_state == RunState::Awake {
                    let now = self.now;
                    let node = self.node_mut(id);
                    node.run_state = RunState::Asleep;
                    node.clock.sleep(now);
                    self.cut_all(id, NOTICED_WITHIN);
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
                    self.notice_dead_links(id);
                    for input in self.node_mut(id).take_missed_inputs() {
                        self.feed(id, input);
                    }
                    self.feed(id, Input::Resumed);
                }
            }
            Fault::CutLink => {
                if let Some((link, _)) = self.pick_link() {
                    self.cut_link(link, NOTICED_WITHIN);
                }
            }
            Fault::RedundantLink => {
                if let Some((_, link)) = self.pick_link() {
                    self.on_dialed(link.dialer, link.listener, link.path);
                }
            }
            Fault::HalfOpen => {
                if let Some((_, link)) = self.pick_link() {
                    let ends = [link.dialer, link.listener];
                    let gone = self.rng.pick(&ends).unwrap_or(link.dialer);
                    self.half_open(gone, link.other_end(gone));
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
                self.cut_all(id, NOTICED_WITHIN);
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
