//! Assembles a node from the page's options: storage, network, miner and driver. The driver then runs it.

use std::cell::{Cell, RefCell};

use futures::{StreamExt as _, channel::mpsc, future::select};
use heartchain_peer::net::{self, Network, NetworkConfig, NetworkError};
use wasm_bindgen_futures::spawn_local;

use crate::{
    adopting::run_adoption,
    arguments::Options,
    document_reader,
    driver::{Driver, EventSink, StorageHandles},
    miner::Miner,
    node::{Command, Node},
    node_state::{NodeState, RelayDocumentFault, Settings},
    resume_listener::ResumeListener,
    storage::{self, Opened, Reason},
    transport::{TransportError, all_transports},
    verifier::Verifier,
};

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartError {
    /// The browser has no random number generator.
    #[error("this browser gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The network could not be set up.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The transports could not be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Assembles a node and starts its driver. If this tab was in the room before, the node resumes from what it stored.
///
/// # Errors
/// If the browser has no random number generator, or the network cannot be set up.
pub(crate) async fn start(
    options: Options,
    event_sink: impl EventSink + 'static,
) -> Result<Node, StartError> {
    let document_fault = RelayDocumentFault::default();
    let (document_changed, mut document_changes) = mpsc::channel(0);
    // The document is fetched while the disk is read, so that the relay can be dialed before the page is drawn.
    let read_document = {
        let fault = document_fault.clone();
        let changed = RefCell::new(document_changed);
        document_reader::document_reader(
            options.relay_document,
            options.relays.is_empty(),
            move |found| {
                if fault.replace(found) != found {
                    // A full channel: the page has not heard of the last change either.
                    let _ = changed.borrow_mut().try_send(());
                }
            },
        )
    };
    let Opened {
        mut machine,
        store,
        seed,
        health,
        mirror,
        hold,
        released,
    } = storage::open(options.room, options.label.as_deref(), options.in_memory).await?;
    let key = net::network_key(machine.room().id(), &seed)?;
    let transports = all_transports(&key, options.direct)?;
    let config = NetworkConfig {
        key,
        room: machine.room(),
        relays: options.relays,
        named: options.peers,
        ice_servers: options.ice_servers,
        scheme: options.scheme,
        scope: options.scope,
        read_document,
    };
    let network = Network::new(config, transports)?;
    let local_peer_id = network.local_peer_id();
    machine.identify(local_peer_id, net::peer_id_bytes);
    let state = NodeState {
        local_peer_id,
        machine,
        relays: network.relay_views(),
        links: Vec::new(),
        hashes_per_second: None,
        settings: Settings::default(),
        storage: health,
        miner_fault: None,
        relay_document_fault: document_fault,
        moved: Cell::new(None),
        stopped: false,
    };
    let (own_slot, room) = (state.storage.place(), state.machine.room().clone());
    let verifier = Verifier::new(options.verifier_url, options.wasm_module.clone(), &room);
    let miner = Miner::new(options.miner_url, options.wasm_module, room.id());
    let handles = StorageHandles {
        store,
        mirror,
        hold,
        released,
    };
    let (driver, node) = Driver::new(state, network, handles, (miner, verifier), event_sink);
    let running = node.clone();
    spawn_local(async move {
        // A node lives until it is stopped, whether or not the page keeps its handle.
        let handle = running.clone();
        // This fails if the queue of commands is full; then the driver is awake anyway.
        let _resumed = ResumeListener::new(move || drop(handle.command(Command::Resumed)));
        driver.run().await;
        drop(running);
    });
    let handle = node.clone();
    spawn_local(async move {
        while document_changes.next().await.is_some() {
            if handle.command(Command::StatusChanged).is_err() {
                return;
            }
        }
    });
    // A page that stores nothing adopts nothing either.
    if own_slot != Err(Reason::Requested) {
        let adoption = run_adoption(node.clone(), room, own_slot.ok());
        let ended = node.ended.clone();
        // A stopped node must not keep its state until the next search.
        spawn_local(async move { drop(select(Box::pin(adoption), ended).await) });
    }
    Ok(node)
}
