//! A relay's course, step by step, as the swarm would report it.

use libp2p::core::transport::ListenerId;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const RELAY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
const SOCKET: &str = "/ip4/127.0.0.1/tcp/8081/ws";
const OTHER_SOCKET: &str = "/ip4/127.0.0.1/tcp/9091/ws";
const WEBRTC: &str = "/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg";
/// Longer than any wait between two calls.
const LONG: u64 = 20_000;

fn at(ms: u64) -> MonotonicMillis {
    MonotonicMillis::new(1_000_000 + ms)
}

fn peer() -> PeerId {
    RELAY.parse().expect("a peer's name")
}

fn call(number: usize) -> ConnectionId {
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

/// Ticks, expects that one address is to be called, and says that it is.
fn dials(relays: &mut Relays, now: MonotonicMillis, number: usize) -> String {
    let actions = relays.tick(now, 0);
    let [Action::Dial(link, address)] = actions.as_slice() else {
        panic!("one call is due at {now}, not {actions:?}");
    };
    relays.dialing(*link, call(number), now);
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

fn arrives(relays: &mut Relays, number: usize, address: &str, now: MonotonicMillis) -> Arrival {
    relays.connected(
        call(number),
        peer(),
        &address.parse().expect("an address"),
        now,
    )
}

#[test]
fn a_relay_with_two_addresses_is_one_and_its_socket_comes_first() {
    let mut relays = given(&[WEBRTC, SOCKET]);
    assert_eq!(relays.views().len(), 1);
    assert_eq!(dials(&mut relays, at(0), 1), SOCKET);
    assert!(relays.tick(at(1), 0).is_empty(), "one call at a time");
}

#[test]
fn a_failed_address_makes_way_for_the_next_after_a_wait() {
    let mut relays = given(&[SOCKET, WEBRTC]);
    dials(&mut relays, at(0), 1);
    assert!(relays.dial_failed(call(1), at(10)));
    assert!(!relays.dial_failed(call(1), at(10)), "a call fails once");
    assert!(relays.tick(at(11), 0).is_empty(), "not at once");
    assert_eq!(dials(&mut relays, at(10 + LONG), 2), WEBRTC);
    assert!(relays.dial_failed(call(2), at(LONG + 20)));
    assert_eq!(dials(&mut relays, at(2 * LONG + 20), 3), SOCKET);
}

#[test]
fn a_silent_address_makes_way_and_may_still_come_through() {
    let mut relays = given(&[SOCKET, WEBRTC]);
    dials(&mut relays, at(0), 1);
    let patience = millis(config::DIAL_PATIENCE);
    assert_eq!(relays.due(), Some(at(patience)));
    assert_eq!(dials(&mut relays, at(patience), 2), WEBRTC);
    assert_eq!(
        arrives(&mut relays, 1, SOCKET, at(patience + 1)),
        Arrival::Relay
    );
    assert_eq!(
        arrives(&mut relays, 2, WEBRTC, at(patience + 2)),
        Arrival::Surplus
    );
    assert_eq!(
        arrives(&mut relays, 3, SOCKET, at(patience + 3)),
        Arrival::Other
    );
    assert_eq!(
        relays.closed(call(2), at(patience + 4)),
        None,
        "the surplus one is no loss"
    );
    assert_eq!(relays.closed(call(1), at(patience + 5)), Some(peer()));
}

#[test]
fn a_relay_that_is_given_with_and_without_its_name_is_one_once_it_has_said_who_it_is() {
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
                panic!("both are called: {actions:?}");
            };
            relays.dialing(*link, call(number), at(0));
        }
        assert_eq!(relays.views().len(), 2, "nobody knows yet");
        assert_eq!(arrives(&mut relays, 1, OTHER_SOCKET, at(5)), Arrival::Relay);
        assert_eq!(arrives(&mut relays, 0, SOCKET, at(6)), Arrival::Surplus);
        assert_eq!(relays.views().len(), 1);
        assert_eq!(relays.connected_peers().count(), 1);
        assert_eq!(relays.closed(call(0), at(7)), None, "it is no loss");
        let actions = relays.tick(at(8), 0);
        assert!(
            matches!(
                actions.as_slice(),
                [Action::Reserve(..), Action::Discover(..)]
            ),
            "{actions:?}"
        );

        // Either address leads back to it, one at a time.
        assert_eq!(relays.closed(call(1), at(9)), Some(peer()));
        relays.woke(at(9));
        assert_eq!(dials(&mut relays, at(9), 2), OTHER_SOCKET);
        assert!(relays.dial_failed(call(2), at(10)));
        assert_eq!(dials(&mut relays, at(10 + LONG), 3), SOCKET);
        assert_eq!(
            arrives(&mut relays, 3, SOCKET, at(10 + LONG)),
            Arrival::Relay
        );
        assert_eq!(relays.views().len(), 1);
    }
}

#[test]
fn a_single_address_is_waited_for() {
    let mut relays = given(&[WEBRTC]);
    dials(&mut relays, at(0), 1);
    assert_eq!(relays.due(), None);
    assert!(relays.tick(at(LONG), 0).is_empty());
}

#[test]
fn calls_that_are_not_waited_for_are_bounded() {
    let mut relays = given(&[SOCKET, WEBRTC]);
    let mut now = 0;
    for number in 0..=config::MAX_LATE_CALLS {
        dials(&mut relays, at(now), number);
        now += millis(config::DIAL_PATIENCE);
    }
    assert!(relays.tick(at(now), 0).is_empty());
    assert_eq!(relays.due(), None);
}

