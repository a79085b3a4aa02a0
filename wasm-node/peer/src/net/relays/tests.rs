//! Drives relays step by step, with the events that the swarm would report.

use libp2p::core::transport::ListenerId;

use super::{link::MAX_LATE_DIALS, *};

const RELAY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
const SOCKET: &str = "/ip4/127.0.0.1/tcp/8081/ws";
const OTHER_SOCKET: &str = "/ip4/127.0.0.1/tcp/9091/ws";
const WEBRTC: &str = "/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg";
/// Ranks [`DEPLOYMENT`] in this order.
const ROOM: RoomId = RoomId::new([0; 32]);
const DEPLOYMENT: [&str; 3] = [
    "https://a.example/",
    "https://b.example/hearts/",
    "https://c.example:8443/",
];
/// Longer than any wait between two dials, in ms.
const LONG: u64 = 20_000;

fn at(ms: u64) -> MonotonicMillis {
    MonotonicMillis::new(1_000_000 + ms)
}

fn peer() -> PeerId {
    RELAY.parse().expect("a peer ID")
}

fn connection(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn document(addresses: &[&str]) -> RelayDocument {
    let addresses = addresses
        .iter()
        .map(|address| format!("{address}/p2p/{RELAY}"));
    RelayDocument {
        addresses: addresses.collect(),
        ..RelayDocument::default()
    }
}

fn given(addresses: &[&str]) -> Relays {
    let addresses = document(addresses).addresses;
    let parsed = addresses
        .iter()
        .map(|address| RelayAddress::parse(address, PageScheme::Plain).expect("an address"));
    Relays::new(
        parsed.collect(),
        PageScheme::Plain,
        RoomId::new([0; 32]),
        at(0),
    )
}

/// Ticks, expects exactly one dial, and reports it as started. Returns the dialed address.
fn dials(relays: &mut Relays, now: MonotonicMillis, number: usize) -> String {
    let actions = relays.tick(now, 0);
    let [Action::Dial(link, address)] = actions.as_slice() else {
        panic!("one dial is due at {now}, not {actions:?}");
    };
    relays.dialing(*link, connection(number), now);
    address
        .address
        .to_string()
        .replace(&format!("/p2p/{RELAY}"), "")
}

fn reads_document(relays: &mut Relays, now: MonotonicMillis, answer: Option<RelayDocument>) {
    let actions = relays.tick(now, 0);
    let [Action::ReadDocument(link, None)] = actions.as_slice() else {
        panic!("the document is read at {now}, not {actions:?}");
    };
    relays.document(*link, answer, now);
}

fn connects(relays: &mut Relays, number: usize, address: &str, now: MonotonicMillis) -> Arrival {
    relays.connected(
        connection(number),
        peer(),
        &address.parse().expect("an address"),
        now,
    )
}

#[test]
fn websocket_address_is_dialed_first() {
    let mut relays = given(&[WEBRTC, SOCKET]);
    assert_eq!(relays.views().len(), 1);
    assert_eq!(dials(&mut relays, at(0), 1), SOCKET);
    assert!(relays.tick(at(1), 0).is_empty(), "one dial at a time");
}

#[test]
fn failed_dial_backs_off_to_the_next_address() {
    let mut relays = given(&[SOCKET, WEBRTC]);
    dials(&mut relays, at(0), 1);
    assert!(relays.dial_failed(connection(1), at(10)));
    assert!(
        !relays.dial_failed(connection(1), at(10)),
        "a dial fails once"
    );
    assert!(relays.tick(at(11), 0).is_empty(), "not at once");
    assert_eq!(dials(&mut relays, at(10 + LONG), 2), WEBRTC);
    assert!(relays.dial_failed(connection(2), at(LONG + 20)));
    assert_eq!(dials(&mut relays, at(2 * LONG + 20), 3), SOCKET);
}

#[test]
fn abandoned_dial_may_still_connect() {
    let mut relays = given(&[SOCKET, WEBRTC]);
    dials(&mut relays, at(0), 1);
    let delay = millis(DIAL_FALLBACK_DELAY);
    assert_eq!(relays.due(), Some(at(delay)));
    assert_eq!(dials(&mut relays, at(delay), 2), WEBRTC);
    assert_eq!(
        connects(&mut relays, 1, SOCKET, at(delay + 1)),
        Arrival::Relay
    );
    assert_eq!(
        connects(&mut relays, 2, WEBRTC, at(delay + 2)),
        Arrival::Surplus
    );
    assert_eq!(
        connects(&mut relays, 3, SOCKET, at(delay + 3)),
        Arrival::Other
    );
    assert_eq!(
        relays.closed(connection(2), at(delay + 4)),
        None,
        "the relay keeps its main connection"
    );
    assert_eq!(relays.closed(connection(1), at(delay + 5)), Some(peer()));
}

#[test]
fn links_to_one_relay_merge_once_it_is_known() {
    for named in [0, 1] {
        let mut addresses = [SOCKET.to_owned(), OTHER_SOCKET.to_owned()];
        addresses[named] += &format!("/p2p/{RELAY}");
        let parsed = addresses
            .iter()
            .map(|address| RelayAddress::parse(address, PageScheme::Plain).expect("an address"));
        let mut relays = Relays::new(parsed.collect(), PageScheme::Plain, ROOM, at(0));
        let actions = relays.tick(at(0), 0);
        for (number, action) in actions.iter().enumerate() {
            let Action::Dial(link, _) = action else {
                panic!("both are dialed: {actions:?}");
            };
            relays.dialing(*link, connection(number), at(0));
        }
        assert_eq!(relays.views().len(), 2, "not known to be one relay");
        assert_eq!(
            connects(&mut relays, 1, OTHER_SOCKET, at(5)),
            Arrival::Relay
        );
        assert_eq!(connects(&mut relays, 0, SOCKET, at(6)), Arrival::Surplus);
        assert_eq!(relays.views().len(), 1);
        assert_eq!(relays.connected_peers().count(), 1);
        assert_eq!(
            relays.closed(connection(0), at(7)),
            None,
            "the relay keeps its main connection"
        );
        let actions = relays.tick(at(8), 0);
        assert!(
            matches!(
                actions.as_slice(),
                [Action::Reserve(..), Action::Discover(..)]
            ),
            "{actions:?}"
        );

        // Both addresses lead back to the relay, one at a time.
        assert_eq!(relays.closed(connection(1), at(9)), Some(peer()));
        relays.resumed(at(9));
        assert_eq!(dials(&mut relays, at(9), 2), OTHER_SOCKET);
        assert!(relays.dial_failed(connection(2), at(10)));
        assert_eq!(dials(&mut relays, at(10 + LONG), 3), SOCKET);
        assert_eq!(
            connects(&mut relays, 3, SOCKET, at(10 + LONG)),
            Arrival::Relay
        );
        assert_eq!(relays.views().len(), 1);
    }
}

#[test]
fn single_address_is_not_abandoned() {
    let mut relays = given(&[WEBRTC]);
    dials(&mut relays, at(0), 1);
    assert_eq!(relays.due(), None);
    assert!(relays.tick(at(LONG), 0).is_empty());
}

#[test]
fn abandoned_dials_are_limited() {
    let mut relays = given(&[SOCKET, WEBRTC]);
    let mut now = 0;
    for number in 0..=MAX_LATE_DIALS {
        dials(&mut relays, at(now), number);
        now += millis(DIAL_FALLBACK_DELAY);
    }
    assert!(relays.tick(at(now), 0).is_empty());
    assert_eq!(relays.due(), None);
}

#[test]
fn document_is_read_before_every_dial() {
    let mut relays = Relays::new(Vec::new(), PageScheme::Plain, ROOM, at(0));
    reads_document(&mut relays, at(0), Some(document(&[SOCKET])));
    assert_eq!(dials(&mut relays, at(0), 1), SOCKET);
    relays.dial_failed(connection(1), at(10));
    reads_document(&mut relays, at(LONG), Some(document(&[OTHER_SOCKET])));
    assert_eq!(
        dials(&mut relays, at(LONG), 2),
        OTHER_SOCKET,
        "the relay restarted on another port"
    );
    relays.dial_failed(connection(2), at(LONG + 10));
    reads_document(&mut relays, at(2 * LONG), None);
    assert_eq!(
        dials(&mut relays, at(2 * LONG), 3),
        OTHER_SOCKET,
        "the last known address is tried"
    );
}

#[test]
fn document_without_an_address_is_read_again() {
    let mut relays = Relays::new(Vec::new(), PageScheme::Secure, ROOM, at(0));
    reads_document(
        &mut relays,
        at(0),
        Some(document(&[SOCKET, "/ip4/127.0.0.1/tcp/8081"])),
    );
    assert!(relays.tick(at(1), 0).is_empty());
    assert!(relays.views().is_empty());
    reads_document(&mut relays, at(LONG), Some(document(&[WEBRTC])));
    assert_eq!(dials(&mut relays, at(LONG), 1), WEBRTC);
}

#[test]
fn discovery_sends_the_cookie_of_the_last_answer() {
    let mut relays = given(&[SOCKET]);
    dials(&mut relays, at(0), 1);
    assert_eq!(connects(&mut relays, 1, SOCKET, at(5)), Arrival::Relay);
    relays.tick(at(5), 0);
    let next_cookie = |relays: &mut Relays, ms| {
        let actions = relays.tick(at(ms), 0).into_iter();
        let mut cookies = actions.filter_map(|action| {
            let Action::Discover(_, cookie) = action else {
                return None;
            };
            Some(cookie)
        });
        cookies.next().expect("a discovery is due")
    };
    let cookie = Cookie(vec![7]);
    relays.discovered(&peer(), Some(cookie.clone()));
    assert_eq!(next_cookie(&mut relays, LONG), Some(cookie));
    relays.discovered(&peer(), None);
    assert_eq!(next_cookie(&mut relays, 2 * LONG), None);
}

#[test]
fn connected_relay_reserves_discovers_registers() {
    let mut relays = given(&[SOCKET]);
    dials(&mut relays, at(0), 1);
    assert_eq!(connects(&mut relays, 1, SOCKET, at(5)), Arrival::Relay);
    let actions = relays.tick(at(5), 0);
    let [
        Action::Reserve(link, address),
        Action::Discover(relay, None),
    ] = actions.as_slice()
    else {
        panic!("a reservation and a discovery are due: {actions:?}");
    };
    assert_eq!(
        address.to_string(),
        format!("{SOCKET}/p2p/{RELAY}/p2p-circuit")
    );
    assert_eq!(*relay, peer());
    let listener = ListenerId::next();
    relays.listening(*link, Some(listener), at(5));
    relays.reserved(&peer(), at(50));
    assert!(
        relays
            .views()
            .iter()
            .all(|view| view.connected && view.reserved)
    );
    let actions = relays.tick(at(50), 0);
    assert!(
        matches!(
            actions.as_slice(),
            [Action::Register(_), Action::Discover(..)]
        ),
        "{actions:?}"
    );

    relays.registered(&peer(), Some(Duration::from_secs(120)), at(60));
    let renewed: Vec<u64> = (1..200)
        .map(|second| second * 1_000)
        .filter(|ms| {
            relays
                .tick(at(60 + ms), 10)
                .iter()
                .any(|action| matches!(action, Action::Register(_)))
        })
        .collect();
    assert!(
        renewed
            .first()
            .is_some_and(|first| (30_000..=50_000).contains(first)),
        "{renewed:?}"
    );
}

#[test]
fn document_says_whether_the_relay_is_full() {
    let mut relays = Relays::new(Vec::new(), PageScheme::Plain, ROOM, at(0));
    let full = RelayDocument {
        full: true,
        ..document(&[SOCKET])
    };
    reads_document(&mut relays, at(0), Some(full));
    let is_full = |relays: &Relays| relays.views().iter().any(|view| view.full);
    assert!(is_full(&relays));
    dials(&mut relays, at(0), 1);
    relays.dial_failed(connection(1), at(0));
    // Now it cannot be reached at all.
    reads_document(&mut relays, at(LONG), None);
    assert!(!is_full(&relays));
}

#[test]
fn failed_reservation_is_requested_again() {
    let mut relays = given(&[SOCKET]);
    dials(&mut relays, at(0), 1);
    connects(&mut relays, 1, SOCKET, at(0));
    let reserve = |actions: Vec<Action>| {
        actions.into_iter().find_map(|action| {
            if let Action::Reserve(link, _) = action {
                Some(link)
            } else {
                None
            }
        })
    };
    let link = reserve(relays.tick(at(0), 0)).expect("a reservation is due");
    let first = ListenerId::next();
    relays.listening(link, Some(first), at(0));
    relays.listener_closed(first, true, at(100));
    assert!(relays.views().iter().all(|view| view.full));
    assert!(reserve(relays.tick(at(101), 0)).is_none(), "not at once");
    assert!(reserve(relays.tick(at(100 + LONG), 0)).is_some(), "refused");

    let second = ListenerId::next();
    relays.listening(link, Some(second), at(100 + LONG));
    let late = at(100 + LONG + millis(RESERVATION_TIMEOUT));
    let actions = relays.tick(late, 0);
    assert!(
        matches!(actions.first(), Some(Action::StopListening(listener)) if *listener == second),
        "{actions:?}"
    );
    assert!(reserve(actions).is_some(), "never granted");

    let third = ListenerId::next();
    relays.listening(link, Some(third), late);
    relays.reserved(&peer(), late);
    relays.listener_closed(third, false, late);
    assert!(
        relays
            .views()
            .iter()
            .all(|view| view.connected && !view.reserved && !view.full)
    );
    assert!(
        reserve(relays.tick(late.saturating_add(LONG), 0)).is_some(),
        "lost"
    );
}

#[test]
fn steady_reservation_is_replaced_at_once() {
    for (age, at_once) in [
        (millis(STEADY_RESERVATION), true),
        (millis(STEADY_RESERVATION) - 1, false),
    ] {
        let mut relays = given(&[SOCKET]);
        dials(&mut relays, at(0), 1);
        connects(&mut relays, 1, SOCKET, at(0));
        let actions = relays.tick(at(0), 0);
        let Some(Action::Reserve(link, _)) = actions.first() else {
            panic!("a reservation is due: {actions:?}");
        };
        let listener = ListenerId::next();
        relays.listening(*link, Some(listener), at(0));
        relays.reserved(&peer(), at(5));
        // A renewal does not reset its age.
        relays.reserved(&peer(), at(6));
        relays.listener_closed(listener, false, at(5 + age));
        let actions = relays.tick(at(5 + age), 0);
        let is_requested = actions
            .iter()
            .any(|action| matches!(action, Action::Reserve(..)));
        assert_eq!(is_requested, at_once, "after {age} ms: {actions:?}");
    }
}

#[test]
fn resuming_ends_every_wait() {
    let mut relays = given(&[SOCKET]);
    for number in 0..6 {
        let now = at(100_000 * u64::try_from(number).expect("small"));
        dials(&mut relays, now, number);
        relays.dial_failed(connection(number), now);
    }
    assert!(relays.tick(at(500_001), 0).is_empty());
    relays.resumed(at(500_002));
    dials(&mut relays, at(500_002), 9);
}

/// The relays of [`DEPLOYMENT`], without a network.
struct Deployment {
    relays: Relays,
    now: MonotonicMillis,
    /// What each relay answers: nothing, that it is full, or that it works.
    answers: [Option<bool>; 3],
    peers: [PeerId; 3],
    /// Open connections, and the relay of each.
    open: Vec<(ConnectionId, usize)>,
    opened: usize,
    /// Whose documents were read, in order.
    read: Vec<usize>,
    /// Whether the first relay answers no request for a reservation.
    is_silent: bool,
}

impl Deployment {
    /// A tab whose page is the relay with this number.
    fn of_page(page: usize) -> Self {
        let relays = Relays::new(Vec::new(), PageScheme::Secure, ROOM, at(0));
        let mut deployment = Self {
            relays,
            now: at(0),
            answers: [Some(true); 3],
            peers: [1, 2, 3].map(|seed| {
                let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]);
                key.expect("a key").public().to_peer_id()
            }),
            open: Vec::new(),
            opened: 0,
            read: Vec::new(),
            is_silent: false,
        };
        deployment.advance(0, page);
        deployment
    }

    fn document(&self, index: usize) -> Option<RelayDocument> {
        let full = !self.answers[index]?;
        let url = Some(DEPLOYMENT[index].to_owned());
        let address = format!(
            "/dns/r{index}.example/tcp/443/tls/ws/p2p/{}",
            self.peers[index]
        );
        Some(RelayDocument {
            addresses: vec![address],
            full,
            relays: DEPLOYMENT.map(str::to_owned).to_vec(),
            url,
            ..RelayDocument::default()
        })
    }

    /// Lets this many seconds pass. `page` is the number of the page's relay.
    fn advance(&mut self, seconds: u64, page: usize) {
        let end = self.now.saturating_add(seconds * 1_000);
        self.step(page);
        while self.now < end {
            self.now = self.now.saturating_add(100);
            self.step(page);
        }
    }

    fn step(&mut self, page: usize) {
        for _ in 0..10 {
            for action in self.relays.tick(self.now, 3) {
                self.perform(action, page);
            }
        }
    }

    fn perform(&mut self, action: Action, page: usize) {
        let now = self.now;
        match action {
            Action::ReadDocument(link, url) => {
                let at = url.map(|url| DEPLOYMENT.iter().position(|other| *other == url));
                let index = at.map_or(page, |at| at.expect("a listed relay"));
                self.read.push(index);
                self.relays.document(link, self.document(index), now);
            }
            Action::Dial(link, address) => {
                let peer = address.peer.expect("a peer ID");
                let index = self.peers.iter().position(|other| *other == peer);
                self.opened += 1;
                let id = connection(self.opened);
                self.relays.dialing(link, id, now);
                let index = index.expect("a relay");
                if self.answers[index].is_none() {
                    self.relays.dial_failed(id, now);
                } else {
                    self.relays.connected(id, peer, &address.address, now);
                    self.open.push((id, index));
                }
            }
            Action::Reserve(link, address) => {
                let listener = ListenerId::next();
                self.relays.listening(link, Some(listener), now);
                let is_at = |peer: &PeerId| address.to_string().contains(&peer.to_string());
                let index = self.peers.iter().position(is_at).expect("a relay");
                match self.answers[index] {
                    _ if self.is_silent && index == 0 => {}
                    Some(true) => self.relays.reserved(&self.peers[index], now),
                    Some(false) => self.relays.listener_closed(listener, true, now),
                    None => {}
                }
            }
            Action::Leave(id) => self.close(|(open, _)| *open == id),
            Action::StopListening(_) | Action::Register(_) | Action::Discover(..) => {}
        }
    }

    fn close(&mut self, which: impl Fn(&(ConnectionId, usize)) -> bool) {
        for (id, _) in self.open.extract_if(.., |open| which(open)) {
            self.relays.closed(id, self.now);
        }
    }

    fn kill(&mut self, index: usize) {
        self.answers[index] = None;
        self.close(|(_, of)| *of == index);
    }

    /// The connected relays, in order.
    fn connected(&self) -> Vec<usize> {
        let mut connected: Vec<usize> = self.open.iter().map(|(_, index)| *index).collect();
        connected.sort_unstable();
        connected
    }
}

