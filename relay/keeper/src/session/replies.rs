//! The calls that wait for the machine's answer, by ticket. The machine bounds how many of each there are.

use std::collections::BTreeMap;

use heartchain_sync::{
    Event,
    io::{AdoptError, ImportError, Imported, RecordError, Ticket},
};

use super::handle::{Recorded, Reply};

/// Calls without an answer so far.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    records: BTreeMap<Ticket, Reply<Result<Recorded, RecordError>>>,
    imports: BTreeMap<Ticket, Reply<Result<Imported, ImportError>>>,
    adoptions: BTreeMap<Ticket, Reply<Result<usize, AdoptError>>>,
    last_ticket: u64,
}

impl Replies {
    /// Whether no call waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.imports.is_empty() && self.adoptions.is_empty()
    }

    pub(crate) fn record(&mut self, reply: Reply<Result<Recorded, RecordError>>) -> Ticket {
        let ticket = self.new_ticket();
        self.records.insert(ticket, reply);
        ticket
    }

    pub(crate) fn import(&mut self, reply: Reply<Result<Imported, ImportError>>) -> Ticket {
        let ticket = self.new_ticket();
        self.imports.insert(ticket, reply);
        ticket
    }

    pub(crate) fn adopt(&mut self, reply: Reply<Result<usize, AdoptError>>) -> Ticket {
        let ticket = self.new_ticket();
        self.adoptions.insert(ticket, reply);
        ticket
    }

    /// Answers the call that an event is the result of. Returns whether it is one.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum may grow; no other event answers a call"
    )]
    pub(crate) fn on_event(&mut self, event: &Event) -> bool {
        // A caller may have stopped waiting, so failed sends are fine.
        match event {
            Event::Recorded { ticket, id, seq } => {
                let recorded = Recorded { id: *id, seq: *seq };
                let reply = self.records.remove(ticket);
                let _ = reply.map(|reply| reply.send(Ok(recorded)));
            }
            Event::RecordFailed { ticket, reason } => {
                let reply = self.records.remove(ticket);
                let _ = reply.map(|reply| reply.send(Err(*reason)));
            }
            Event::Imported { ticket, result } => {
                let reply = self.imports.remove(ticket);
                let _ = reply.map(|reply| reply.send(result.clone()));
            }
            Event::Adopted { ticket, result } => {
                let reply = self.adoptions.remove(ticket);
                let _ = reply.map(|reply| reply.send(*result));
            }
            _ => return false,
        }
        true
    }

    const fn new_ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        Ticket(self.last_ticket)
    }
}
