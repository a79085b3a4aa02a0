//! Two whole networks in memory: what each state machine is told when one of them disconnects the other.

use std::{rc::Rc, task::Context, time::Duration};

use futures::{
    FutureExt as _,
    executor::block_on,
    future::{self, Either, select},
};
use heartchain_chain::room::{RoomName, RoomParams};
use heartchain_sync::driver::Network as _;
use libp2p::{
    Transport as _,
    core::{
        transport::{MemoryTransport, OrTransport},
        upgrade::Version,
    },
    noise,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
        dummy,
    },
    yamux,
};

use super::*;

type Peer = Network<dummy::Behaviour>;

/// How long an event may take that must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for an event that must not come.
const QUIET: Duration = Duration::from_millis(700);

/// A peer that is not held off is dialed again by then.
const REDIALED: Duration = Duration::from_secs(7);

/// What a machine was told of the other peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Connected,
    Asked,
    Failed(RequestFailure),
    Disconnected,
}

/// Each of its tasks has its turn at once.
struct NoTurns;

impl TaskTurns for NoTurns {
    fn request(&self) {}

    fn has_begun(&self) -> bool {
        true
    }

    fn wake(&self, context: &Context<'_>) {
        context.waker().wake_by_ref();
    }
}

fn peer(key: Keypair, named: Vec<NamedPeer>) -> Peer {
    let (circuits, relay) = relay::client::new(peer_id_of(&key));
    let transport = OrTransport::new(circuits, MemoryTransport::default())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).expect("an Ed25519 key"))
        .multiplex(yamux::Config::default())
        .boxed();
    let transports = Transports {
        transport,
        swarm: swarm::Config::without_executor(),
        relay,
        direct: dummy::Behaviour,
        turns: Box::new(NoTurns),
    };
    let name = RoomName::new("lobby").expect("a name");
    let room = Room::new(RoomParams::with_defaults(name));
    let setup = NetworkConfig {
        key,
        room: &room,
        relays: Vec::new(),
        named,
        ice_servers: Some(Vec::new()),
        scheme: PageScheme::NoPage,
        scope: Scope::Loopback,
        read_document: Rc::new(|_| future::ready(None).boxed_local()),
    };
    Network::new(setup, transports).expect("a network")
}

/// Lets a peer listen, and returns its address.
fn listen(peer: &mut Peer) -> Multiaddr {
    peer.listen_on("/memory/0").expect("listens");
    block_on(async {
        loop {
            if let NetworkEvent::Listening(address) = peer.next().await {
                break address.parse().expect("a multiaddr");
            }
        }
    })
}

/// How many connections a peer has.
fn connections(peer: &Peer) -> u32 {
    let info = peer.swarm.network_info();
    info.connection_counters().num_established()
}

/// `ours` disconnects `theirs`, which listens at an address and dials the address of `ours`.
struct Pair {
    ours: Peer,
    theirs: Peer,
    our_address: Multiaddr,
    /// The connections that the other peer dialed.
    dialed: Vec<ConnectionId>,
    told: Vec<Told>,
    they_were_told: Vec<Told>,
}

impl Pair {
    /// Two peers that are not connected.
    fn new(mut ours: Peer, theirs: Peer) -> Self {
        Self {
            our_address: listen(&mut ours),
            ours,
            theirs,
            dialed: Vec::new(),
            told: Vec::new(),
            they_were_told: Vec::new(),
        }
    }

    /// Two peers with this many connections.
    fn connected(count: u32) -> Self {
        let [ours, theirs] = [(); 2].map(|()| peer(Keypair::generate_ed25519(), Vec::new()));
        let mut pair = Self::new(ours, theirs);
        for number in 1..=count {
            pair.dial();
            let both = |pair: &Self| [&pair.ours, &pair.theirs].map(connections);
            assert!(pair.until(|pair| both(pair) == [number, number]));
        }
        assert!(pair.until(|pair| pair.both_told(&[Told::Connected])));
        pair
    }

    /// The other peer dials, even if it is connected.
    fn dial(&mut self) {
        let dial = DialOpts::peer_id(self.ours.local_peer_id())
            .condition(PeerCondition::Always)
            .addresses(vec![self.our_address.clone()])
            .build();
        self.dialed.push(dial.connection_id());
        self.theirs.swarm.dial(dial).expect("dials");
    }

    fn disconnect(&mut self, until: Option<MonotonicMillis>) {
        let theirs = self.theirs.local_peer_id();
        self.ours.disconnect(theirs, until);
    }

    fn ask(&mut self, id: u64) {
        let (peer, id) = (self.theirs.local_peer_id(), RequestId(id));
        let deadline = clock::monotonic().saturating_add(60_000);
        let request = Request::MempoolIds { after: None };
        self.ours.request(peer, id, &request, deadline);
    }

    fn both_told(&self, what: &[Told]) -> bool {
        self.told == what && self.they_were_told == what
    }

    fn is_closed(&self) -> bool {
        let theirs = self.theirs.local_peer_id();
        !self.ours.swarm.is_connected(&theirs)
    }

