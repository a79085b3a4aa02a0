//! How a node is put together from what the page gave. Never runs it: that is the driver's.

use wasm_bindgen_futures::spawn_local;

use crate::{
    adopting::adopt,
    arguments::Options,
    driver::{Audience, Driver, Kept},
    miner::Miner,
    net::{Network, NetworkError, Setup},
    node::{Known, Node, Switches},
    page,
    storage::{self, Opened, Reason},
};

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartError {
    /// The browser has no chance.
    #[error("this browser gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The network could not be set up.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Puts a node together, from what this tab keeps of the room if it was here before, and lets it run.
///
/// # Errors
/// If the browser lacks what it needs.
pub(crate) async fn start(
    options: Options,
    audience: impl Audience + 'static,
) -> Result<Node, StartError> {
    // It comes while the disk is read: the relay can then be called before the page shows anything.
    let read_document = page::document_reader(options.relay_document, options.relays.is_empty());
    let Opened {
        machine,
        store,
        seed,
        health,
        mirror,
        hold,
    } = storage::open(options.room, options.in_memory).await?;
    // A tab's readings and its name on the network are the same author's.
    let network = Network::new(Setup {
        seed,
        room: machine.room(),
        relays: options.relays,
        named: options.peers,
        direct: options.direct,
        ice_servers: options.ice_servers,
        scheme: page::scheme(),
        read_document,
    })?;
    let known = Known {
        us: network.us(),
        machine,
        relays: network.relay_views(),
        links: Vec::new(),
        hashes_per_second: None,
        switches: Switches::default(),
        storage: health,
    };
    let miner = Miner::new(options.miner_url, options.wasm_module);
    let (own, room) = (known.storage.place(), known.machine.room().clone());
    let kept = Kept {
        store,
        mirror,
        hold,
    };
    let (driver, node) = Driver::new(known, network, kept, miner, audience);
    spawn_local(driver.run());
    // A page that is to forget all of it takes nothing over either.
    if own != Err(Reason::Asked) {
        spawn_local(adopt(node.clone(), room, own.ok()));
    }
    Ok(node)
}
