//! The recorded inputs of the simulation, passed to a tab: it must do what the machine returned, all of it and in its order.

use async_trait::async_trait;
use futures::future::Either;
use heartchain_chain::hash::BlockHash;
use heartchain_peer::net::{
    NetworkConfig, PageScheme, Scope, network_key, peer_id_bytes, peer_id_from_seed,
};
use heartchain_sync::Batch;
use heartchain_test_support::{
    RECORDED_DIGEST, Replay, SEEDS, assert_same, changes, digest, for_stores, kinds, record,
    recorded_machine,
};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    node_state::{RelayDocumentFault, Settings},
    storage::{Health, Reason, StoreError},
    transport::all_transports,
};

/// A page that hears nothing.
struct NoPage;

impl EventSink for NoPage {
    fn emit(&self, _: NodeEvent<Reading>, _: &RefCell<NodeState>) {}
}

/// A store that writes down what it is asked.
#[derive(Default)]
struct ListingStore(Rc<RefCell<Vec<String>>>);

#[async_trait(?Send)]
impl Storage for ListingStore {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.0.borrow_mut().push(format!("{batch:?}"));
        Ok(())
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError> {
        self.0.borrow_mut().push(format!("{hashes:?}"));
        Ok(vec![None; hashes.len()])
    }
}

#[test]
async fn tab_performs_what_the_machine_returned() {
    let peers = SEEDS.map(peer_id_from_seed);
    let recording = record(&peers, peer_id_bytes);
    assert_same(&recording.simulated, &recording.returned, "the simulation");

    let store = ListingStore::default();
    let asked = Rc::clone(&store.0);
    let driver = driver_of(recorded_machine(&peers, peer_id_bytes), store);
    let mut replay = Replay::new(driver);
    for input in recording.inputs {
        // The recording has the answers, so these are dropped.
        for _ in 0..replay.input(input) {
            let answer = in_time(replay.driver.answers.next(), "an answer of the store").await;
            assert!(matches!(answer, Some(Answer::Machine(_))), "{answer:?}");
        }
    }
    let lines = replay.lines();
    assert_same(&lines, &recording.returned, "the tab");
    assert_eq!(digest(&lines), RECORDED_DIGEST, "that of the keeper");
    // The network is not connected to the peers, and says so of each request.
    let requests = kinds(&recording.returned)["Request"];
    let mut failed = 0;
    while failed < requests {
        let event = in_time(replay.driver.network.next(), "a request that failed").await;
        if let NetworkEvent::Input(Input::RequestFailed { .. }) = event {
            failed += 1;
        }
    }
    // Batches of one moment are written as one.
    let joined = |asked: &[String]| {
        let asked: Vec<_> = asked.iter().map(|asked| changes(asked)).collect();
        asked.join(", ")
    };
    let expected = joined(&for_stores(&recording.returned));
    assert!(
        joined(&asked.borrow()) == expected,
        "what its store was asked"
    );
}

/// What comes in time.
async fn in_time<T>(next: impl Future<Output = T>, what: &str) -> T {
    let late = clock::sleep(Duration::from_secs(10));
    match select(pin!(next), pin!(late)).await {
        Either::Left((found, _)) => found,
        Either::Right(_) => panic!("{what} is missing"),
    }
}

/// The driver of a tab without relays, whose store and machine are these.
fn driver_of(machine: Machine<PeerId>, store: ListingStore) -> Driver<NoPage> {
    let room = machine.room().clone();
    let key = network_key(room.id(), &SEEDS[0]).expect("a key");
    let transports = all_transports(&key, false).expect("transports");
    let config = NetworkConfig {
        key,
        room: &room,
        relays: Vec::new(),
        named: Vec::new(),
        ice_servers: Some(Vec::new()),
        scheme: PageScheme::Plain,
        scope: Scope::Loopback,
        read_document: Rc::new(|_| Box::pin(async { None })),
    };
    let network = Network::new(config, transports).expect("a network");
    let state = NodeState {
        local_peer_id: network.local_peer_id(),
        machine,
        relays: Vec::new(),
        links: Vec::new(),
        hashes_per_second: None,
        storage: Health::new(Err(Reason::Requested)),
        settings: Settings::default(),
        miner_fault: None,
        relay_document_fault: RelayDocumentFault::default(),
        moved: std::cell::Cell::new(None),
        stopped: false,
    };
    let handles = StorageHandles {
        store: Box::new(store),
        mirror: None,
        hold: None,
        released: None,
    };
    let miner = Miner::new(None, JsValue::NULL, room.id());
    let verifier = Verifier::new(None, JsValue::NULL, &room);
    Driver::new(state, network, handles, (miner, verifier), NoPage).0
}
