//! Private rooms: members and peers without the key agree on the chain, and only members read, record and mine.

use std::collections::BTreeSet;

use heartchain_chain::{
    binding::Binding,
    bpm::Bpm,
    content::{Content, Measurement, SealedContent},
    hash::IdPrefix,
    key::Author,
    reading::Reading,
    room::{Room, RoomParams},
    room_key::RoomKey,
    time::UnixMillis,
};
use heartchain_sync::{
    Config, Event, Input,
    config::{
        BINDING_INTERVAL, CONFIRMED_AFTER, FOREIGN_PATIENCE, MAX_STRANGERS, MEMPOOL_SYNC_INTERVAL,
        STRANGER_PATIENCE,
    },
    io::{DisconnectReason, ImportPiece, RecordError, Topic, Verdict},
    message::StatusMessage,
};
use heartchain_test_support::{Branch, Driver as _, START, key, room};

use crate::subject::{Peer, Subject, is_listing};

const MINES: Config = Config { mining: true };
const ID_OF: fn(&Peer) -> Vec<u8> = |peer| peer.to_le_bytes().to_vec();

/// The private room of these tests, with its key.
fn members_room() -> Room {
    let key = RoomKey::new([0x77; 32]);
    let params = RoomParams::new(&key, 8, 1_000).expect("within bounds");
    Room::new(params).unlock(key).expect("its own key")
}

/// The same room for a peer that does not have the key.
fn outsiders_room() -> Room {
    Room::new(members_room().params().clone())
}

fn measurement(bpm: u16) -> Measurement {
    let bpm = Bpm::new(bpm).expect("a heart rate");
    let time = UnixMillis::new(START);
    Measurement { time, bpm }
}

fn sealed(author: u64, seq: u64) -> Reading {
    let signed = members_room().sign(&key(author), seq, measurement(72));
    signed.expect("the key is known")
}

/// A reading that is valid, and that no member can read.
fn unreadable(author: u64, seq: u64) -> Reading {
    let junk = Content::Sealed(SealedContent::new([7; 26]));
    key(author).sign_content(members_room().id(), seq, junk)
}

fn branch_of(author: u64, blocks: u64) -> Branch {
    let mut branch = Branch::in_room(&members_room());
    for seq in 0..blocks {
        branch.push(vec![sealed(author, seq)]);
    }
    branch
}

fn is_pending(subject: &Subject, reading: &Reading) -> bool {
    subject.machine.pending().any(|other| other == reading)
}

#[test]
fn member_mines_what_it_recorded() {
    let mut member = Subject::in_room(&members_room(), MINES, 1);
    member.record(91);
    assert!(member.find_nonce());
    let block = &member.state.disk.blocks[&member.tip()];
    let opened = members_room().open(&block.readings[0]).expect("readable");
    assert_eq!(opened.bpm.get(), 91);
    let own = member.machine.own_readings(1)[0];
    assert_eq!((own.bpm.get(), own.index), (91, Some(1)));
}

#[test]
fn outsider_follows_the_chain_of_members() {
    let branch = branch_of(1, 20);
    for room in [members_room(), outsiders_room()] {
        let mut subject = Subject::in_room(&room, MINES, 2);
        subject.connect(1);
        subject.serve(1, &branch);
        assert_eq!(subject.tip(), branch.tip());
        let restarted = subject.reopen(0);
        assert_eq!(restarted.tip(), branch.tip());
    }
}

#[test]
fn outsider_neither_records_nor_mines() {
    let mut outsider = Subject::in_room(&outsiders_room(), MINES, 1);
    let ticket = outsider.record(72);
    let reason = RecordError::NoKey;
    let refused = Event::RecordFailed { ticket, reason };
    assert!(outsider.events.contains(&refused), "{:?}", outsider.events);
    assert!(outsider.state.disk.journal.is_empty());
    let id = outsider.gossip_reading(2, &sealed(2, 0));
    assert_eq!(outsider.verdict(id), Some(Verdict::Accept), "it forwards");
    outsider.advance(600_000);
    assert!(outsider.state.job.is_none() && is_pending(&outsider, &sealed(2, 0)));
    let mut member = Subject::in_room(&members_room(), MINES, 1);
    member.gossip_reading(2, &sealed(2, 0));
    member.advance(600_000);
    assert!(member.state.job.is_some(), "a member mines it");
}

