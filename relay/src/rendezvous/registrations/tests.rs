use super::*;
use crate::table_memory::max_capacity;

const MINUTE: Duration = Duration::from_secs(60);
const ROOM: &str = "room";
const FREE: Result<Added, Full> = Ok(Added::Free);
const FULL: Result<Added, Full> = Err(Full(Limit::Total));

fn new_in(namespace: &str, peer: PeerId) -> NewRegistration {
    NewRegistration {
        peer,
        network: None,
        namespace: namespace.to_owned(),
        record: peer.to_bytes(),
        ttl: MINUTE,
    }
}

fn table(change: impl FnOnce(&mut Limits)) -> Registrations {
    let mut limits = Limits::default();
    change(&mut limits);
    Registrations::new(&limits)
}

/// The peers on a page, and its cookie.
fn peers_and_cookie(page: Page) -> (Vec<PeerId>, Vec<u8>) {
    let peers = page.registrations.into_iter().map(|register| {
        let record = register.signed_peer_record.expect("a record");
        PeerId::from_bytes(&record).expect("a peer")
    });
    (peers.collect(), page.cookie)
}

/// All peers registered in the room.
fn all_peers(table: &mut Registrations, now: Instant) -> Vec<PeerId> {
    peers_and_cookie(table.page(ROOM, None, None, now).expect("no cookie")).0
}

#[test]
fn pages_list_one_room_with_the_remaining_ttl() {
    let mut table = table(|_| ());
    let (here, elsewhere) = (PeerId::random(), PeerId::random());
    let start = Instant::now();
    assert_eq!(table.add(new_in(ROOM, here), start), FREE);
    assert_eq!(table.add(new_in("elsewhere", elsewhere), start), FREE);
    let later = start + MINUTE / 3;
    let page = table.page(ROOM, None, None, later).expect("no cookie");
    assert_eq!(
        page.registrations,
        [Register {
            namespace: Some(ROOM.to_owned()),
            signed_peer_record: Some(here.to_bytes()),
            ttl: Some(40),
        }]
    );
    let last_moment = start + MINUTE - Duration::from_millis(1);
    let page = table
        .page(ROOM, None, None, last_moment)
        .expect("no cookie");
    assert_eq!(
        page.registrations.first().map(|last| last.ttl),
        Some(Some(1))
    );
    assert_eq!(all_peers(&mut table, start + MINUTE), []);
    assert!(table.entries.is_empty());
    assert!(table.rooms.is_empty() && table.peers.is_empty());
    assert!(table.expiries.is_empty() && table.shares.len() == 0);
}

#[test]
fn memory_follows_the_registrations() {
    let mut table = table(|limits| limits.registrations = 5_000);
    let peers = Vec::from_iter((0..5_000).map(|_| PeerId::random()));
    let now = Instant::now();
    for (room, peer) in peers.iter().enumerate() {
        assert_eq!(table.add(new_in(&room.to_string(), *peer), now), FREE);
    }
    assert!(table.rooms.capacity() >= 5_000 && table.peers.capacity() >= 5_000);
    for peer in &peers {
        table.remove_peer(peer);
    }
    let most = max_capacity(0);
    assert!(table.rooms.capacity() <= most && table.peers.capacity() <= most);
}

#[test]
fn cookie_leads_to_new_and_renewed_registrations() {
    let mut table = table(|_| ());
    let (first, second, third) = (PeerId::random(), PeerId::random(), PeerId::random());
    let now = Instant::now();
    for peer in [first, second] {
        assert_eq!(table.add(new_in(ROOM, peer), now), FREE);
    }
    let (peers, cookie) = peers_and_cookie(table.page(ROOM, None, None, now).expect("no cookie"));
    assert_eq!(peers, [first, second]);
    let (peers, cookie) =
        peers_and_cookie(table.page(ROOM, Some(&cookie), None, now).expect("ours"));
    assert_eq!(peers, []);
    for peer in [third, first] {
        assert_eq!(table.add(new_in(ROOM, peer), now), FREE);
    }
    let (peers, _) = peers_and_cookie(table.page(ROOM, Some(&cookie), None, now).expect("ours"));
    assert_eq!(peers, [third, first]);
    assert_eq!(all_peers(&mut table, now), [second, third, first]);
}

#[test]
fn next_page_starts_where_the_last_one_ended() {
    let mut table = table(|_| ());
    let now = Instant::now();
    let crowd: Vec<_> = (0..10).map(|_| PeerId::random()).collect();
    for peer in &crowd {
        assert_eq!(table.add(new_in(ROOM, *peer), now), FREE);
        let stranger = new_in("elsewhere", PeerId::random());
        assert_eq!(table.add(stranger, now), FREE);
    }
    let (mut listed, mut cookie) = (Vec::new(), None);
    for page_len in [4, 4, 2, 0] {
        let page = table.page(ROOM, cookie.as_deref(), Some(4), now);
        let (peers, next) = peers_and_cookie(page.expect("ours"));
        assert_eq!(peers.len(), page_len);
        listed.extend(peers);
        cookie = Some(next);
    }
    assert_eq!(listed, crowd);
}

