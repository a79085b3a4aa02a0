//! The table of registrations, in memory, ordered by age.
//!
//! It has no clock: the current time is an argument, and every call that takes it first removes expired entries. The
//! caller verifies signatures.
//!
//! A full table ([`Limits::registrations`]) is scanned in microseconds. So there are no indexes, which could become
//! inconsistent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;
use prost::Message as _;

use super::wire::{Page, Register};
use crate::limits::Limits;

/// Length of the sequence number in a cookie, in bytes.
const NUMBER_LEN: usize = 8;

/// A registration to add to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewRegistration {
    pub(super) peer: PeerId,
    pub(super) namespace: String,
    /// The peer record in its signed envelope.
    pub(super) record: Vec<u8>,
    pub(super) ttl: Duration,
}

#[derive(Debug)]
pub(super) struct Registrations {
    /// Keyed by sequence number. A new or renewed registration gets the next number.
    entries: BTreeMap<u64, Entry>,
    /// The first sequence number since the start of the relay. It is random, so a cookie from before a restart is not
    /// mistaken for a current one.
    first_number: u64,
    next_number: u64,
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

/// The table is full, or the peer has too many registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many registrations")]
pub(super) struct Full;

/// The cookie was issued for another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cookie was issued for another namespace")]
pub(super) struct ForeignCookie;

impl Registrations {
    pub(super) fn new(limits: &Limits) -> Self {
        let first_number = u64::from(rand::random::<u32>()) << u32::BITS;
        Self {
            entries: BTreeMap::new(),
            first_number,
            next_number: first_number,
            max: limits.registrations,
            max_per_peer: limits.registrations_per_peer,
            max_page_len: limits.discovery_bytes,
        }
    }

    /// Adds a registration, or replaces the one that the peer has in the namespace.
    ///
    /// # Errors
    /// Fails if the table is full or the peer has too many registrations. Renewing never fails.
    pub(super) fn add(&mut self, new: NewRegistration, now: Instant) -> Result<(), Full> {
        self.remove_expired(now);
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
        self.entries.insert(self.next_number, entry);
        self.next_number = self.next_number.saturating_add(1);
        Ok(())
    }

    pub(super) fn remove(&mut self, peer: &PeerId, namespace: &str) {
        self.entries
            .retain(|_, entry| entry.peer != *peer || entry.namespace != namespace);
    }

    /// Removes all registrations of `peer`.
    pub(super) fn remove_peer(&mut self, peer: &PeerId) {
        self.entries.retain(|_, entry| entry.peer != *peer);
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
        let in_namespace = self
            .entries
            .range(next..)
            .filter(|(_, entry)| entry.namespace == namespace);
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
        self.entries.retain(|_, entry| entry.expires > now);
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
