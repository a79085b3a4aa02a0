//! Computers with several slots: each tab of a room takes a slot of its own, with its own disk, journal and key.
//!
//! A slot is a peer. Closed slots keep what they have on their disks.

use chain::key::SecretKey;
use sync::{
    Input,
    config::MAX_ADOPT,
    seam::{JournalEntry, Ticket},
    sign_journal,
};

use crate::{
    node::{Life, Node},
    world::{Id, World},
};

/// The slots of one computer, lowest first.
#[derive(Clone, Debug)]
pub(crate) struct Computer {
    pub(crate) slots: Vec<Id>,
}

impl World {
    /// Adds a computer with these slots, all closed. Returns its number.
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

    /// Opens a tab: the slot that the driver picks starts. Returns it, unless all are open.
    pub(crate) fn open_tab(&mut self, computer: usize) -> Option<Id> {
        let slot = self.pick_slot(computer)?;
        self.restart(slot);
        Some(slot)
    }

    /// Which slot a tab takes that opens now.
    fn pick_slot(&self, computer: usize) -> Option<Id> {
        let slots = &self.computers.get(computer)?.slots;
        let closed = |id: &&Id| self.node(**id).life == Life::Off;
        slots.iter().find(closed).copied()
    }

    /// Closes a tab. What is on its way to the disk is lost.
    pub(crate) fn close_tab(&mut self, id: Id) {
        if self.node(id).life != Life::Off {
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
        let open = |other: &Id| self.node(*other).life != Life::Off;
        self.node(id).life == Life::Off && slots.iter().any(open)
    }

    /// What the driver does after each start of a slot: it signs what closed slots of the same computer recorded, with
    /// their keys, and gives it to the machine.
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
            let keys: Vec<(u64, SecretKey)> = node
                .disk
                .keys
                .iter()
                .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
                .collect();
            let journal: Vec<(u64, JournalEntry)> = node
                .disk
                .journal
                .iter()
                .map(|(position, entry)| (*position, *entry))
                .collect();
            let first = SecretKey::from_seed(node.key_seed);
            let readings = sign_journal(&self.room, &first, &keys, &journal);
            for part in readings.chunks(MAX_ADOPT) {
                let ticket = Ticket(self.name());
                let readings = part.to_vec();
                self.feed(opened, Input::Adopt { ticket, readings });
            }
        }
    }
}