#[test]
fn room_uses_its_two_relays_whatever_the_page() {
    for page in 0..3 {
        let mut deployment = Deployment::of_page(page);
        deployment.advance(60, page);
        assert_eq!(deployment.connected(), [0, 1], "page {page}");
        // The page's own, and those of the chosen relays.
        let mut read = deployment.read.clone();
        read.sort_unstable();
        assert_eq!(read, if page == 2 { vec![0, 1, 2] } else { vec![0, 1] });
        assert_eq!(deployment.relays.views().len(), 2);
    }
}

#[test]
fn killed_relay_is_replaced_until_it_is_back() {
    for page in 0..3 {
        for killed in 0..2 {
            let mut deployment = Deployment::of_page(page);
            deployment.advance(60, page);
            deployment.kill(killed);
            deployment.advance(3, page);
            assert_eq!(deployment.connected(), [1 - killed, 2]);
            deployment.advance(300, page);
            assert_eq!(deployment.connected(), [1 - killed, 2]);
            deployment.answers[killed] = Some(true);
            deployment.advance(60, page);
            assert_eq!(deployment.connected(), [0, 1], "page {page}, {killed}");
        }
    }
}

#[test]
fn tab_stays_at_all_that_is_left() {
    let mut deployment = Deployment::of_page(2);
    deployment.kill(0);
    deployment.kill(1);
    deployment.advance(60, 2);
    assert_eq!(deployment.connected(), [2]);
    deployment.kill(2);
    deployment.advance(60, 2);
    assert_eq!(deployment.connected(), [0; 0]);
    deployment.answers = [Some(true); 3];
    deployment.advance(60, 2);
    assert_eq!(deployment.connected(), [0, 1]);
}

