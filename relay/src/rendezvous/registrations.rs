//! The table of registrations, in memory, ordered by age.
//!
//! It has no clock: the current time is an argument, and every call that takes it first removes expired entries. The
//! caller verifies signatures.
//!
//! Its indexes change only in [`Registrations::insert`] and [`Registrations::remove_number`]. When the table is full, the
//! network that holds the most loses its newest registration; see `fair_table`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use libp2p::PeerId;
use prost::Message as _;

use rendezvous_messages::Register;

use super::wire::Page;
use crate::{
    fair_table::{FairTable, Share},
    limits::Limits,
    metrics::Limit,
    network::Network,
    table_memory::shrink,
};

/// Length of the sequence number in a cookie, in bytes.
const NUMBER_LEN: usize = 8;

/// A registration to add to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewRegistration {
    pub(super) peer: PeerId,
    /// The network that the peer is connected from.
    pub(super) network: Network,
    pub(super) namespace: String,
    /// The peer record in its signed envelope.
    pub(super) record: Vec<u8>,
    pub(super) ttl: Duration,
}

#[derive(Debug)]
pub(super) struct Registrations {
    /// Keyed by sequence number. A new or renewed registration gets the next number.
    entries: BTreeMap<u64, Entry>,
    /// The numbers of the registrations in each namespace that has any.
    rooms: HashMap<String, BTreeSet<u64>>,
    /// The numbers of the registrations of each peer that has any.
    peers: HashMap<PeerId, BTreeSet<u64>>,
    /// When each registration expires.
    expiries: BTreeSet<(Instant, u64)>,
    /// The registrations by network.
    shares: FairTable<u64>,
    /// The first sequence number since the start of the relay. It is random, so a cookie from before a restart is not
    /// mistaken for a current one.
    first_number: u64,
    next_number: u64,
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

/// The table is full, or the network or the peer has too many registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many registrations")]
pub(super) struct Full(pub(super) Limit);

/// What adding a registration did to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// There was room for it.
    Free,
    /// A registration of the largest network was removed.
    Evicted,
}

/// The cookie was issued for another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cookie was issued for another namespace")]
pub(super) struct ForeignCookie;

impl Registrations {
    pub(super) fn new(limits: &Limits) -> Self {
        let first_number = u64::from(rand::random::<u32>()) << u32::BITS;
        Self {
            entries: BTreeMap::new(),
            rooms: HashMap::new(),
            peers: HashMap::new(),
            expiries: BTreeSet::new(),
            shares: FairTable::new(limits.registration_share()),
            first_number,
            next_number: first_number,
            max_per_peer: limits.registrations_per_peer,
            max_page_len: limits.discovery_bytes,
        }
    }

    pub(super) fn set_share(&mut self, share: Share) {
        self.shares.set_share(share);
    }

    /// Number of registrations.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a registration, or replaces the one that the peer has in the namespace.
    ///
    /// # Errors
    /// Fails if the table is full or the network or the peer has too many registrations. Renewing never fails.
    pub(super) fn add(&mut self, new: NewRegistration, now: Instant) -> Result<Added, Full> {
        self.remove_expired(now);
        let expires = now.checked_add(new.ttl).ok_or(Full(Limit::Total))?;
        let mut added = Added::Free;
        if let Some(number) = self.number_of(&new.peer, &new.namespace) {
            self.remove_number(number);
            self.shares.add(self.next_number, new.network);
        } else {
            let of_peer = self.peers.get(&new.peer).map_or(0, BTreeSet::len);
            if of_peer >= self.max_per_peer {
                return Err(Full(Limit::Peer));
            }
            let evicted = self.shares.try_insert(self.next_number, new.network);
            let evicted = evicted.map_err(|full| Full(full.into()))?;
            if let Some(evicted) = evicted {
                self.remove_number(evicted);
                added = Added::Evicted;
            }
        }
        self.insert(new, expires);
        Ok(added)
    }

    pub(super) fn remove(&mut self, peer: &PeerId, namespace: &str) {
        if let Some(number) = self.number_of(peer, namespace) {
            self.remove_number(number);
        }
    }

    /// Removes all registrations of `peer`.
    pub(super) fn remove_peer(&mut self, peer: &PeerId) {
        for number in self.peers.get(peer).cloned().unwrap_or_default() {
            self.remove_number(number);
        }
    }

