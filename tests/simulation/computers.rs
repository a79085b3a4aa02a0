//! Computers with several slots: each open tab of a room uses its own slot, with its own disk, journal and key.
//!
//! Each slot is a peer. Closed slots keep their disks.

use heartchain_chain::key::SecretKey;
use heartchain_sync::{Input, config::MAX_READINGS_PER_ADOPT, io::Ticket};

use crate::{
    id::Id,
    node::{Node, RunState},
    world::{Computer, World},
};

impl World {
    /// Adds a computer whose slots are all closed. Returns its index.
    pub(crate) fn add_computer(&mut self, slots: Vec<Node>) -> usize {
        let number = self.computers.len();
        let slots = slots.into_iter().map(|mut node| {
            node.computer = Some(number);
            self.add_closed(node)
        });
        let slots = slots.collect();
        self.computers.push(Computer { slots });
        number
    }

    /// Opens a tab: starts the slot that the driver picks and returns it, or `None` if all slots are open.
    pub(crate) fn open_tab(&mut self, computer: usize) -> Option<Id> {
        let slot = self.pick_slot(computer)?;
        self.restart(slot);
        Some(slot)
    }

    /// The slot that a new tab would use: the lowest closed one.
    fn pick_slot(&self, computer: usize) -> Option<Id> {
        let slots = &self.computers.get(computer)?.slots;
        let closed = |id: &&Id| self.node(**id).run_state == RunState::Off;
        slots.iter().find(closed).copied()
    }

    /// Closes a tab. Pending writes are lost.
    pub(crate) fn close_tab(&mut self, id: Id) {
        if self.node(id).run_state != RunState::Off {
            self.node_mut(id).crash();
            self.cut_all(id, 1_000);
        }
    }

    /// Whether this is a closed slot of a computer that has an open one.
    pub(crate) fn is_closed_slot(&self, id: Id) -> bool {
        let Some(computer) = self.node(id).computer else {
            return false;
        };
        let slots = &self.computers[computer].slots;
        let open = |other: &Id| self.node(*other).run_state != RunState::Off;
        self.node(id).run_state == RunState::Off && slots.iter().any(open)
    }

    /// Does what the driver does after each start of a slot: signs the readings that closed slots of the same computer
    /// recorded, with those slots' keys, and hands them to the machine for adoption.
    pub(crate) fn adopt_closed_slots(&mut self, opened: Id) {
        let Some(computer) = self.node(opened).computer else {
            return;
        };
        let slots = self.computers[computer].slots.clone();
        let closed: Vec<Id> = slots
            .into_iter()
            .filter(|id| self.is_closed_slot(*id))
            .collect();
        for closed in closed {
            let node = self.node(closed);
            let first = SecretKey::from_seed(node.key_seed);
            let readings = node.state.disk.signed(&self.room, &first);
            for chunk in readings.chunks(MAX_READINGS_PER_ADOPT) {
                let ticket = Ticket(self.node_mut(opened).state.next_id());
                let readings = chunk.to_vec();
                self.feed(opened, Input::Adopt { ticket, readings });
            }
        }
    }
}
