//! The addresses that sent a correct STUN request lately, each with the user name of its latest one. Data only.
//!
//! How it can be attacked: anyone can fill it from forged addresses, as often as it expires.
//! - An address is 24 bytes, because a keyed hash stands for it. It has a fixed place in the order of arrival, and nothing is
//!   ever moved or copied to make room.
//! - Its memory follows what is in it, also while other addresses keep asking.
//! - No sender can choose the chain in which its address is looked for, because it does not know the key.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::Limits;

/// Addresses of a block, 24 KiB. Larger pieces may stay with an allocator: once glibc has freed one of 128 KiB or more, it
/// takes later ones of that size from the memory of a thread, which it seldom returns.
const BLOCK: u64 = 1_024;
/// Chains, 64 KiB in all. With the usual limit of 65,536 addresses a chain has 8 of them.
const CHAINS: u64 = 8_192;

/// Stands for the user name of a client, so that two connections of one address can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ufrag(pub(crate) u64);

/// The addresses that asked. First in, first out.
///
/// Each has a number, the next one that is free. Those whose hash leads to the same chain are linked from the latest to the
/// oldest, so a chain ends where the number of an address has expired, and removing one changes no other.
#[derive(Debug)]
pub(crate) struct AskedAddresses {
    hasher: RandomState,
    /// The latest number of each chain. It may have expired.
    chains: Vec<u64>,
    blocks: VecDeque<Block>,
    oldest: u64,
    next: u64,
}

/// The addresses with the numbers from a multiple of [`BLOCK`] up to the next one.
#[derive(Debug)]
struct Block {
    since: Instant,
    addresses: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    address: u64,
    ufrag: Ufrag,
    /// Milliseconds after the first address of the block.
    after: u32,
    /// By how much the number of the next older address in the chain is smaller.
    back: u32,
}

impl AskedAddresses {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            chains: vec![0; index(CHAINS)],
            blocks: VecDeque::new(),
            // Not 0, which is where empty chains lead to.
            oldest: BLOCK,
            next: BLOCK,
        }
    }

    /// Adds an address, for which the oldest has to go if there are too many. A repeated request changes the user name, but
    /// does not renew an address: that would need a place in the order again, and a client begins within a second or asks
    /// again.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        from: &SocketAddr,
        ufrag: Ufrag,
        limits: &Limits,
    ) {
        self.expire(now, limits);
        let address = self.hasher.hash_one(from);
        if let Some(known) = self.find(address) {
            known.ufrag = ufrag;
            return;
        }
        if limits.addresses == 0 {
            return;
        }
        while self.len() >= limits.addresses {
            self.forget_oldest();
        }
        self.push(now, address, ufrag);
    }

    pub(crate) fn get(
        &mut self,
        now: Instant,
        from: &SocketAddr,
        limits: &Limits,
    ) -> Option<Ufrag> {
        self.expire(now, limits);
        let address = self.hasher.hash_one(from);
        self.find(address).map(|asked| asked.ufrag)
    }

    /// Forgets addresses that asked too long ago.
    pub(crate) fn expire(&mut self, now: Instant, limits: &Limits) {
        while let Some(since) = self.oldest_since()
            && now.saturating_duration_since(since) >= limits.address_lifetime
        {
            self.forget_oldest();
        }
    }

    pub(crate) fn len(&self) -> usize {
        index(self.next - self.oldest)
    }

    fn find(&mut self, address: u64) -> Option<&mut Asked> {
        let mut number = *self.chains.get(index(address % CHAINS))?;
        loop {
            let asked = self.at(number)?;
            if asked.address == address {
                break;
            }
            number = number.checked_sub(asked.back.into())?;
        }
        let (block, position) = self.place(number)?;
        self.blocks.get_mut(block)?.addresses.get_mut(position)
    }

    fn at(&self, number: u64) -> Option<&Asked> {
        let (block, position) = self.place(number)?;
        self.blocks.get(block)?.addresses.get(position)
    }

    /// The index of the block, and the position in it. `None` if the number has expired.
    fn place(&self, number: u64) -> Option<(usize, usize)> {
        if number < self.oldest {
            return None;
        }
        let block = number / BLOCK - self.oldest / BLOCK;
        Some((index(block), index(number % BLOCK)))
    }

    fn oldest_since(&self) -> Option<Instant> {
        let after = self.at(self.oldest)?.after;
        let block = self.blocks.front()?;
        Some(block.since + Duration::from_millis(after.into()))
    }

    fn push(&mut self, now: Instant, address: u64, ufrag: Ufrag) {
        if self.next.is_multiple_of(BLOCK) {
            self.blocks.push_back(Block {
                since: now,
                addresses: Vec::with_capacity(index(BLOCK)),
            });
        }
        let Some(block) = self.blocks.back_mut() else {
            return;
        };
        let Some(chain) = self.chains.get_mut(index(address % CHAINS)) else {
            return;
        };
        let after = now.saturating_duration_since(block.since).as_millis();
        block.addresses.push(Asked {
            address,
            ufrag,
            after: u32::try_from(after).unwrap_or(u32::MAX),
            // So much older ones have expired.
            back: u32::try_from(self.next - *chain).unwrap_or(u32::MAX),
        });
        *chain = self.next;
        self.next += 1;
    }

    /// Frees the block of the oldest address with the last address in it.
    fn forget_oldest(&mut self) {
        self.oldest += 1;
        if self.oldest == self.next {
            // The next address begins a block.
            self.oldest = self.oldest.next_multiple_of(BLOCK);
            self.next = self.oldest;
        }
        if self.oldest.is_multiple_of(BLOCK) {
            self.blocks.pop_front();
        }
    }

    /// Bytes that are allocated.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let addresses: usize = self.blocks.iter().map(|b| b.addresses.capacity()).sum();
        self.chains.capacity() * size_of::<u64>()
            + self.blocks.capacity() * size_of::<Block>()
            + addresses * size_of::<Asked>()
    }
}

