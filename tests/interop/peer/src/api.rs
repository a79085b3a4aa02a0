//! The JavaScript interface: sends commands to the event loop, awaits the results, and converts them to plain values.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures_timer::Delay;
use libp2p::{Multiaddr, PeerId};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

use crate::streams;
use crate::swarm::{self, Command};
use crate::table::{Table, now_ms};

/// The round-trip time after which a gossip message counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// A libp2p peer that runs until its page goes away.
#[wasm_bindgen]
pub struct Peer {
    us: PeerId,
    commands: mpsc::Sender<Command>,
    table: Rc<RefCell<Table>>,
    streams: streams::Control,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("us", &self.us)
            .finish_non_exhaustive()
    }
}

#[wasm_bindgen]
impl Peer {
    /// Starts a peer with a new peer ID.
    ///
    /// # Errors
    /// If a protocol cannot be configured.
    pub fn start() -> Result<Self, JsError> {
        let table = Rc::<RefCell<Table>>::default();
        let (us, commands, streams) = swarm::start(Rc::clone(&table))?;
        Ok(Self {
            us,
            commands,
            table,
            streams,
        })
    }

    /// The ID of this peer, as text.
    #[wasm_bindgen(js_name = peerId)]
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.us.to_string()
    }

    /// Connects to a relay and makes a reservation there.
    ///
    /// # Errors
    /// If the relay cannot be reached or refuses the reservation.
    pub async fn listen(&self, relay: String) -> Result<(), JsError> {
        let relay: Multiaddr = relay.parse()?;
        self.request(|reply| Command::Listen(relay, reply)).await
    }

    /// Dials an address, and resolves once connected.
    ///
    /// # Errors
    /// If the address is invalid or the dial fails.
    pub async fn dial(&self, address: String) -> Result<(), JsError> {
        let address: Multiaddr = address.parse()?;
        self.request(|reply| Command::Dial(address, reply)).await
    }

    /// Closes all connections to a peer.
    ///
    /// # Errors
    /// If `peer` is not a valid peer ID.
    pub fn close(&self, peer: &str) -> Result<(), JsError> {
        let peer: PeerId = peer.parse()?;
        self.send(Command::Close(peer))
    }

    /// Returns the state of each connection to a peer.
    ///
    /// # Errors
    /// If `peer` is not a valid peer ID.
    pub fn connections(&self, peer: &str) -> Result<JsValue, JsError> {
        let peer: PeerId = peer.parse()?;
        Ok(serde_wasm_bindgen::to_value(
            &self.table.borrow().links_with(&peer),
        )?)
    }

    /// Sends bytes, and resolves with the echo.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn echo(&self, peer: String, data: Vec<u8>) -> Result<Vec<u8>, JsError> {
        let stream = streams::open(&self.streams, peer.parse()?, streams::ECHO).await?;
        Ok(streams::echo(stream, &data).await?)
    }

    /// Sends this many bytes on one stream, and resolves with the milliseconds until the peer has counted them.
    ///
    /// # Errors
    /// If the stream fails, or the peer counts a different number.
    pub async fn bulk(&self, peer: String, length: u32) -> Result<f64, JsError> {
        let stream = streams::open(&self.streams, peer.parse()?, streams::BULK).await?;
        let start = now_ms();
        streams::send_bulk(stream, u64::from(length)).await?;
        Ok(now_ms() - start)
    }

    /// The number of peers that are subscribed to the gossip topic.
    #[wasm_bindgen(js_name = gossipPeers)]
    #[must_use]
    pub fn gossip_peers(&self) -> usize {
        self.table.borrow().gossip_peers
    }

    /// Publishes messages of `size` bytes one after another, which the peer publishes back. Resolves with the
    /// round-trip time of each in milliseconds; NaN if it was lost.
    ///
    /// # Errors
    /// If the event loop has ended.
    #[wasm_bindgen(js_name = roundTrips)]
    pub async fn round_trips(&self, count: u32, size: usize) -> Result<Vec<f64>, JsError> {
        let mut times = Vec::new();
        for number in 0..count {
            let mut data = number.to_be_bytes().to_vec();
            data.resize(size.max(data.len()), 0);
            let (sender, answer) = oneshot::channel();
            self.table.borrow_mut().awaited = Some((data.clone(), sender));
            let start = now_ms();
            self.send(Command::Ping(data))?;
            times.push(match select(answer, Delay::new(LOST_AFTER)).await {
                Either::Left((Ok(arrived), _)) => arrived - start,
                Either::Left((Err(_), _)) | Either::Right(_) => f64::NAN,
            });
        }
        Ok(times)
    }
}

impl Peer {
    fn send(&self, command: Command) -> Result<(), JsError> {
        Ok(self.commands.clone().try_send(command)?)
    }

    async fn request(&self, command: impl FnOnce(swarm::Reply) -> Command) -> Result<(), JsError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await?.map_err(|error| JsError::new(&error))
    }
}
