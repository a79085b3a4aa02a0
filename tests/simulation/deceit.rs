//! What standing attackers answer, where it is not what their machine says.

use chain::{
    hash::{BlockHash, ReadingId},
    header::Header,
    key::Author,
    work::Work,
};
use sync::{
    message::{IdRow, MAX_HEADERS, MAX_IDS, Request, Response, StatusMessage},
    seam::RequestId,
};

use crate::{
    attackers::Attack,
    forgery::endless_headers,
    links::Wire,
    world::{Happening, Id, World},
};

/// A request fails after 10 s. An answer that is held so long still comes in time, ms.
const HELD: u64 = 9_650;
/// A peer has given up a request for headers after so long, ms.
const GIVEN_UP: u64 = 10_050;
/// A mempool has 16,384 readings at most, which is two full pages and an empty one. So many pages are too many.
const MAX_PAGES: u64 = 8;

impl World {
    /// What an attacker says of itself.
    pub(crate) fn claim(&mut self, id: Id) -> StatusMessage {
        let mut status = self.node(id).status(self.now);
        let Some(attacker) = &self.node(id).attack else {
            return status;
        };
        match attacker.attack {
            Attack::BodyWithholder { .. } => {
                for header in self.shown_headers(id) {
                    let target = header.bits.target();
                    let work = target.map_or(Work::ZERO, |target| target.work());
                    status.total_work = status.total_work.saturating_add(work);
                    status.tip = header.hash();
                    status.index = header.index;
                }
            }
            Attack::HeaderStaller | Attack::HeaderDripper => {
                status.tip = BlockHash::new(self.dice.bytes());
                status.total_work = Work::from_le_bytes([0x7f; 32]);
            }
            Attack::SideJunk { .. }
            | Attack::SideFresh { .. }
            | Attack::OrphanVerdicts
            | Attack::NewcomerFlood
            | Attack::EndlessListing => {}
        }
        status
    }

    /// The secret branch, while it stands on the tip.
    fn shown_headers(&self, id: Id) -> Vec<Header> {
        let node = self.node(id);
        let tip = node.machine().status().tip;
        let secret = node.attack.as_ref().map(|attacker| &attacker.secret);
        secret
            .filter(|secret| secret.first().is_some_and(|first| first.prev_hash == tip))
            .cloned()
            .unwrap_or_default()
    }

    /// Headers of its best branch, as its machine would give them.
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

    /// Deals with a request in an attacker's way. Returns whether its machine is not to see it.
    pub(crate) fn deceive(&mut self, id: Id, peer: Id, request: RequestId, data: &[u8]) -> bool {
        let attack = self.node(id).attack.as_ref().map(|known| known.attack);
        let (Some(attack), Ok(asked)) = (attack, Request::decode(data)) else {
            return false;
        };
        let (delay, response) = match (attack, asked) {
            (
                Attack::BodyWithholder { .. } | Attack::HeaderStaller | Attack::HeaderDripper,
                Request::Status(_),
            ) => (0, Response::Status(self.claim(id))),
            (Attack::BodyWithholder { .. }, Request::Headers { locator }) => {
                let mut headers = self.headers_above(id, &locator);
                let shown = self.shown_headers(id);
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
                    hashes.iter().any(|hash| attacker.withheld.contains(hash))
                });
                if !withheld {
                    return false;
                }
                (HELD, Response::Bodies(vec![None; hashes.len()]))
            }
            (Attack::HeaderStaller, Request::Headers { .. }) => {
                self.reconnect_once(id, peer);
                return true;
            }
            (Attack::HeaderDripper, Request::Headers { locator }) => {
                let headers = endless_headers(&self.room, &locator);
                (HELD, Response::Headers(headers))
            }
            (Attack::EndlessListing, Request::MempoolIds { after }) => {
                (0, Response::MempoolIds(self.endless_rows(id, peer, after)))
            }
            _ => return false,
        };
        let data = response.encode();
        let what = Wire::Response { id: request, data };
        self.after(
            delay,
            Happening::Say {
                from: id,
                to: peer,
                what,
            },
        );
        true
    }

    fn reconnect_once(&mut self, id: Id, peer: Id) {
        let attacker = self.node_mut(id).attack.as_mut();
        if attacker.is_some_and(|attacker| attacker.reconnects.insert(peer)) {
            self.after(GIVEN_UP, Happening::Reconnect { from: id, to: peer });
        }
    }

    /// The next page of a listing, all rows made up.
    fn endless_rows(&mut self, id: Id, peer: Id, after: Option<(Author, u64)>) -> Vec<IdRow> {
        let Some(attacker) = &mut self.node_mut(id).attack else {
            return Vec::new();
        };
        let page = attacker.pages.entry(peer).or_default();
        *page = if after.is_some() { *page + 1 } else { 1 };
        let page = *page;
        if page > MAX_PAGES && self.node(peer).is_honest() {
            let text = format!("asks {id} for page {page} of one listing");
            self.exceed(peer, "listing", &text);
            return Vec::new();
        }
        let row = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            IdRow {
                author: Author::new(bytes),
                seq: 0,
                id: ReadingId::new(bytes),
            }
        };
        let first = page * MAX_IDS as u64;
        (first..first + MAX_IDS as u64).map(row).collect()
    }
}
