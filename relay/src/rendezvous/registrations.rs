//! Who is registered where, in memory, oldest first. Pure: it is told the time, and whatever is over is gone at the next
//! question. Never checks who somebody is.
//!
//! The table is small enough ([`Limits::registrations`]) that looking through all of it costs microseconds: no index can
//! disagree with it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;
use prost::Message as _;

use super::wire::{Page, Register};
use crate::Limits;

/// Length of a registration's number in a cookie, in bytes.
const NUMBER_LEN: usize = 8;

/// Somebody who is to be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewRegistration {
    pub(super) peer: PeerId,
    pub(super) namespace: String,
    /// As the peer signed it.
    pub(super) record: Vec<u8>,
    pub(super) ttl: Duration,
}

#[derive(Debug)]
pub(super) struct Registrations {
    /// By number: each new one has the next, a renewed one too.
    entries: BTreeMap<u64, Entry>,
    /// The first number of this relay's life. It starts at random, so that no cookie of an earlier life is taken for one
    /// of this.
    first: u64,
    next: u64,
    max: usize,
    max_per_peer: usize,
    max_page_len: usize,
}

#[derive(Debug)]
struct Entry {
    peer: PeerId,
    namespace: String,
    record: Vec<u8>,
    expires: Instant,
}

/// The table has no place for one more, or not for this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no place for another registration")]
pub(super) struct Full;

/// The cookie belongs to another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie of another namespace")]
pub(super) struct ForeignCookie;

impl Registrations {
    pub(super) fn new(limits: &Limits) -> Self {
        let first = u64::from(rand::random::<u32>()) << u32::BITS;
        Self {
            entries: BTreeMap::new(),
            first,
            next: first,
            max: limits.registrations,
            max_per_peer: limits.registrations_per_peer,
            max_page_len: limits.discovery_bytes,
        }
    }

    /// Names a peer from now on, in place of what it had registered there.
    ///
    /// # Errors
    /// If there is no place. Whoever renews has one.
    pub(super) fn add(&mut self, new: NewRegistration, now: Instant) -> Result<(), Full> {
        self.expire(now);
        let NewRegistration {
            peer,
            namespace,
            record,
            ttl,
        } = new;
        let others_of_peer = self
            .entries
            .values()
            .filter(|entry| entry.peer == peer && entry.namespace != namespace)
            .count();
        self.remove(&peer, &namespace);
        if others_of_peer >= self.max_per_peer || self.entries.len() >= self.max {
            return Err(Full);
        }
        let expires = now.checked_add(ttl).ok_or(Full)?;
        let entry = Entry {
            peer,
            namespace,
            record,
            expires,
        };
        self.entries.insert(self.next, entry);
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    pub(super) fn remove(&mut self, peer: &PeerId, namespace: &str) {
        self.entries
            .retain(|_, entry| entry.peer != *peer || entry.namespace != namespace);
    }

    /// Removes all that `peer` registered.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.entries.retain(|_, entry| entry.peer != *peer);
    }

    /// Who is there since `cookie` was given, as many as `limit` and [`Limits::discovery_bytes`] allow.
    /// The cookie of an answer leads to those that it left out.
    ///
    /// # Errors
    /// If the cookie was given for another namespace. One of another relay, or of this one before it was started again,
    /// is as good as none.
    pub(super) fn page(
        &mut self,
        namespace: &str,
        cookie: Option<&[u8]>,
        limit: Option<u64>,
        now: Instant,
    ) -> Result<Page, ForeignCookie> {
        self.expire(now);
        let mut next = match cookie {
            Some(cookie) => self.number_in(cookie, namespace)?,
            None => self.first,
        };
        // Some write "no limit" as 0.
        let limit = limit
            .filter(|limit| *limit > 0)
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX);
        let mut registrations = Vec::new();
        let mut len: usize = 0;
        let there = self
            .entries
            .range(next..)
            .filter(|(_, entry)| entry.namespace == namespace);
        let mut is_whole = true;
        for (number, entry) in there {
            let register = entry.listed(now);
            len = len.saturating_add(register.encoded_len());
            if registrations.len() >= limit || len > self.max_page_len {
                is_whole = false;
                break;
            }
            registrations.push(register);
            next = number.saturating_add(1);
        }
        if is_whole {
            next = self.next;
        }
        let cookie = [&next.to_be_bytes(), namespace.as_bytes()].concat();
        Ok(Page {
            registrations,
            cookie,
        })
    }

    fn number_in(&self, cookie: &[u8], namespace: &str) -> Result<u64, ForeignCookie> {
        let Some((number, of)) = cookie.split_first_chunk::<NUMBER_LEN>() else {
            return Ok(self.first);
        };
        if of != namespace.as_bytes() {
            return Err(ForeignCookie);
        }
        let number = u64::from_be_bytes(*number);
        let is_ours = (self.first..=self.next).contains(&number);
        Ok(if is_ours { number } else { self.first })
    }

    fn expire(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.expires > now);
    }
}

impl Entry {
    /// As others are told of it, with the time that it has left.
    fn listed(&self, now: Instant) -> Register {
        let left = self.expires.saturating_duration_since(now);
        Register {
            namespace: Some(self.namespace.clone()),
            signed_peer_record: Some(self.record.clone()),
            // Whole seconds, and never none: it is still there.
            ttl: Some(left.as_secs().max(1)),
        }
    }
}

#[cfg(test)]
mod tests;
