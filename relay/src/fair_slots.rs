//! Slots for work that is not finished yet: handshakes, and HTTP connections. A newcomer always gets a slot. When all are
//! taken, the oldest work of the network that holds the most is aborted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::{AbortHandle, AbortRegistration, Abortable};

use crate::{
    fair_table::{FairTable, Share},
    network::Network,
    table_memory::shrink,
};

/// The slots, shared by all that take one.
#[derive(Clone, Debug)]
pub(crate) struct FairSlots(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    table: FairTable<u64>,
    running: HashMap<u64, AbortHandle>,
    next_id: u64,
    evicted: u64,
}

/// A slot, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: FairSlots,
    id: u64,
    registration: Option<AbortRegistration>,
}

/// Moves a slot to another network while its work runs.
#[derive(Clone, Debug)]
pub(crate) struct SlotHandle {
    slots: FairSlots,
    id: u64,
}

/// The work was aborted, because a newcomer needed its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("evicted by a newcomer, as the oldest of the network that held the most")]
pub(crate) struct Evicted;

impl FairSlots {
    pub(crate) fn new(share: Share) -> Self {
        Self(Arc::new(Mutex::new(State {
            table: FairTable::new(share),
            running: HashMap::new(),
            next_id: 0,
            evicted: 0,
        })))
    }

    /// Takes a slot. When all are taken, the oldest work of the largest taker is aborted.
    pub(crate) fn take(&self, network: Network) -> Slot {
        let (handle, registration) = AbortHandle::new_pair();
        let mut state = self.state();
        let id = state.next_id;
        state.next_id = id.saturating_add(1);
        state.insert(id, network);
        state.running.insert(id, handle);
        Slot {
            slots: self.clone(),
            id,
            registration: Some(registration),
        }
    }

    /// Changes the number of slots. Work in progress goes on.
    pub(crate) fn set_share(&self, share: Share) {
        self.state().table.set_share(share);
    }

    /// Number of slots that are taken.
    pub(crate) fn len(&self) -> usize {
        self.state().table.len()
    }

    /// Number of times that work was aborted, since the start.
    pub(crate) fn evictions(&self) -> u64 {
        self.state().evicted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No operation can panic in the middle, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, id: u64, network: Network) {
        if let Some(evicted) = self.table.insert(id, network)
            && let Some(evicted) = self.running.remove(&evicted)
        {
            evicted.abort();
            self.evicted = self.evicted.saturating_add(1);
        }
    }
}

impl SlotHandle {
    /// A proxy said which network the work belongs to.
    pub(crate) fn move_to(&self, network: Network) {
        let mut state = self.slots.state();
        // Otherwise it was evicted since.
        if state.table.contains(&self.id) {
            state.table.remove(&self.id);
            state.insert(self.id, network);
        }
    }
}

impl Slot {
    pub(crate) fn handle(&self) -> SlotHandle {
        SlotHandle {
            slots: self.slots.clone(),
            id: self.id,
        }
    }

    /// Runs `work` in this slot.
    ///
    /// # Errors
    /// Fails if the work was aborted in favor of a newcomer.
    pub(crate) async fn run<T>(mut self, work: impl Future<Output = T>) -> Result<T, Evicted> {
        match self.registration.take() {
            Some(registration) => Abortable::new(work, registration)
                .await
                .map_err(|_| Evicted),
            None => Err(Evicted),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.table.remove(&self.id);
        state.running.remove(&self.id);
        shrink(&mut state.running);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        net::{IpAddr, Ipv4Addr},
    };

    use futures::{FutureExt as _, future::join};

    use super::*;
    use crate::table_memory::max_capacity;

    const ONE_EACH: Share = Share {
        total: 2,
        per_network: 1,
    };

    #[test]
    fn oldest_work_is_aborted_and_slots_return() {
        let slots = FairSlots::new(ONE_EACH);
        let network = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let mut first = slots.take(network).run(pending::<()>()).boxed();
        assert_eq!((&mut first).now_or_never(), None);
        let second = slots.take(network).run(ready(2));
        let both = join(first, second).now_or_never();
        assert_eq!(both, Some((Err(Evicted), Ok(2))));
        assert_eq!((slots.len(), slots.evictions()), (0, 1));
        assert!(slots.state().running.is_empty());
    }

    #[test]
    fn memory_follows_the_work() {
        let slots = FairSlots::new(Share {
            total: 5_000,
            per_network: 5_000,
        });
        let taken: Vec<Slot> = (0..5_000).map(|_| slots.take(None)).collect();
        assert!(slots.state().running.capacity() >= 5_000);
        drop(taken);
        assert!(slots.state().running.capacity() <= max_capacity(0));
    }

    #[test]
    fn moved_slot_counts_for_its_new_network() {
        let slots = FairSlots::new(ONE_EACH);
        let network = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let proxied = slots.take(None);
        let handle = proxied.handle();
        handle.move_to(network);
        let mut proxied = proxied.run(pending::<()>()).boxed();
        assert_eq!((&mut proxied).now_or_never(), None);
        let _second = slots.take(network);
        assert_eq!(proxied.now_or_never(), Some(Err(Evicted)));
        handle.move_to(None);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn work_that_never_ran_is_aborted_too() {
        let slots = FairSlots::new(ONE_EACH);
        let network = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let first = slots.take(network);
        let _second = slots.take(network);
        assert_eq!(first.run(ready(1)).now_or_never(), Some(Err(Evicted)));
    }
}
