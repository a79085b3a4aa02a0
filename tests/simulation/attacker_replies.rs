//! Responses of persistent attackers that differ from those of their machines.

use heartchain_chain::{
    hash::{BlockHash, ReadingId},
    header::Header,
    key::Author,
    work::Work,
};
use heartchain_sync::{
    io::RequestId,
    message::{MAX_HEADERS, MAX_IDS, MempoolRow, Request, Response, StatusMessage},
};

use crate::{
    attack::Attack, event::SimEvent, forgery::endless_headers, id::Id, packet::Packet, world::World,
};

/// How long an attacker delays a response, ms. Requests time out after 10 s, so such a response is still in time.
const HELD_RESPONSE_DELAY: u64 = 9_650;
/// A peer has given up a request for headers after this time, ms.
const REQUEST_ABANDONED_AFTER: u64 = 10_050;
/// More pages than any listing needs: a mempool has at most 16,384 readings, which is two full pages and an empty one.
const MAX_PAGES: u64 = 8;

impl World {
    /// The status that an attacker sends.
    pub(crate) fn claimed_status(&mut self, id: Id) -> StatusMessage {
        let mut status = self.node(id).status(self.now);
        let Some(attacker) = &self.node(id).attack else {
            return status;
        };
        match attacker.attack {
            Attack::BodyWithholder { .. } => {
                for header in self.advertised_headers(id) {
                    let target = header.bits.target();
                    let work = target.map_or(Work::ZERO, |target| target.work());
                    status.total_work = status.total_work.saturating_add(work);
                    status.tip = header.hash();
                    status.index = header.index;
                }
            }
            Attack::HeaderStaller | Attack::HeaderDripper => {
                status.tip = BlockHash::new(self.rng.bytes());
                status.total_work = Work::from_le_bytes([0x7f; 32]);
            }
            Attack::SideJunk { .. }
            | Attack::SideFresh { .. }
            | Attack::OrphanVerdicts
            | Attack::NewcomerFlood
            | Attack::EndlessListing
            | Attack::ProfileFlood
            | Attack::EndlessProfiles => {}
        }
        status
    }

    /// The withheld branch, as long as it extends the tip.
    fn advertised_headers(&self, id: Id) -> Vec<Header> {
        let node = self.node(id);
        let tip = node.machine().status().tip;
        let withheld_branch = node
            .attack
            .as_ref()
            .map(|attacker| &attacker.withheld_branch);
        withheld_branch
            .filter(|withheld_branch| {
                withheld_branch
                    .first()
                    .is_some_and(|first| first.prev_hash == tip)
            })
            .cloned()
            .unwrap_or_default()
    }

    /// Headers of its best branch, as its machine would send them.
    fn headers_above(&self, id: Id, locator: &[BlockHash]) -> Vec<Header> {
        let machine = self.node(id).machine();
        let shared = locator.iter().find_map(|hash| {
            let index = machine.header(hash)?.index;
            (machine.best_hash(index) == Some(*hash)).then_some(index)
        });
        (shared.unwrap_or(0) + 1..=machine.status().index)
            .take(MAX_HEADERS)
            .filter_map(|index| machine.header(&machine.best_hash(index)?))
            .collect()
    }

    /// Answers a request as this attacker does. Returns false if its machine should handle the request instead.
    pub(crate) fn answer_as_attacker(
        &mut self,
        id: Id,
        peer: Id,
        request: RequestId,
        data: &[u8],
    ) -> bool {
        let attack = self
            .node(id)
            .attack
            .as_ref()
            .map(|attacker| attacker.attack);
        let (Some(attack), Ok(asked)) = (attack, Request::decode(self.room.form(), data)) else {
            return false;
        };
        let (delay, response) = match (attack, asked) {
            (
                Attack::BodyWithholder { .. } | Attack::HeaderStaller | Attack::HeaderDripper,
                Request::Status(_),
            ) => (0, Response::Status(self.claimed_status(id))),
            (Attack::BodyWithholder { .. }, Request::Headers { locator }) => {
                let mut headers = self.headers_above(id, &locator);
                let shown = self.advertised_headers(id);
                let leaf = shown.last().map(Header::hash);
                let has_all = leaf.is_some_and(|leaf| locator.contains(&leaf));
                if headers.len() + shown.len() <= MAX_HEADERS && !has_all {
                    headers.extend(shown);
                }
                (0, Response::Headers(headers))
            }
            (Attack::BodyWithholder { .. }, Request::Bodies { hashes }) => {
                let attacker = self.node(id).attack.as_ref();
                let withheld = attacker.is_some_and(|attacker| {
                    hashes
                        .iter()
                        .any(|hash| attacker.withheld_hashes.contains(hash))
                });
                if !withheld {
                    return false;
                }
                (
                    HELD_RESPONSE_DELAY,
                    Response::Bodies(vec![None; hashes.len()]),
                )
            }
            (Attack::HeaderStaller, Request::Headers { .. }) => {
                self.reconnect_once(id, peer);
                return true;
            }
            (Attack::HeaderDripper, Request::Headers { locator }) => {
                let headers = endless_headers(&self.room, &locator);
                (HELD_RESPONSE_DELAY, Response::Headers(headers))
            }
            (Attack::EndlessListing, Request::MempoolIds { after }) => {
                (0, Response::MempoolIds(self.endless_rows(id, peer, after)))
            }
            (Attack::EndlessProfiles, Request::Profiles { after }) => {
                let page = self.next_page(id, peer, after.is_none());
                let page = page.map(|page| self.endless_profiles(id, page));
                (0, Response::Profiles(page.unwrap_or_default()))
            }
            _ => return false,
        };
        let data = response.encode();
        let packet = Packet::Response { id: request, data };
        self.schedule_in(
            delay,
            SimEvent::Send {
                from: id,
                to: peer,
                packet,
            },
        );
        true
    }

    fn reconnect_once(&mut self, id: Id, peer: Id) {
        let attacker = self.node_mut(id).attack.as_mut();
        if attacker.is_some_and(|attacker| attacker.reconnects.insert(peer)) {
            self.schedule_in(
                REQUEST_ABANDONED_AFTER,
                SimEvent::Reconnect { from: id, to: peer },
            );
        }
    }

    /// The number of the page that a peer requests of an endless listing; `None` if no peer should request so many.
    fn next_page(&mut self, id: Id, peer: Id, is_first: bool) -> Option<u64> {
        let attacker = self.node_mut(id).attack.as_mut()?;
        let page = attacker.pages.entry(peer).or_default();
        *page = if is_first { 1 } else { *page + 1 };
        let page = *page;
        if page > MAX_PAGES && self.node(peer).is_honest() {
            let text = format!("requests page {page} of one listing from {id}");
            self.report_violation(peer, "listing", &text);
            return None;
        }
        Some(page)
    }

    /// The next page of an endless listing of made-up rows.
    fn endless_rows(&mut self, id: Id, peer: Id, after: Option<(Author, u64)>) -> Vec<MempoolRow> {
        let Some(page) = self.next_page(id, peer, after.is_none()) else {
            return Vec::new();
        };
        let row = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            MempoolRow {
                author: Author::new(bytes),
                seq: 0,
                id: ReadingId::new(bytes),
            }
        };
        let first = page * MAX_IDS as u64;
        (first..first + MAX_IDS as u64).map(row).collect()
    }
}