    /// Runs both peers until this holds; `false` if it does not in time.
    fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        self.until_within(PATIENCE, holds)
    }

    /// Runs both peers for a while.
    fn settle(&mut self) {
        self.until_within(QUIET, |_| false);
    }

    fn until_within(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        block_on(async {
            let mut end = clock::sleep(limit);
            while !holds(self) {
                let next = select(Box::pin(self.ours.next()), Box::pin(self.theirs.next()));
                let event = match select(next, &mut end).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => return false,
                };
                match event {
                    Either::Left((event, _)) => self.told.extend(told(&event)),
                    Either::Right((event, _)) => self.they_were_told.extend(told(&event)),
                }
            }
            true
        })
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "nothing else is said of a peer here"
)]
fn told(event: &NetworkEvent) -> Option<Told> {
    let NetworkEvent::Input(input) = event else {
        return None;
    };
    match input {
        Input::PeerConnected { .. } => Some(Told::Connected),
        Input::PeerDisconnected { .. } => Some(Told::Disconnected),
        Input::RequestFailed { failure, .. } => Some(Told::Failed(*failure)),
        Input::Request { .. } => Some(Told::Asked),
        _ => None,
    }
}

#[test]
fn disconnected_peer_is_reported_once() {
    let mut pair = Pair::connected(2);
    pair.ask(1);
    assert!(pair.until(|pair| pair.they_were_told.contains(&Told::Asked)));
    pair.disconnect(None);
    let gone = [Told::Connected, Told::Disconnected];
    let is_gone = pair.until(|pair| pair.told == gone && pair.is_closed());
    assert!(is_gone, "{:?}, {}", pair.told, pair.is_closed());
    assert!(pair.until(|pair| pair.they_were_told.contains(&Told::Disconnected)));
    pair.settle();
    assert_eq!(
        pair.told, gone,
        "neither the second connection nor the open request is reported"
    );
    let theirs = [Told::Connected, Told::Asked, Told::Disconnected];
    assert_eq!(pair.they_were_told, theirs);
    assert!(pair.ours.peer_links().is_empty() && pair.theirs.peer_links().is_empty());

    pair.ask(2);
    let refused = Told::Failed(RequestFailure::Closed);
    assert!(
        pair.until(|pair| pair.told.last() == Some(&refused)),
        "there is no one to ask"
    );
}

#[test]
fn end_of_one_connection_of_two_disconnects_no_one() {
    let mut pair = Pair::connected(2);
    let first = pair.dialed[0];
    pair.theirs.swarm.close_connection(first);
    assert!(pair.until(|pair| connections(&pair.ours) == 1));
    pair.settle();
    assert!(pair.both_told(&[Told::Connected]), "{:?}", pair.told);
    pair.ask(1);
    assert!(
        pair.until(|pair| pair.they_were_told.contains(&Told::Asked)),
        "the other connection carries the request"
    );
}

#[test]
fn disconnected_peer_is_not_dialed_but_accepted() {
    let mut theirs = peer(Keypair::generate_ed25519(), Vec::new());
    let named = NamedPeer::Own {
        address: listen(&mut theirs),
        peer: theirs.local_peer_id(),
    };
    let ours = peer(Keypair::generate_ed25519(), vec![named]);
    let mut pair = Pair::new(ours, theirs);
    assert!(pair.until(|pair| pair.both_told(&[Told::Connected])));
    pair.disconnect(None);
    let gone = [Told::Connected, Told::Disconnected];
    assert!(pair.until(|pair| pair.both_told(&gone)));
    let is_dialed = pair.until_within(REDIALED, |pair| pair.told != gone);
    assert!(!is_dialed, "it was dialed again");
    pair.dial();
    let back = [Told::Connected, Told::Disconnected, Told::Connected];
    assert!(pair.until(|pair| pair.both_told(&back)), "it may come back");
}

#[test]
fn banned_peer_is_refused_until_its_ban_ends() {
    let mut pair = Pair::connected(1);
    let until = clock::monotonic().saturating_add(1_500);
    pair.disconnect(Some(until));
    let gone = [Told::Connected, Told::Disconnected];
    assert!(pair.until(|pair| pair.both_told(&gone)));
    pair.dial();
    pair.settle();
    assert_eq!(pair.told, gone, "it is banned");
    let ended = |_: &Pair| clock::monotonic() > until;
    // Ends of bans are looked for every two seconds.
    while !ended(&pair) || pair.told == gone {
        assert!(clock::monotonic() < until.saturating_add(10_000));
        pair.dial();
        pair.settle();
        let is_early = pair.told != gone && !ended(&pair);
        assert!(!is_early, "the ban has not ended");
    }
    assert_eq!(pair.told.last(), Some(&Told::Connected));
}

#[test]
fn connection_being_set_up_makes_a_member_again() {
    let mut pair = Pair::connected(1);
    pair.dial();
    pair.disconnect(None);
    let back = [Told::Connected, Told::Disconnected, Told::Connected];
    assert!(pair.until(|pair| pair.told == back), "{:?}", pair.told);
    pair.settle();
    assert_eq!(pair.told, back);
    assert_eq!(pair.ours.peer_links().len(), 1);
}