    /// Returns the registrations in `namespace` that were added since `cookie` was issued, as many as `limit` and
    /// [`Limits::discovery_bytes`] allow. The cookie of the page leads to the next one.
    ///
    /// A cookie from another relay, or from before a restart of this one, is ignored.
    ///
    /// # Errors
    /// Fails if the cookie was issued for another namespace.
    pub(super) fn page(
        &mut self,
        namespace: &str,
        cookie: Option<&[u8]>,
        limit: Option<u64>,
        now: Instant,
    ) -> Result<Page, ForeignCookie> {
        self.remove_expired(now);
        let mut next = match cookie {
            Some(cookie) => self.parse_cookie(cookie, namespace)?,
            None => self.first_number,
        };
        // Some clients send 0 for "no limit".
        let limit = limit
            .filter(|limit| *limit > 0)
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX);
        let mut registrations = Vec::new();
        let mut len: usize = 0;
        let (first, numbers) = (next, self.rooms.get(namespace));
        let in_namespace = numbers
            .into_iter()
            .flat_map(|numbers| numbers.range(first..))
            .filter_map(|number| Some((number, self.entries.get(number)?)));
        let mut is_last_page = true;
        for (number, entry) in in_namespace {
            let register = entry.to_register(now);
            len = len.saturating_add(register.encoded_len());
            if registrations.len() >= limit || len > self.max_page_len {
                is_last_page = false;
                break;
            }
            registrations.push(register);
            next = number.saturating_add(1);
        }
        if is_last_page {
            next = self.next_number;
        }
        let cookie = [&next.to_be_bytes(), namespace.as_bytes()].concat();
        Ok(Page {
            registrations,
            cookie,
        })
    }

    fn parse_cookie(&self, cookie: &[u8], namespace: &str) -> Result<u64, ForeignCookie> {
        let Some((number, cookie_namespace)) = cookie.split_first_chunk::<NUMBER_LEN>() else {
            return Ok(self.first_number);
        };
        if cookie_namespace != namespace.as_bytes() {
            return Err(ForeignCookie);
        }
        let number = u64::from_be_bytes(*number);
        let is_ours = (self.first_number..=self.next_number).contains(&number);
        Ok(if is_ours { number } else { self.first_number })
    }

    fn remove_expired(&mut self, now: Instant) {
        while let Some((expires, number)) = self.expiries.first().copied()
            && expires <= now
        {
            self.expiries.remove(&(expires, number));
            self.remove_number(number);
        }
    }

    /// The number of the registration of `peer` in `namespace`.
    fn number_of(&self, peer: &PeerId, namespace: &str) -> Option<u64> {
        let mut numbers = self.peers.get(peer)?.iter();
        let number = numbers.find(|number| {
            let entry = self.entries.get(number);
            entry.is_some_and(|entry| entry.namespace == namespace)
        });
        number.copied()
    }

    /// Adds a registration with the next number to all indexes, except for the shares.
    fn insert(&mut self, new: NewRegistration, expires: Instant) {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        self.rooms
            .entry(new.namespace.clone())
            .or_default()
            .insert(number);
        self.peers.entry(new.peer).or_default().insert(number);
        self.expiries.insert((expires, number));
        let entry = Entry {
            peer: new.peer,
            namespace: new.namespace,
            record: new.record,
            expires,
        };
        self.entries.insert(number, entry);
    }

    /// Removes a registration from all indexes.
    fn remove_number(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        self.expiries.remove(&(entry.expires, number));
        self.shares.remove(&number);
        if let Some(numbers) = self.rooms.get_mut(&entry.namespace) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.rooms.remove(&entry.namespace);
            }
        }
        if let Some(numbers) = self.peers.get_mut(&entry.peer) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.peers.remove(&entry.peer);
            }
        }
        shrink(&mut self.rooms);
        shrink(&mut self.peers);
    }
}

impl Entry {
    /// The registration as it is listed in responses, with its remaining time to live.
    fn to_register(&self, now: Instant) -> Register {
        let remaining = self.expires.saturating_duration_since(now);
        Register {
            namespace: Some(self.namespace.clone()),
            signed_peer_record: Some(self.record.clone()),
            // In whole seconds, but at least 1, because the registration has not expired yet.
            ttl: Some(remaining.as_secs().max(1)),
        }
    }
}

#[cfg(test)]
mod tests;