#[test]
fn limit_of_zero_means_no_limit() {
    let mut table = table(|_| ());
    let (peer, now) = (PeerId::random(), Instant::now());
    assert_eq!(table.add(new_in(ROOM, peer), now), FREE);
    let page = table.page(ROOM, None, Some(0), now).expect("no cookie");
    assert_eq!(peers_and_cookie(page).0, [peer]);
}

#[test]
fn page_size_is_limited_in_bytes() {
    let limits = Limits {
        registrations: 1_024,
        ..Limits::default()
    };
    let mut table = table(|changed| changed.registrations = limits.registrations);
    let now = Instant::now();
    for _ in 0..limits.registrations {
        let mut registration = new_in(ROOM, PeerId::random());
        registration.record = vec![0; limits.registration_bytes];
        assert_eq!(table.add(registration, now), FREE);
    }
    let (mut found, mut cookie, mut pages) = (0, None, 0);
    while found < limits.registrations {
        let page = table
            .page(ROOM, cookie.as_deref(), None, now)
            .expect("ours");
        let len: usize = page.registrations.iter().map(Register::encoded_len).sum();
        assert!((1..=limits.discovery_bytes).contains(&len), "{len} bytes");
        found += page.registrations.len();
        cookie = Some(page.cookie);
        pages += 1;
    }
    assert_eq!((found, pages), (limits.registrations, 11));
}

#[test]
fn full_table_allows_only_renewals() {
    let mut table = table(|limits| limits.registrations = 2);
    let (first, second, third) = (PeerId::random(), PeerId::random(), PeerId::random());
    let now = Instant::now();
    for (peer, outcome) in [(first, FREE), (second, FREE), (third, FULL), (first, FREE)] {
        assert_eq!(table.add(new_in(ROOM, peer), now), outcome);
    }
    assert_eq!(all_peers(&mut table, now), [second, first]);
    // Expired registrations free their slots.
    assert_eq!(table.add(new_in(ROOM, third), now + MINUTE), FREE);
}

#[test]
fn registrations_are_limited_per_peer() {
    let mut table = table(|limits| limits.registrations_per_peer = 2);
    let peer = PeerId::random();
    let now = Instant::now();
    for (room, outcome) in [
        (ROOM, FREE),
        ("second", FREE),
        ("third", Err(Full(Limit::Peer))),
        (ROOM, FREE),
    ] {
        assert_eq!(table.add(new_in(room, peer), now), outcome, "{room}");
    }
    table.remove(&peer, "second");
    assert_eq!(table.add(new_in("third", peer), now), FREE);
}

#[test]
fn full_table_removes_from_the_largest_network() {
    let mut table = table(|limits| {
        limits.registrations = 3;
        limits.registrations_per_network = 2;
    });
    let now = Instant::now();
    let network = |last| Some(std::net::IpAddr::from([192, 0, 2, last]));
    let mut add = |last| {
        let mut new = new_in(ROOM, PeerId::random());
        new.network = network(last);
        let peer = new.peer;
        (peer, table.add(new, now))
    };
    let (oldest, _) = add(1);
    let (_, outcome) = add(1);
    assert_eq!(outcome, FREE);
    assert_eq!(add(1).1, Err(Full(Limit::Network)));
    let (second, _) = add(2);
    let (third, outcome) = add(3);
    assert_eq!(outcome, Ok(Added::Evicted));
    assert_eq!(add(4).1, FULL);
    assert_eq!(all_peers(&mut table, now), [oldest, second, third]);
}

#[test]
fn removed_peers_are_not_listed() {
    let mut table = table(|_| ());
    let (leaving, staying) = (PeerId::random(), PeerId::random());
    let now = Instant::now();
    for peer in [leaving, staying] {
        for room in [ROOM, "second"] {
            assert_eq!(table.add(new_in(room, peer), now), FREE);
        }
    }
    table.remove(&leaving, ROOM);
    assert_eq!(all_peers(&mut table, now), [staying]);
    table.remove_peer(&leaving);
    assert_eq!(table.entries.len(), 2);
}

#[test]
fn foreign_cookies_are_ignored_or_rejected() {
    let mut table = table(|_| ());
    let peer = PeerId::random();
    let now = Instant::now();
    assert_eq!(table.add(new_in(ROOM, peer), now), FREE);
    let before = table.first_number.wrapping_sub(1).to_be_bytes();
    let after = table.next_number.wrapping_add(1).to_be_bytes();
    for number in [before, after] {
        let cookie = [&number, ROOM.as_bytes()].concat();
        let page = table.page(ROOM, Some(&cookie), None, now).expect("lenient");
        assert_eq!(peers_and_cookie(page).0, [peer]);
    }
    let page = table.page(ROOM, Some(&[1, 2, 3]), None, now);
    assert_eq!(peers_and_cookie(page.expect("lenient")).0, [peer]);
    let foreign = [&table.first_number.to_be_bytes(), "elsewhere".as_bytes()].concat();
    assert_eq!(
        table.page(ROOM, Some(&foreign), None, now),
        Err(ForeignCookie)
    );
}