#[test]
fn unreadable_reading_is_ignored_and_no_one_is_blamed() {
    let junk = unreadable(2, 0);
    let mut outsider = Subject::in_room(&outsiders_room(), MINES, 1);
    let id = outsider.gossip_reading(2, &junk);
    assert_eq!(
        outsider.verdict(id),
        Some(Verdict::Accept),
        "it cannot tell"
    );

    let mut member = Subject::in_room(&members_room(), MINES, 1);
    let id = member.gossip_reading(2, &junk);
    assert_eq!(member.verdict(id), Some(Verdict::Ignore));
    let piece = ImportPiece {
        readings: vec![junk, sealed(3, 0)],
        is_last: true,
        ..ImportPiece::default()
    };
    member.import(piece);
    member.advance(600_000);
    assert!(!is_pending(&member, &junk) && is_pending(&member, &sealed(3, 0)));
    assert_eq!(member.disconnections, []);
    // Its signature is not verified, so that a flood of such readings costs little.
    let mut forged = junk;
    forged.signature = sealed(2, 0).signature;
    let id = member.gossip_reading(2, &forged);
    assert_eq!(member.verdict(id), Some(Verdict::Ignore));
    assert_eq!(member.disconnections, []);
    let mut forged = sealed(2, 0);
    forged.signature = junk.signature;
    let id = member.gossip_reading(2, &forged);
    assert_eq!(member.verdict(id), Some(Verdict::Reject));
    assert!(matches!(
        member.ban_reason(2),
        Some(DisconnectReason::BadReading(_))
    ));
}

#[test]
fn only_proved_members_are_asked_for_their_mempool() {
    let branch = Branch::in_room(&members_room());
    let mut member = Subject::in_room(&members_room(), MINES, 1);
    member.machine.identify(100, ID_OF);
    for peer in [2, 3] {
        member.connect(peer);
        let binding = (peer == 3).then(|| members_room().bind(&key(3), &ID_OF(&3)));
        member.receive_status(peer, status_with(&branch, binding.flatten()));
    }
    let mut asked = BTreeSet::new();
    for _ in 0..10 * MEMPOOL_SYNC_INTERVAL / 1_000 {
        for peer in [2, 3] {
            let listing = member.open_request(peer, is_listing);
            asked.extend(listing.map(|_| peer));
            member.serve(peer, &branch);
        }
        member.advance(1_000);
    }
    assert_eq!(asked, BTreeSet::from([3]));
}

