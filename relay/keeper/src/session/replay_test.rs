//! The recorded inputs of the simulation, passed to a keeper: it must do what the machine returned, all of it and in its order.

use std::{
    future::pending,
    rc::Rc,
    sync::{Arc, Mutex},
};

use heartchain_chain::hash::BlockHash;
use heartchain_peer::{
    clock::Alarm,
    net::{PeerId, peer_id_bytes, peer_id_from_seed},
};
use heartchain_sync::{Batch, Machine};
use heartchain_test_support::{
    NetworkLog, RECORDED_DIGEST, Replay, SEEDS, assert_same, digest, for_networks, for_stores,
    record, recorded_machine,
};

use super::{events, handle, replies::Replies, run::Session};
use crate::{
    miner::{Miner, MiningShare},
    network::{Network, NetworkEvent},
    room_lock::RoomLock,
    store::{BlockSnapshot, Bodies, Queue, Storage, StoreError},
};

/// A network that writes down what it is asked.
#[derive(Debug)]
struct ListingNetwork(NetworkLog<PeerId>);

impl Network for ListingNetwork {
    type Peer = PeerId;
    type Outputs = NetworkLog<PeerId>;

    fn identify(&self, _: &mut Machine<PeerId>) {}

    async fn next(&mut self) -> NetworkEvent<PeerId> {
        pending().await
    }

    fn outputs(&mut self) -> &mut NetworkLog<PeerId> {
        &mut self.0
    }
}

/// A store that writes down what it is asked.
#[derive(Debug, Default)]
struct ListingStore(Arc<Mutex<Vec<String>>>);

impl Storage for ListingStore {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let texts = batches.iter().map(|batch| format!("{batch:?}"));
        self.0.lock().expect("a list").extend(texts);
        Ok(())
    }

    fn bodies(&mut self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
        self.0.lock().expect("a list").push(format!("{hashes:?}"));
        Ok(vec![None; hashes.len()])
    }

    fn snapshot(&mut self) -> Result<BlockSnapshot, StoreError> {
        Err(StoreError::Full)
    }
}

#[tokio::test]
async fn keeper_performs_what_the_machine_returned() {
    let peers = SEEDS.map(peer_id_from_seed);
    let recording = record(&peers, peer_id_bytes);
    assert_same(&recording.simulated, &recording.returned, "the simulation");

    let folder = tempfile::tempdir().expect("a folder");
    let calls = Rc::default();
    let network = ListingNetwork(NetworkLog::new(Rc::clone(&calls)));
    let store = ListingStore::default();
    let asked = Arc::clone(&store.0);
    let (_handle, commands) = handle::channel();
    // Without a reader no blocks are shown, which would be read from the store.
    let (events, _) = events::channel();
    let session = Session {
        machine: recorded_machine(&peers, peer_id_bytes),
        network,
        queue: Queue::new(Box::new(store)),
        miner: Miner::new(MiningShare::DEFAULT),
        commands,
        events,
        alarm: Alarm::default(),
        replies: Replies::default(),
        known_peers: 0,
        failing: None,
        lock: RoomLock::acquire(&folder.path().join("lock")).expect("a lock"),
    };
    let mut replay = Replay::new(session);
    for input in recording.inputs {
        replay.input(input);
        let queue = &mut replay.driver.queue;
        while !queue.is_idle() {
            // The recording has the answers.
            queue.next().await.expect("a store");
        }
    }
    let lines = replay.lines();
    assert_same(&lines, &recording.returned, "the keeper");
    assert_eq!(digest(&lines), RECORDED_DIGEST, "that of the tab");
    let asked = asked.lock().expect("a list");
    assert_same(&asked, &for_stores(&recording.returned), "its store");
    let expected = for_networks(&recording.returned);
    assert_same(&calls.borrow(), &expected, "its network");
}