#[test]
fn full_relay_is_used_beside_two_others() {
    let mut deployment = Deployment::of_page(0);
    deployment.advance(10, 0);
    deployment.kill(0);
    deployment.answers[0] = Some(false);
    deployment.advance(60, 0);
    assert_eq!(deployment.connected(), [0, 1, 2]);
    deployment.answers[0] = Some(true);
    deployment.advance(60, 0);
    assert_eq!(deployment.connected(), [0, 1]);
}

#[test]
fn silent_relay_counts_as_failing() {
    let mut deployment = Deployment::of_page(0);
    // It accepts connections, and answers no request for a reservation.
    deployment.is_silent = true;
    deployment.kill(0);
    deployment.answers[0] = Some(true);
    deployment.advance(60, 0);
    assert_eq!(deployment.connected(), [0, 1, 2]);
}

#[test]
fn list_without_the_page_relay_is_ignored() {
    for (list, url) in [
        (&DEPLOYMENT[..2], Some(DEPLOYMENT[2])),
        (&DEPLOYMENT[..], None),
        (&DEPLOYMENT[..1], Some(DEPLOYMENT[0])),
        (
            &["http://a.example/", "http://b.example/"][..],
            Some("http://a.example/"),
        ),
    ] {
        let mut relays = Relays::new(Vec::new(), PageScheme::Secure, ROOM, at(0));
        let answer = RelayDocument {
            relays: list.iter().map(|url| (*url).to_owned()).collect(),
            url: url.map(str::to_owned),
            ..document(&["/dns/a.example/tcp/443/tls/ws"])
        };
        reads_document(&mut relays, at(0), Some(answer));
        dials(&mut relays, at(0), 1);
        assert!(relays.tick(at(1), 0).is_empty(), "{list:?}");
    }
}

#[test]
fn list_of_relays_is_read_again() {
    let mut deployment = Deployment::of_page(2);
    deployment.advance(590, 2);
    let before = deployment.read.len();
    deployment.advance(30, 2);
    assert_eq!(deployment.read[before..], [2]);
    assert_eq!(deployment.connected(), [0, 1]);
}