#[test]
fn the_document_is_read_before_every_call() {
    let mut relays = Relays::new(Vec::new(), PageScheme::Plain, at(0));
    reads_document(&mut relays, at(0), Some(document(&[SOCKET])));
    assert_eq!(dials(&mut relays, at(0), 1), SOCKET);
    relays.dial_failed(call(1), at(10));
    reads_document(&mut relays, at(LONG), Some(document(&[OTHER_SOCKET])));
    assert_eq!(
        dials(&mut relays, at(LONG), 2),
        OTHER_SOCKET,
        "it came back with other ports"
    );
    relays.dial_failed(call(2), at(LONG + 10));
    reads_document(&mut relays, at(2 * LONG), None);
    assert_eq!(
        dials(&mut relays, at(2 * LONG), 3),
        OTHER_SOCKET,
        "what is known is tried"
    );
}

#[test]
fn a_document_without_a_usable_address_is_read_again_later() {
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
fn a_relay_is_asked_for_what_is_new_unless_it_is_to_name_all_again() {
    let mut relays = given(&[SOCKET]);
    assert!(relays.ask_anew().is_empty(), "none is connected");
    dials(&mut relays, at(0), 1);
    assert_eq!(arrives(&mut relays, 1, SOCKET, at(5)), Arrival::Relay);
    relays.tick(at(5), 0);
    let asked = |relays: &mut Relays, ms| {
        let actions = relays.tick(at(ms), 0).into_iter();
        let mut cookies = actions.filter_map(|action| {
            let Action::Discover(_, cookie) = action else {
                return None;
            };
            Some(cookie)
        });
        cookies.next().expect("it is asked")
    };
    let cookie = Cookie(vec![7]);
    relays.discovered(&peer(), Some(cookie.clone()));
    assert_eq!(asked(&mut relays, LONG), Some(cookie));
    assert_eq!(relays.ask_anew(), [peer()]);
    assert_eq!(asked(&mut relays, 2 * LONG), None);
}

#[test]
fn a_connected_relay_is_asked_who_is_there_and_for_a_slot_and_then_told_that_we_are() {
    let mut relays = given(&[SOCKET]);
    dials(&mut relays, at(0), 1);
    assert_eq!(arrives(&mut relays, 1, SOCKET, at(5)), Arrival::Relay);
    let actions = relays.tick(at(5), 0);
    let [
        Action::Reserve(link, address),
        Action::Discover(asked, None),
    ] = actions.as_slice()
    else {
        panic!("a slot is asked for, and who is there: {actions:?}");
    };
    assert_eq!(
        address.to_string(),
        format!("{SOCKET}/p2p/{RELAY}/p2p-circuit")
    );
    assert_eq!(*asked, peer());
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
fn a_slot_that_is_refused_lost_or_never_granted_is_asked_for_again() {
    let mut relays = given(&[SOCKET]);
    dials(&mut relays, at(0), 1);
    arrives(&mut relays, 1, SOCKET, at(0));
    let reserve = |actions: Vec<Action>| {
        actions.into_iter().find_map(|action| {
            if let Action::Reserve(link, _) = action {
                Some(link)
            } else {
                None
            }
        })
    };
    let link = reserve(relays.tick(at(0), 0)).expect("a slot is asked for");
    let first = ListenerId::next();
    relays.listening(link, Some(first), at(0));
    relays.listener_closed(first, at(100));
    assert!(reserve(relays.tick(at(101), 0)).is_none(), "not at once");
    assert!(reserve(relays.tick(at(100 + LONG), 0)).is_some(), "refused");

    let second = ListenerId::next();
    relays.listening(link, Some(second), at(100 + LONG));
    let late = at(100 + LONG + millis(config::RESERVATION_TIMEOUT));
    let actions = relays.tick(late, 0);
    assert!(
        matches!(actions.first(), Some(Action::StopListening(listener)) if *listener == second),
        "{actions:?}"
    );
    assert!(reserve(actions).is_some(), "never granted");

    let third = ListenerId::next();
    relays.listening(link, Some(third), late);
    relays.reserved(&peer(), late);
    relays.listener_closed(third, late);
    assert!(
        relays
            .views()
            .iter()
            .all(|view| view.connected && !view.reserved)
    );
    assert!(
        reserve(relays.tick(late.saturating_add(LONG), 0)).is_some(),
        "lost"
    );
}

#[test]
fn a_slot_that_stood_is_asked_for_again_at_once() {
    for (stood, at_once) in [
        (millis(config::STEADY_RESERVATION), true),
        (millis(config::STEADY_RESERVATION) - 1, false),
    ] {
        let mut relays = given(&[SOCKET]);
        dials(&mut relays, at(0), 1);
        arrives(&mut relays, 1, SOCKET, at(0));
        let actions = relays.tick(at(0), 0);
        let Some(Action::Reserve(link, _)) = actions.first() else {
            panic!("a slot is asked for: {actions:?}");
        };
        let listener = ListenerId::next();
        relays.listening(*link, Some(listener), at(0));
        relays.reserved(&peer(), at(5));
        // Renewing it does not make it younger.
        relays.reserved(&peer(), at(6));
        relays.listener_closed(listener, at(5 + stood));
        let actions = relays.tick(at(5 + stood), 0);
        let asked = actions
            .iter()
            .any(|action| matches!(action, Action::Reserve(..)));
        assert_eq!(asked, at_once, "after {stood} ms: {actions:?}");
    }
}

#[test]
fn waking_ends_every_wait() {
    let mut relays = given(&[SOCKET]);
    for number in 0..6 {
        let now = at(100_000 * u64::try_from(number).expect("small"));
        dials(&mut relays, now, number);
        relays.dial_failed(call(number), now);
    }
    assert!(relays.tick(at(500_001), 0).is_empty());
    relays.woke(at(500_002));
    dials(&mut relays, at(500_002), 9);
}