#[test]
fn block_with_an_unreadable_reading_is_valid() {
    let mut branch = Branch::in_room(&members_room());
    let block = branch.push(vec![unreadable(2, 0), sealed(3, 0)]);
    for room in [members_room(), outsiders_room()] {
        let mut subject = Subject::in_room(&room, MINES, 1);
        let id = subject.gossip_block(7, &block);
        assert_eq!(subject.verdict(id), Some(Verdict::Accept));
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn unreadable_reading_returns_only_if_confirmed() {
    for confirmed in [false, true] {
        let mut branch = branch_of(1, 2);
        branch.push(vec![unreadable(2, 0), sealed(3, 0)]);
        for seq in 2..12 {
            branch.push(vec![sealed(1, seq)]);
        }
        let mut member = Subject::in_room(&members_room(), MINES, 50);
        member.connect(1);
        member.serve(1, &branch);
        if confirmed {
            member.advance(CONFIRMED_AFTER);
            member.serve(1, &branch);
            member.advance(20_000);
            member.serve(1, &branch);
        }
        let rival = branch_of(9, 40);
        member.disconnect(1);
        member.connect(2);
        for _ in 0..10 {
            member.serve(2, &rival);
            member.advance(1_000);
        }
        assert_eq!(member.tip(), rival.tip());
        assert!(is_pending(&member, &sealed(3, 0)), "confirmed: {confirmed}");
        assert_eq!(is_pending(&member, &unreadable(2, 0)), confirmed);
    }
}

#[test]
fn journal_keeps_the_prefix_of_sealed_readings() {
    let mut open = Subject::in_room(&room(), MINES, 1);
    open.record(72);
    assert_eq!(open.state.disk.journal[&0].prefix, None);

    let mut member = Subject::in_room(&members_room(), MINES, 1);
    member.record(72);
    member.record(73);
    let published = member.published.iter();
    let published = published.filter(|(topic, _)| *topic == Topic::Readings);
    let ids = published.map(|(_, data)| {
        let reading = Reading::decode(members_room().form(), data).expect("a reading");
        Some(IdPrefix::from(&reading.id(members_room().id())))
    });
    let kept = member.state.disk.journal.values().map(|entry| entry.prefix);
    assert!(ids.eq(kept));

    // After a restart, the readings on the chain are taken for its own.
    member.find_nonce();
    let mut again = member.reopen(0);
    again.connect(1);
    again.advance(2 * FOREIGN_PATIENCE);
    assert_eq!(again.machine.author(), key(1).author());
    assert_eq!(again.machine.own_readings(9).len(), 2);
    // Also if the prefixes are lost with the database, and come from its second copy.
    for entry in member.state.disk.journal.values_mut() {
        entry.prefix = None;
    }
    let mut restored = member.reopen(0);
    restored.advance(2 * FOREIGN_PATIENCE);
    assert_eq!(restored.machine.author(), key(1).author());
}

fn status_with(branch: &Branch, binding: Option<Binding>) -> StatusMessage {
    StatusMessage {
        binding,
        ..branch.status()
    }
}

fn author_of(subject: &Subject, peer: Peer) -> Option<Author> {
    let mut peers = subject.machine.peers();
    peers
        .find(|view| view.peer == peer)
        .and_then(|view| view.author)
}

#[test]
fn status_proves_the_author_of_a_peer() {
    for room in [room(), members_room()] {
        let branch = Branch::in_room(&room);
        let mut subject = Subject::in_room(&room, MINES, 1);
        subject.machine.identify(100, ID_OF);
        subject.connect(2);
        let binding = room.bind(&key(2), &ID_OF(&2));
        subject.receive_status(2, status_with(&branch, binding));
        assert_eq!(author_of(&subject, 2), Some(key(2).author()));
        // Its own Status proves to others that it acts for its author.
        let (_, request) = subject
            .open_request(2, crate::subject::is_status)
            .expect("asked");
        let heartchain_sync::message::Request::Status(own) = request else {
            panic!("a request for a Status contains one");
        };
        let own = own.binding.expect("it has an ID");
        assert_eq!(room.bound_author(&own, &ID_OF(&100)), Some(key(1).author()));

        // Another peer's binding proves nothing.
        subject.connect(3);
        subject.receive_status(3, status_with(&branch, binding));
        assert_eq!(author_of(&subject, 3), None);
        assert_eq!(subject.disconnections, []);
    }
}

#[test]
fn outsider_shows_no_author_and_sees_none() {
    let room = outsiders_room();
    let branch = Branch::in_room(&room);
    let mut outsider = Subject::in_room(&room, MINES, 1);
    outsider.machine.identify(100, ID_OF);
    outsider.connect(2);
    let binding = members_room().bind(&key(2), &ID_OF(&2));
    outsider.receive_status(2, status_with(&branch, binding));
    assert_eq!(author_of(&outsider, 2), None);
    let request = outsider.open_request(2, crate::subject::is_status);
    let Some((_, heartchain_sync::message::Request::Status(own))) = request else {
        panic!("it asks for a Status");
    };
    assert_eq!(own.binding, None);
}

#[test]
fn bindings_of_a_peer_are_checked_once_in_a_while() {
    let branch = Branch::in_room(&members_room());
    let mut member = Subject::in_room(&members_room(), MINES, 1);
    member.machine.identify(100, ID_OF);
    member.connect(2);
    let binding = |author| members_room().bind(&key(author), &ID_OF(&2));
    member.receive_status(2, status_with(&branch, binding(2)));
    member.advance(BINDING_INTERVAL - 1);
    member.receive_status(2, status_with(&branch, binding(3)));
    assert_eq!(author_of(&member, 2), Some(key(2).author()));
    member.advance(1);
    member.receive_status(2, status_with(&branch, binding(3)));
    assert_eq!(author_of(&member, 2), Some(key(3).author()));
}

#[test]
fn most_connections_are_left_to_members() {
    let branch = Branch::in_room(&members_room());
    for (room, members, dropped) in [
        (members_room(), 2, 3),
        (outsiders_room(), 2, 0),
        (room(), 0, 0),
    ] {
        let mut subject = Subject::in_room(&room, Config { mining: false }, 1);
        subject.machine.identify(100, ID_OF);
        for peer in 0..(MAX_STRANGERS as u64) + 3 + members {
            subject.connect(peer);
            if peer < members {
                let binding = members_room().bind(&key(peer), &ID_OF(&peer));
                subject.receive_status(peer, status_with(&branch, binding));
            }
            subject.feed(Input::Tick);
            subject.now += 1;
        }
        subject.advance(STRANGER_PATIENCE - 100);
        assert_eq!(subject.disconnections, []);
        subject.advance(200);
        let strangers = subject.disconnections.iter();
        let strangers = strangers
            .filter(|(_, why, banned)| matches!(why, DisconnectReason::Stranger) && !banned);
        assert_eq!(strangers.count(), dropped, "{:?}", subject.disconnections);
        let latest = subject
            .disconnections
            .iter()
            .all(|(peer, ..)| *peer >= members + MAX_STRANGERS as u64);
        assert!(latest, "{:?}", subject.disconnections);
    }
}
