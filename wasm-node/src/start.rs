//! How a node is put together from what the page gave. Never runs it: that is the driver's.

use chain::key::SecretKey;
use sync::Machine;
use wasm_bindgen_futures::spawn_local;

use crate::{
    arguments::Options,
    clock,
    driver::{Audience, Driver},
    miner::Miner,
    net::{Network, NetworkError, Setup},
    node::{Known, Node, Switches},
    page,
    storage::MemoryStore,
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

/// Puts a node together and lets it run.
///
/// # Errors
/// If the browser lacks what it needs.
pub(crate) fn start(
    options: Options,
    audience: impl Audience + 'static,
) -> Result<Node, StartError> {
    // A fresh key for each tab: its readings and its name on the network are the same author's.
    let seed = clock::entropy()?;
    let network = Network::new(Setup {
        seed,
        room: &options.room,
        relays: options.relays,
        named: options.peers,
        direct: options.direct,
        scheme: page::scheme(),
        read_document: page::document_reader(options.relay_document),
    })?;
    let key = SecretKey::from_seed(seed);
    let machine = Machine::new(
        sync::Config::default(),
        options.room,
        key,
        clock::entropy()?,
        clock::now(),
    );
    let known = Known {
        us: network.us(),
        machine,
        relays: network.relay_views(),
        links: Vec::new(),
        hashes_per_second: None,
        switches: Switches::default(),
    };
    let miner = Miner::new(options.miner_url, options.wasm_module);
    let (driver, node) = Driver::new(known, network, MemoryStore::default(), miner, audience);
    spawn_local(driver.run());
    Ok(node)
}