/// Counts of addresses and positions fit into memory.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    fn limits(addresses: usize) -> Limits {
        Limits {
            addresses,
            address_lifetime: LIFETIME,
            ..Limits::default()
        }
    }

    fn from(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    /// Compares with a list, at a limit that is no multiple of a block, and with pauses in which all addresses expire.
    #[test]
    fn latest_addresses_are_known_with_their_users() {
        let limits = limits(1_500);
        let mut now = Instant::now();
        let mut subject = AskedAddresses::new();
        let mut list: VecDeque<(Instant, u16, u64)> = VecDeque::new();
        for step in 0..20_000_u64 {
            // Pseudo-random, the same in each run.
            let seed = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let number = u16::try_from(seed % 4_000).expect("small");
            now += Duration::from_millis(if step % 9_000 == 8_999 {
                10_000
            } else {
                seed % 8
            });
            list.retain(|(since, ..)| now - *since < LIFETIME);
            match list.iter_mut().find(|(_, known, _)| *known == number) {
                Some((.., user)) => *user = step,
                None => list.push_back((now, number, step)),
            }
            if list.len() > limits.addresses {
                list.pop_front();
            }
            subject.insert(now, &from(number), Ufrag(step), &limits);
            assert_eq!(subject.len(), list.len(), "step {step}");
            if step % 4_000 == 3_999 {
                for number in 0..4_000 {
                    let known = list.iter().find(|(_, known, _)| *known == number);
                    let expected = known.map(|(.., user)| Ufrag(*user));
                    assert_eq!(subject.get(now, &from(number), &limits), expected);
                }
            }
        }
    }

    #[test]
    fn no_address_is_kept_at_a_limit_of_0() {
        let mut subject = AskedAddresses::new();
        let now = Instant::now();
        subject.insert(now, &from(1), Ufrag(1), &limits(0));
        assert_eq!(subject.get(now, &from(1), &limits(0)), None);
        assert_eq!(subject.len(), 0);
    }

    #[test]
    fn blocks_are_freed_with_their_last_address() {
        let limits = limits(10_000);
        let start = Instant::now();
        let mut subject = AskedAddresses::new();
        let idle = subject.bytes();
        let (first, second) = (start, start + Duration::from_secs(1));
        for number in 0..3_000 {
            let now = if number < 1_024 { first } else { second };
            subject.insert(now, &from(number), Ufrag(0), &limits);
        }
        assert_eq!(subject.blocks.len(), 3);
        subject.expire(first + LIFETIME, &limits);
        assert_eq!((subject.blocks.len(), subject.len()), (2, 1_976));
        subject.expire(second + LIFETIME, &limits);
        assert_eq!((subject.blocks.len(), subject.len()), (0, 0));
        assert!(subject.bytes() - idle < 1_024, "only the list of blocks");
    }

    #[test]
    fn address_takes_24_bytes() {
        assert_eq!(size_of::<Asked>(), 24);
    }
}
