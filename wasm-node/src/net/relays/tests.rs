//! Drives relays step by step, with the events that the swarm would report.

use libp2p::core::transport::ListenerId;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{link::MAX_LATE_DIALS, *};

const RELAY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
const SOCKET: &str = "/ip4/127.0.0.1/tcp/8081/ws";
const OTHER_SOCKET: &str = "/ip4/127.0.0.1/tcp/9091/ws";
const WEBRTC: &str = "/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg";
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
    Relays::new(parsed.collect(), PageScheme::Plain, at(0))
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
    let [Action::ReadDocument(link)] = actions.as_slice() else {
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
        let mut relays = Relays::new(parsed.collect(), PageScheme::Plain, at(0));
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
    let mut relays = Relays::new(Vec::new(), PageScheme::Plain, at(0));
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
    let mut relays = Relays::new(Vec::new(), PageScheme::Secure, at(0));
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
    let mut relays = Relays::new(Vec::new(), PageScheme::Plain, at(0));
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
