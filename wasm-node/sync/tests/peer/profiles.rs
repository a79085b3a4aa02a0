//! Names of authors: who may set one, which are kept, forwarded and stored, and what they cost.

use heartchain_chain::{
    key::{Author, SecretKey, Signature},
    profile::{Profile, ProfileContent, ProfileName, SealedName},
    reading::Reading,
    room::{Room, RoomParams},
    room_key::RoomKey,
    time::{MAX_READING_TIME, UnixMillis},
};
use heartchain_sync::{
    Config, Event, Input,
    config::{
        ALL_PROFILES_FORWARD_BURST, ALL_PROFILES_FORWARD_RATE, FOREIGN_PATIENCE, MAX_CLOCK_OFFSET,
        MAX_IGNORED_AUTHORS, MAX_IMPORT_PROFILES, MAX_PENDING_NAMES, MAX_PROFILES,
        MAX_REVISION_AHEAD, MAX_UNWRITTEN_PROFILES, MIN_PROFILE_SYNC_INTERVAL,
        NAMES_EVENT_INTERVAL, PROFILE_FORWARD_BURST, PROFILE_FORWARD_INTERVAL,
        PROFILE_SYNC_INTERVAL, PROFILE_SYNC_PEERS, WRITE_RETRY,
    },
    io::{DisconnectReason, GossipId, ImportError, ImportPiece, NameError, Topic, Verdict},
    message::{MAX_LISTED_PROFILES, Request, Response, StatusMessage},
};
use heartchain_test_support::{Branch, Driver as _, START, key, reading, room};

use crate::{
    fixtures::YEAR,
    hostile::serve_with_clock,
    subject::{Peer, Subject, is_bodies, is_profiles, is_status},
};

const MINES: Config = Config { mining: true };
const ID_OF: fn(&Peer) -> Vec<u8> = |peer| peer.to_le_bytes().to_vec();

fn private_room() -> Room {
    let key = RoomKey::new([0x33; 32]);
    let params = RoomParams::new(&key, 8, 1_000).expect("within bounds");
    Room::new(params).unlock(key).expect("its own key")
}

fn without_key() -> Room {
    Room::new(private_room().params().clone())
}

fn name(text: &str) -> ProfileName {
    ProfileName::new(text).expect("a name")
}

fn signed(room: &Room, key: &SecretKey, revision: u64, text: &str) -> Profile {
    let profile = room.sign_profile(key, UnixMillis::new(revision), &name(text));
    profile.expect("the key is known")
}

/// The profile of an author of the open room.
fn profile(author: u64, revision: u64, text: &str) -> Profile {
    signed(&room(), &key(author), revision, text)
}

/// A branch with a reading of each of these authors.
fn branch_of(room: &Room, authors: impl IntoIterator<Item = u64>) -> Branch {
    let mut branch = Branch::in_room(room);
    let authors: Vec<u64> = authors.into_iter().collect();
    for authors in authors.chunks(512) {
        let readings = authors.iter().map(|author| first_reading(room, *author));
        branch.push(readings.collect());
    }
    branch
}

fn first_reading(room: &Room, author: u64) -> Reading {
    let bpm = heartchain_chain::bpm::Bpm::MIN;
    let time = UnixMillis::new(START);
    let measured = heartchain_chain::content::Measurement { time, bpm };
    room.sign(&key(author), 0, measured)
        .expect("the key is known")
}

/// A machine that has a reading of each of these authors on its best branch, and is connected to peer 1.
fn subject_with(room: &Room, authors: impl IntoIterator<Item = u64>) -> Subject {
    subject_of(room, room, authors)
}

/// The same for a machine that may not have the key of the room.
fn subject_of(own: &Room, room: &Room, authors: impl IntoIterator<Item = u64>) -> Subject {
    let branch = branch_of(room, authors);
    let mut subject = Subject::in_room(own, Config { mining: false }, 50);
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    subject
}

/// Answers all requests to a peer but those for profiles, which wait for the others.
fn answer_others(subject: &mut Subject, peer: Peer) {
    let branch = Branch::in_room(subject.machine.room());
    subject.serve_requests_of(peer, &branch, |request| !is_profiles(request));
}

/// Advances the time until profiles are compared with peer 1.
fn compare(subject: &mut Subject) {
    subject.advance(PROFILE_SYNC_INTERVAL);
    answer_others(subject, 1);
}

fn gossip(subject: &mut Subject, from: Peer, profile: &Profile) -> Option<Verdict> {
    let id: GossipId = subject.gossip(from, Topic::Profiles, profile.encode());
    subject.verdict(id)
}

fn names(subject: &Subject) -> Vec<(Author, String)> {
    let names = subject.machine.names();
    names
        .map(|view| (view.author, view.name.to_owned()))
        .collect()
}

fn named(author: u64, text: &str) -> (Author, String) {
    (key(author).author(), text.to_owned())
}

fn count(subject: &Subject, wanted: &Event) -> usize {
    subject
        .events
        .iter()
        .filter(|event| *event == wanted)
        .count()
}

fn published(subject: &Subject) -> Vec<Profile> {
    let form = subject.machine.room().form();
    let published = subject.published.iter();
    let profiles = published.filter(|(topic, _)| *topic == Topic::Profiles);
    let decode = |data: &Vec<u8>| Profile::decode(form, data).expect("a profile");
    profiles.map(|(_, data)| decode(data)).collect()
}

#[test]
fn own_name_is_stored_then_published() {
    for room in [room(), private_room()] {
        let mut subject = Subject::in_room(&room, MINES, 50);
        subject.state.disk.held_writes = Some(Vec::new());
        let ticket = subject.set_name(name("Ada"));
        assert!(published(&subject).is_empty() && names(&subject).is_empty());
        subject.finish_held_writes();
        assert_eq!(count(&subject, &Event::NameSet { ticket }), 1);
        assert_eq!(count(&subject, &Event::Names), 1);
        assert_eq!(names(&subject), [named(50, "Ada")]);
        let own = published(&subject).pop().expect("published");
        assert_eq!(own.verify(room.id()), Ok(()));
        assert_eq!(own.revision, UnixMillis::new(START));
        assert_eq!(subject.reopen(0).machine.profiles().count(), 1);

        subject.set_name(name(""));
        assert_eq!(names(&subject), []);
        let erased = published(&subject).pop().expect("published");
        assert_eq!(
            erased.revision,
            UnixMillis::new(START + 1),
            "later than before"
        );
        // The erased name stays, so that the older one cannot return.
        let mut again = subject.reopen(0);
        assert_eq!(again.machine.profiles().count(), 1);
        assert_eq!(gossip(&mut again, 1, &own), Some(Verdict::Ignore));
        assert_eq!(names(&again), []);
    }
}

#[test]
fn revision_follows_a_clock_that_was_set_back() {
    let mut subject = Subject::miner(50);
    subject.clock_offset = 500_000;
    subject.set_name(name("Ada"));
    subject.clock_offset = 0;
    subject.set_name(name("Bea"));
    let revisions = published(&subject);
    let revisions: Vec<u64> = revisions.iter().map(|own| own.revision.get()).collect();
    assert_eq!(revisions, [START + 500_000, START + 500_001]);
    // A clock that is far beyond all times gets a sentence.
    subject.clock_offset = i64::try_from(MAX_READING_TIME.get()).expect("small");
    let ticket = subject.set_name(name("Cleo"));
    let reason = NameError::Clock;
    assert_eq!(count(&subject, &Event::NameFailed { ticket, reason }), 1);
    assert_eq!(names(&subject), [named(50, "Bea")]);
}

#[test]
fn name_that_the_disk_refuses_is_not_set() {
    let mut subject = Subject::miner(50);
    subject.state.disk.held_writes = Some(Vec::new());
    let ticket = subject.set_name(name("Ada"));
    subject.fail_held_writes(true);
    let reason = NameError::NotStored;
    assert_eq!(count(&subject, &Event::NameFailed { ticket, reason }), 1);
    assert!(names(&subject).is_empty() && published(&subject).is_empty());
    subject.set_name(name("Ada"));
    assert_eq!(names(&subject), [named(50, "Ada")]);
}

#[test]
fn names_that_wait_for_the_disk_are_bounded() {
    let mut subject = Subject::miner(50);
    subject.state.disk.held_writes = Some(Vec::new());
    // One is being written, and the others wait.
    for number in 0..=MAX_PENDING_NAMES {
        subject.set_name(name(&number.to_string()));
    }
    let ticket = subject.set_name(name("one more"));
    let limit = MAX_PENDING_NAMES;
    let reason = NameError::TooMany { limit };
    assert_eq!(count(&subject, &Event::NameFailed { ticket, reason }), 1);
    subject.finish_held_writes();
    assert_eq!(names(&subject), [named(50, &limit.to_string())]);
    assert_eq!(published(&subject).len(), 1 + MAX_PENDING_NAMES);
}

#[test]
fn peer_without_the_key_has_no_name() {
    let mut outsider = Subject::in_room(&without_key(), MINES, 50);
    let ticket = outsider.set_name(name("Ada"));
    let reason = NameError::NoKey;
    assert_eq!(count(&outsider, &Event::NameFailed { ticket, reason }), 1);
    assert!(outsider.state.disk.profiles.is_empty());
}

#[test]
fn latest_name_is_kept_and_forwarded() {
    for room in [room(), private_room()] {
        let mut subject = subject_with(&room, [2]);
        let profile = |revision, text| signed(&room, &key(2), revision, text);
        let told = count(&subject, &Event::Names);
        assert_eq!(
            gossip(&mut subject, 1, &profile(START, "Bob")),
            Some(Verdict::Accept)
        );
        assert_eq!(names(&subject), [named(2, "Bob")]);
        assert_eq!(count(&subject, &Event::Names), told + 1);
        for (revision, text) in [(START, "Bob"), (START - 1, "Old")] {
            assert_eq!(
                gossip(&mut subject, 1, &profile(revision, text)),
                Some(Verdict::Ignore)
            );
        }
        // More revisions within a minute are neither verified nor kept.
        let revised = ["Rob 1", "Rob 2", "Rob 3", "Rob 4"];
        for (revision, text) in (1..=PROFILE_FORWARD_BURST).zip(revised) {
            let (expected, shown) = if revision < PROFILE_FORWARD_BURST {
                (Verdict::Accept, text)
            } else {
                (Verdict::Ignore, "Rob 3")
            };
            assert_eq!(
                gossip(&mut subject, 1, &profile(START + revision, text)),
                Some(expected)
            );
            assert_eq!(names(&subject), [named(2, shown)]);
        }
        let mut forged = profile(START + 8, "Eve");
        forged.signature = Signature::new([7; 64]);
        assert_eq!(gossip(&mut subject, 1, &forged), Some(Verdict::Ignore));
        // The next comparison brings the latest.
        compare(&mut subject);
        let latest = profile(START + PROFILE_FORWARD_BURST, "Rob 4");
        subject.answer(1, is_profiles, &Response::Profiles(vec![latest]));
        assert_eq!(names(&subject), [named(2, "Rob 4")]);
        let erased = profile(START + 9, "");
        assert_eq!(gossip(&mut subject, 1, &erased), Some(Verdict::Accept));
        assert_eq!(names(&subject), []);
        subject.advance(10_000);
        assert_eq!(count(&subject, &Event::Names), told + 4);
        let stored: Vec<_> = subject.state.disk.profiles.values().cloned().collect();
        assert_eq!(stored, [erased]);
        assert_eq!(subject.disconnections, []);
    }
}

#[test]
fn name_of_an_unknown_author_is_ignored() {
    let mut subject = subject_with(&room(), [2]);
    let stranger = profile(3, START, "Eve");
    assert_eq!(gossip(&mut subject, 1, &stranger), Some(Verdict::Ignore));
    // Its signature is not worth checking, so no one is blamed.
    let mut forged = stranger.clone();
    forged.signature = Signature::new([7; 64]);
    assert_eq!(gossip(&mut subject, 1, &forged), Some(Verdict::Ignore));
    assert_eq!((names(&subject), subject.disconnections.len()), (vec![], 0));

    // A peer that proves to act for the author is asked for its names.
    subject.machine.identify(100, ID_OF);
    subject.connect(3);
    let status = StatusMessage {
        binding: room().bind(&key(3), &ID_OF(&3)),
        ..branch_of(&room(), [2]).status()
    };
    subject.receive_status(3, status);
    answer_others(&mut subject, 3);
    subject.answer(3, is_profiles, &Response::Profiles(vec![stranger.clone()]));
    assert_eq!(names(&subject), [named(3, "Eve")]);
    assert_eq!(
        gossip(&mut subject, 1, &stranger),
        Some(Verdict::Ignore),
        "known"
    );
}

#[test]
fn revision_ahead_of_the_clock_is_ignored() {
    let mut subject = subject_with(&room(), [2]);
    let early = profile(2, subject.now + MAX_REVISION_AHEAD + 1, "Bob");
    assert_eq!(gossip(&mut subject, 1, &early), Some(Verdict::Ignore));
    assert_eq!(names(&subject), []);
    subject.now += 1;
    assert_eq!(gossip(&mut subject, 1, &early), Some(Verdict::Accept));
    assert_eq!(subject.disconnections, []);
}

#[test]
fn forged_profile_is_blamed() {
    for room in [room(), private_room()] {
        let honest = signed(&room, &key(2), START, "Bob");
        let forgeries = [
            Profile {
                signature: signed(&room, &key(3), START, "Bob").signature,
                ..honest.clone()
            },
            Profile {
                revision: UnixMillis::new(START + 1),
                ..honest.clone()
            },
            Profile {
                content: signed(&room, &key(2), START, "Rob").content,
                ..honest
            },
        ];
        for forged in forgeries {
            let mut subject = subject_with(&room, [2]);
            assert_eq!(gossip(&mut subject, 1, &forged), Some(Verdict::Reject));
            let reason = subject.ban_reason(1);
            assert!(
                matches!(reason, Some(DisconnectReason::BadProfile(_))),
                "{reason:?}"
            );
            // The same in an answer.
            let mut subject = subject_with(&room, [2]);
            compare(&mut subject);
            subject.answer(1, is_profiles, &Response::Profiles(vec![forged]));
            let reason = subject.ban_reason(1);
            assert!(
                matches!(reason, Some(DisconnectReason::BadProfile(_))),
                "{reason:?}"
            );
            assert_eq!(names(&subject), []);
        }
    }
}

#[test]
fn members_ignore_what_they_cannot_open() {
    let junk = || {
        let content = ProfileContent::Sealed(SealedName::new([9; 56]));
        key(2).sign_profile_content(private_room().id(), UnixMillis::new(START), content)
    };
    let mut member = subject_with(&private_room(), [2]);
    assert_eq!(gossip(&mut member, 1, &junk()), Some(Verdict::Ignore));
    assert_eq!(
        (member.machine.load().profiles, member.disconnections.len()),
        (0, 0)
    );

    let mut outsider = subject_of(&without_key(), &private_room(), [2]);
    assert_eq!(gossip(&mut outsider, 1, &junk()), Some(Verdict::Accept));
    let bob = signed(&private_room(), &key(2), START + 1, "Bob");
    outsider.advance(PROFILE_FORWARD_INTERVAL);
    assert_eq!(gossip(&mut outsider, 1, &bob), Some(Verdict::Accept));
    assert_eq!(names(&outsider), []);
    let asked = outsider.handle_request(1, &Request::Profiles { after: None });
    assert_eq!(asked, Some(Response::Profiles(vec![bob.clone()])));
    assert_eq!(outsider.reopen(0).machine.profiles().next(), Some(&bob));
}

#[test]
fn new_peer_is_asked_and_random_peers_regularly() {
    let mut subject = Subject::miner(50);
    for peer in 1..=10 {
        subject.connect(peer);
        assert_eq!(
            subject.open_request(peer, is_profiles),
            None,
            "its author is unknown"
        );
        subject.serve(peer, &Branch::new());
    }
    let asked = |subject: &Subject| {
        (1..=10)
            .filter(|peer| subject.open_request(*peer, is_profiles).is_some())
            .count()
    };
    assert_eq!(asked(&subject), 0, "all were asked, and have answered");
    for _ in 0..2 {
        subject.now += PROFILE_SYNC_INTERVAL;
        subject.feed(Input::Tick);
        (1..=10).for_each(|peer| answer_others(&mut subject, peer));
        assert_eq!(asked(&subject), PROFILE_SYNC_PEERS);
        (1..=10).for_each(|peer| subject.serve(peer, &Branch::new()));
    }
}

/// Profiles of these authors, in the order of a listing.
fn listing(authors: impl IntoIterator<Item = u64>) -> Vec<Profile> {
    let profiles = authors
        .into_iter()
        .map(|author| profile(author, START, &format!("No {author}")));
    let mut profiles: Vec<Profile> = profiles.collect();
    profiles.sort_by_key(|profile| profile.author);
    profiles
}

/// Answers requests for profiles as a peer that has these.
fn serve_profiles(subject: &mut Subject, peer: Peer, profiles: &[Profile]) -> usize {
    let mut pages = 0;
    while let Some((id, request)) = subject.open_request(peer, is_profiles) {
        let Request::Profiles { after } = request else {
            unreachable!("a request for profiles");
        };
        let rest = profiles
            .iter()
            .filter(|profile| Some(profile.author) > after);
        let page = rest.take(MAX_LISTED_PROFILES).cloned().collect();
        subject.respond_with(peer, id, &Response::Profiles(page));
        pages += 1;
        assert!(pages < 100, "an endless listing");
    }
    pages
}

#[test]
fn profiles_are_exchanged_in_pages_and_bounded() {
    let most = MAX_PROFILES as u64;
    let authors = 1_000..1_000 + most;
    let mut subject = subject_with(&room(), authors.clone().chain([1, 2]));
    let all = listing(authors);
    compare(&mut subject);
    assert_eq!(
        serve_profiles(&mut subject, 1, &all),
        MAX_PROFILES.div_ceil(MAX_LISTED_PROFILES) + 1
    );
    assert_eq!(subject.machine.load().profiles, MAX_PROFILES);
    subject.advance(NAMES_EVENT_INTERVAL);
    assert_eq!(
        count(&subject, &Event::Names),
        2,
        "at the first page, and at the end"
    );

    // It answers in pages as well.
    let mut after = None;
    let mut answered = Vec::new();
    while let Some(Response::Profiles(page)) =
        subject.handle_request(1, &Request::Profiles { after })
    {
        let Some(last) = page.last() else { break };
        after = Some(last.author);
        answered.extend(page);
    }
    assert_eq!(answered, all);

    // Of authors with as many readings, those with the lowest keys stay: all peers choose the same.
    let (last, new) = (all[MAX_PROFILES - 1].author, listing([1, 2]));
    for profile in &new {
        let is_lower = profile.author < last;
        let expected = if is_lower {
            Verdict::Accept
        } else {
            Verdict::Ignore
        };
        assert_eq!(gossip(&mut subject, 1, profile), Some(expected));
    }
    assert_eq!(subject.machine.load().profiles, MAX_PROFILES);
    // Our own name always has room.
    subject.set_name(name("Ada"));
    assert!(names(&subject).contains(&named(50, "Ada")));
    assert_eq!(subject.machine.load().profiles, MAX_PROFILES);
    subject.advance(10_000);
    assert_eq!(subject.state.disk.profiles.len(), MAX_PROFILES);
    assert!(
        subject
            .state
            .disk
            .profiles
            .values()
            .eq(subject.machine.profiles())
    );
}

#[test]
fn name_of_an_author_with_more_readings_has_room() {
    let most = MAX_PROFILES as u64;
    let mut branch = branch_of(&room(), 1_000..1_000 + most);
    branch.push(vec![reading(1, 0), reading(1, 1)]);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    compare(&mut subject);
    let all = listing(1_000..1_000 + most);
    serve_profiles(&mut subject, 1, &all);
    assert_eq!(
        gossip(&mut subject, 1, &profile(1, START, "Ann")),
        Some(Verdict::Accept)
    );
    let gone = all.last().expect("many").author;
    assert!(
        !subject
            .machine
            .profiles()
            .any(|profile| profile.author == gone)
    );
    assert_eq!(subject.machine.load().profiles, MAX_PROFILES);
}

#[test]
fn bad_listings_are_banned_or_cut_off() {
    let mut subject = subject_with(&room(), []);
    compare(&mut subject);
    let mut page = listing([1, 2]);
    page.reverse();
    subject.answer(1, is_profiles, &Response::Profiles(page));
    assert_eq!(subject.ban_reason(1), Some(&DisconnectReason::WrongAnswer));

    // Authors without readings cost no check of a signature.
    let mut subject = subject_with(&room(), []);
    compare(&mut subject);
    let model = profile(1, START, "x");
    let mut pages = 0_u16;
    while subject.open_request(1, is_profiles).is_some() {
        let author = |row: u16| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&[pages.to_be_bytes(), row.to_be_bytes()].concat());
            Author::new(bytes)
        };
        let rows = u16::try_from(MAX_LISTED_PROFILES).expect("small");
        let page = (0..rows).map(|row| Profile {
            author: author(row),
            ..model.clone()
        });
        subject.answer(1, is_profiles, &Response::Profiles(page.collect()));
        pages += 1;
        assert!(pages < 100, "an endless listing");
    }
    assert_eq!(usize::from(pages), 1 + MAX_PROFILES / MAX_LISTED_PROFILES);
    assert_eq!(
        (
            subject.disconnections.len(),
            subject.machine.load().profiles
        ),
        (0, 0)
    );
}

#[test]
fn flood_of_revisions_is_written_rarely() {
    let mut subject = subject_with(&room(), [2]);
    subject.state.disk.held_writes = Some(Vec::new());
    for revision in 0..1_000 {
        gossip(&mut subject, 1, &profile(2, START + revision, "Bob"));
        subject.advance(10);
    }
    let held = subject.state.disk.held_writes.as_ref().map(Vec::len);
    assert_eq!(held, Some(1), "one write at a time");
    subject.finish_held_writes();
    subject.advance(10_000);
    let stored = |subject: &Subject| subject.state.disk.profiles[&key(2).author()].revision;
    let kept = START + PROFILE_FORWARD_BURST - 1;
    assert_eq!(stored(&subject), UnixMillis::new(kept));
    // 20 s have passed since the start.
    subject.advance(PROFILE_SYNC_INTERVAL - 20_000);
    answer_others(&mut subject, 1);
    let latest = profile(2, START + 999, "Bob");
    subject.answer(1, is_profiles, &Response::Profiles(vec![latest]));
    subject.advance(10_000);
    assert_eq!(stored(&subject), UnixMillis::new(START + 999));
}

#[test]
fn failed_writes_and_a_lost_store_are_written_again() {
    let mut subject = subject_with(&room(), [2]);
    subject.state.disk.held_writes = Some(Vec::new());
    gossip(&mut subject, 1, &profile(2, START, "Bob"));
    subject.fail_held_writes(false);
    subject.advance(WRITE_RETRY);
    assert_eq!(subject.state.disk.profiles.len(), 1);
    subject.set_name(name("Ada"));
    subject.state.disk.clear();
    subject.feed(Input::StoreReset);
    subject.advance(10_000);
    assert!(
        subject
            .state
            .disk
            .profiles
            .values()
            .eq(subject.machine.profiles())
    );
    assert_eq!(subject.state.disk.profiles.len(), 2);
}

#[test]
fn damaged_profiles_are_dropped_at_a_start() {
    let mut subject = subject_with(&room(), [2, 3]);
    gossip(&mut subject, 1, &profile(2, START, "Bob"));
    gossip(&mut subject, 1, &profile(3, START, "Eve"));
    subject.advance(10_000);
    let stored = &mut subject.state.disk.profiles;
    stored.get_mut(&key(2).author()).expect("stored").signature = Signature::new([0; 64]);
    let mut again = subject.reopen(0);
    assert_eq!(names(&again), [named(3, "Eve")]);
    again.advance(10_000);
    assert!(again.state.disk.profiles.keys().eq([&key(3).author()]));
}

#[test]
fn key_that_replaces_ours_takes_our_name_over() {
    for erased in [false, true] {
        let mut branch = Branch::new();
        branch.push(vec![reading(50, 0)]);
        let mut subject = Subject::miner(50);
        subject.set_name(name("Ada"));
        if erased {
            subject.set_name(name(""));
        }
        // The reading was signed elsewhere with the same key.
        subject.connect(1);
        subject.serve(1, &branch);
        subject.advance(2 * FOREIGN_PATIENCE);
        let author = subject.machine.author();
        assert_ne!(author, key(50).author());
        let own = names(&subject)
            .into_iter()
            .find(|(named, _)| *named == author);
        assert_eq!(
            own.map(|(_, name)| name),
            (!erased).then(|| "Ada".to_owned())
        );
        let restarted = names(&subject.reopen(0));
        assert_eq!(restarted, names(&subject));
    }
}

#[test]
fn name_is_taken_over_after_a_restart() {
    let mut branch = Branch::new();
    branch.push(vec![reading(50, 0)]);
    let mut subject = Subject::miner(50);
    subject.set_name(name("Ada"));
    subject.connect(1);
    subject.serve(1, &branch);
    subject.advance(2 * FOREIGN_PATIENCE);
    let author = subject.machine.author();
    // The tab closed before the name was on disk.
    subject.state.disk.profiles.remove(&author);
    let mut again = subject.reopen(0);
    assert!(names(&again).contains(&(author, "Ada".to_owned())));
    assert!(again.state.disk.profiles.contains_key(&author));
    again.state.disk.profiles.remove(&author);
    let mut failing = again.reopen(0);
    assert!(names(&failing).contains(&(author, "Ada".to_owned())));
    failing.advance(1);
}

#[test]
fn later_name_of_another_place_with_our_key_wins() {
    let mut subject = Subject::miner(50);
    subject.connect(1);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.set_name(name("Ada"));
    assert_eq!(
        gossip(&mut subject, 1, &profile(50, START + 9, "Bea")),
        Some(Verdict::Accept)
    );
    subject.finish_held_writes();
    subject.advance(10_000);
    assert_eq!(names(&subject), [named(50, "Bea")]);
    assert_eq!(names(&subject.reopen(0)), [named(50, "Bea")]);
    subject.set_name(name("Cleo"));
    assert_eq!(names(&subject), [named(50, "Cleo")]);
}

#[test]
fn imported_profiles_are_checked() {
    for room in [room(), private_room()] {
        let profile = |author, text| signed(&room, &key(author), START, text);
        let piece = |profiles: Vec<Profile>| ImportPiece {
            profiles,
            is_last: true,
            ..ImportPiece::default()
        };
        let mut subject = subject_with(&room, [2]);
        let ticket = subject.import(piece(vec![profile(2, "Bob"), profile(3, "Eve")]));
        let imported = subject.events.iter().any(
            |event| matches!(event, Event::Imported { ticket: of, result: Ok(_) } if *of == ticket),
        );
        assert!(imported, "{:?}", subject.events);
        assert_eq!(
            names(&subject),
            [named(2, "Bob")],
            "only of authors on the chain"
        );

        let mut forged = profile(2, "Rob");
        forged.signature = profile(3, "Rob").signature;
        let ticket = subject.import(piece(vec![forged]));
        let refused = subject.events.iter().any(|event| {
            matches!(event, Event::Imported { ticket: of, result: Err(ImportError::Profile(_)) } if *of == ticket)
        });
        assert!(refused, "{:?}", subject.events);
        subject.import(piece(vec![profile(2, "Bob"); MAX_IMPORT_PROFILES + 1]));
        let last = subject.events.iter().rev().find_map(|event| {
            let Event::Imported { result, .. } = event else {
                return None;
            };
            Some(result)
        });
        assert!(
            matches!(last, Some(Err(ImportError::TooLarge { .. }))),
            "{last:?}"
        );
    }
}

#[test]
fn ignored_profile_is_asked_for_once_it_matters() {
    let mut branch = branch_of(&room(), [2]);
    let mut subject = subject_with(&room(), [2]);
    subject.advance(MIN_PROFILE_SYNC_INTERVAL);
    subject.serve(1, &branch);
    // The first is forgotten, because so many were ignored after it.
    let others = 1_000..1_000 + MAX_IGNORED_AUTHORS as u64;
    for author in [3].into_iter().chain(others) {
        let ignored = profile(author, START, "Eve");
        assert_eq!(gossip(&mut subject, 1, &ignored), Some(Verdict::Ignore));
    }
    for (author, is_asked) in [(3, false), (1_000, true)] {
        let block = branch.push(vec![reading(author, 0)]);
        subject.gossip_block(1, &block);
        assert_eq!(subject.tip(), branch.tip());
        answer_others(&mut subject, 1);
        assert_eq!(
            subject.open_request(1, is_profiles).is_some(),
            is_asked,
            "author {author}: {:?}",
            subject.state.open_requests
        );
    }
    subject.answer(
        1,
        is_profiles,
        &Response::Profiles(vec![profile(1_000, START, "Eve")]),
    );
    assert_eq!(names(&subject), [named(1_000, "Eve")]);
    // The next comparison has to wait.
    gossip(&mut subject, 1, &profile(3_000, START, "Mallory"));
    let block = branch.push(vec![reading(3_000, 0)]);
    subject.gossip_block(1, &block);
    assert_eq!(subject.open_request(1, is_profiles), None);
    subject.now += MIN_PROFILE_SYNC_INTERVAL;
    subject.feed(Input::Tick);
    answer_others(&mut subject, 1);
    assert!(subject.open_request(1, is_profiles).is_some());
}

#[test]
fn names_wait_for_everything_else() {
    let mut subject = Subject::new();
    let branch = branch_of(&room(), [2]);
    subject.connect(1);
    subject.serve_requests_of(1, &branch, |request| !is_bodies(request));
    assert_eq!(
        subject.open_request(1, is_profiles),
        None,
        "a body is on its way"
    );
    subject.serve_requests_of(1, &branch, is_bodies);
    assert!(subject.open_request(1, is_profiles).is_some());
}

#[test]
fn name_is_refused_while_the_clock_is_far_off() {
    let ahead = i64::try_from(MAX_CLOCK_OFFSET).expect("small") + 60_000;
    for (offset, is_refused) in [(60_000, false), (ahead, true), (-ahead, true)] {
        let mut subject = Subject::miner(50);
        for peer in 1..=3 {
            subject.connect(peer);
            serve_with_clock(&mut subject, peer, &Branch::new(), -offset);
        }
        let ticket = subject.set_name(name("Ada"));
        let reason = NameError::Clock;
        let refused = count(&subject, &Event::NameFailed { ticket, reason });
        assert_eq!(refused == 1, is_refused, "{offset} ms");
        assert_eq!(names(&subject).is_empty(), is_refused, "{offset} ms");
    }
}

#[test]
fn evicted_name_returns_when_its_author_matters_again() {
    let most = MAX_PROFILES as u64;
    let mut branch = branch_of(&room(), 1_000..=1_000 + most);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    let all = listing(1_000..=1_000 + most);
    compare(&mut subject);
    serve_profiles(&mut subject, 1, &all);
    // All have one reading, so the one with the highest key has no room.
    let last = all.last().expect("many");
    let has_last = |subject: &Subject| subject.machine.profiles().any(|known| known == last);
    assert!(!has_last(&subject));
    assert_eq!(gossip(&mut subject, 1, last), Some(Verdict::Ignore));
    let number = (1_000..=1_000 + most).find(|number| key(*number).author() == last.author);
    let block = branch.push(vec![reading(number.expect("one of them"), 1)]);
    subject.gossip_block(1, &block);
    assert_eq!(gossip(&mut subject, 1, last), Some(Verdict::Accept));
    assert!(has_last(&subject));
    assert_eq!(subject.machine.load().profiles, MAX_PROFILES);
}

#[test]
fn new_authors_wait_while_the_disk_is_stuck() {
    let most = MAX_PROFILES as u64;
    let mut branch = Branch::new();
    let mut subject = Subject::new();
    subject.connect(1);
    subject.state.disk.held_writes = Some(Vec::new());
    let mut kept = Vec::new();
    for wave in 0..3 {
        // Each wave has more readings than the one before, and replaces it.
        let authors = 1_000 + wave * most..1_000 + (wave + 1) * most;
        let numbers: Vec<u64> = authors.clone().collect();
        for seq in 0..=wave {
            for part in numbers.chunks(512) {
                branch.push(part.iter().map(|author| reading(*author, seq)).collect());
            }
            subject.receive_status(1, branch.status());
            subject.serve(1, &branch);
            assert_eq!(subject.tip(), branch.tip(), "wave {wave}, seq {seq}");
        }
        compare(&mut subject);
        serve_profiles(&mut subject, 1, &listing(authors));
        kept.push(subject.machine.load().unwritten_profiles);
        assert!(subject.machine.load().unwritten_profiles <= MAX_UNWRITTEN_PROFILES);
    }
    // The second wave begins to wait, and the third finds no room.
    assert_eq!(kept[0], MAX_PROFILES);
    assert_eq!(kept[2], kept[1]);
    assert!(kept[1] > 2 * MAX_PROFILES - 2, "{kept:?}");
}

#[test]
fn name_written_during_a_key_change_is_taken_over() {
    let mut branch = Branch::new();
    branch.push(vec![reading(50, 0)]);
    let mut subject = Subject::miner(50);
    subject.connect(1);
    subject.serve(1, &branch);
    subject.advance(FOREIGN_PATIENCE - 1_000);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.set_name(name("Ada"));
    subject.advance(2_000);
    subject.finish_held_writes();
    subject.advance(10_000);
    let author = subject.machine.author();
    assert_ne!(author, key(50).author());
    assert!(names(&subject).contains(&(author, "Ada".to_owned())));
}

#[test]
fn older_name_on_disk_does_not_replace_our_own() {
    for text in ["Cleo", ""] {
        let mut subject = Subject::miner(50);
        subject.connect(1);
        gossip(&mut subject, 1, &profile(50, START - 2, "Ada"));
        // This one waits for the next write.
        gossip(&mut subject, 1, &profile(50, START - 1, "Bea"));
        assert_eq!(names(&subject), [named(50, "Bea")]);
        subject.state.disk.held_writes = Some(Vec::new());
        subject.set_name(name(text));
        subject.advance(1_000);
        let held = subject.state.disk.held_writes.as_ref().map(Vec::len);
        assert_eq!(held, Some(2), "the new name, and the older one");
        subject.finish_held_writes();
        subject.advance(10_000);
        let stored = subject.state.disk.profiles.values();
        assert!(stored.eq(subject.machine.profiles()), "{text}");
        assert_eq!(names(&subject.reopen(0)), names(&subject));
    }
}

#[test]
fn name_erased_during_a_key_change_is_not_taken_over() {
    for (text, taken_over) in [("", None), ("Bea", Some("Bea"))] {
        let mut branch = Branch::new();
        branch.push(vec![reading(50, 0)]);
        let mut subject = Subject::miner(50);
        subject.set_name(name("Ada"));
        subject.connect(1);
        subject.serve(1, &branch);
        subject.advance(FOREIGN_PATIENCE - 1_000);
        subject.state.disk.held_writes = Some(Vec::new());
        subject.set_name(name(text));
        // The key changes while the name is being written.
        let (id, batch) = subject.take_held_writes().pop().expect("the name");
        subject.advance(2_000);
        let author = subject.machine.author();
        assert_ne!(author, key(50).author());
        subject.finish_write(id, batch);
        subject.advance(10_000);
        let is_new = |profile: &&Profile| profile.author == author;
        let ada = signed(&room(), &key(50), START, "Ada").content;
        let published = published(&subject);
        assert!(
            published
                .iter()
                .filter(is_new)
                .all(|own| own.content != ada),
            "{text}"
        );
        let names = names(&subject);
        let own = names.iter().find(|(named, _)| *named == author);
        assert_eq!(own.map(|(_, name)| name.as_str()), taken_over);
    }
}

/// A machine that set the name "Ada", and then replaced its key.
fn subject_with_two_keys() -> Subject {
    let mut branch = Branch::new();
    branch.push(vec![reading(50, 0)]);
    let mut subject = Subject::miner(50);
    subject.set_name(name("Ada"));
    subject.connect(1);
    subject.serve(1, &branch);
    subject.advance(2 * FOREIGN_PATIENCE);
    assert_ne!(subject.machine.author(), key(50).author());
    assert_eq!(names(&subject).len(), 2);
    subject
}

#[test]
fn new_name_replaces_those_of_earlier_keys() {
    for text in ["", "Bea"] {
        let mut subject = subject_with_two_keys();
        let author = subject.machine.author();
        let (before, told) = (published(&subject).len(), count(&subject, &Event::Names));
        let ticket = subject.set_name(name(text));
        assert_eq!(count(&subject, &Event::NameSet { ticket }), 1);
        assert_eq!(count(&subject, &Event::Names), told + 1);
        let published = published(&subject).split_off(before);
        let authors: Vec<Author> = published.iter().map(|own| own.author).collect();
        assert_eq!(authors, [author, key(50).author()]);
        assert!(published.iter().all(|own| own.verify(room().id()).is_ok()));
        let shown = names(&subject);
        assert!(shown.iter().all(|(_, name)| name == text), "{shown:?}");
        assert_eq!(shown.len(), if text.is_empty() { 0 } else { 2 });
        // Others take the name of the earlier key.
        let mut other = subject_with(&room(), [50]);
        assert_eq!(gossip(&mut other, 1, &published[1]), Some(Verdict::Accept));
        subject.advance(10_000);
        assert_eq!(names(&subject.reopen(0)), shown);
        // The current key's profile is lost: the earlier name does not return.
        subject.state.disk.profiles.remove(&author);
        let mut again = names(&subject.reopen(0));
        again.sort();
        let mut shown = shown;
        shown.sort();
        assert_eq!(again, shown);
    }
}

#[test]
fn names_of_all_keys_are_stored_together() {
    let mut subject = subject_with_two_keys();
    let before = names(&subject);
    let revisions = published(&subject).len();
    subject.state.disk.held_writes = Some(Vec::new());
    let ticket = subject.set_name(name(""));
    subject.fail_held_writes(true);
    let reason = NameError::NotStored;
    assert_eq!(count(&subject, &Event::NameFailed { ticket, reason }), 1);
    assert_eq!(names(&subject), before);
    assert_eq!(published(&subject).len(), revisions);
    assert_eq!(names(&subject.reopen(0)), before);
}

#[test]
fn names_of_all_authors_are_forwarded_at_a_rate() {
    let (rate, burst) = (ALL_PROFILES_FORWARD_RATE, ALL_PROFILES_FORWARD_BURST);
    let authors = 1_000..1_000 + burst + 2 * rate;
    let mut subject = subject_with(&room(), authors.clone());
    let mut profiles = authors.map(|author| profile(author, START, "Bob"));
    let mut accepted = |subject: &mut Subject| {
        let verdicts = profiles.by_ref().map(|it| gossip(subject, 1, &it));
        let accepted = verdicts.take_while(|verdict| *verdict == Some(Verdict::Accept));
        accepted.count() as u64
    };
    assert_eq!(accepted(&mut subject), burst);
    let mut forged = profile(1_000 + burst + rate, START, "Eve");
    forged.signature = Signature::new([7; 64]);
    assert_eq!(gossip(&mut subject, 1, &forged), Some(Verdict::Ignore));
    assert_eq!(names(&subject).len() as u64, burst);
    subject.advance(1_000);
    assert_eq!(accepted(&mut subject), rate);
    assert_eq!(subject.disconnections, []);
    // Our own name is published all the same.
    let before = published(&subject).len();
    subject.set_name(name("Ada"));
    assert_eq!(published(&subject).len(), before + 1);
}

#[test]
fn page_is_told_of_names_at_a_rate() {
    let mut subject = subject_with(&room(), [2, 3]);
    let told = count(&subject, &Event::Names);
    gossip(&mut subject, 1, &profile(2, START, "Bob"));
    assert_eq!(count(&subject, &Event::Names), told + 1, "at once");
    gossip(&mut subject, 1, &profile(3, START, "Eve"));
    gossip(&mut subject, 1, &profile(3, START + 1, "Eva"));
    subject.advance(NAMES_EVENT_INTERVAL - 1);
    assert_eq!(count(&subject, &Event::Names), told + 1);
    subject.advance(1);
    assert_eq!(count(&subject, &Event::Names), told + 2);
    subject.advance(10 * NAMES_EVENT_INTERVAL);
    assert_eq!(count(&subject, &Event::Names), told + 2);
}

#[test]
fn name_can_be_changed_after_a_clock_far_ahead() {
    let sent = |subject: &mut Subject| {
        let request = Request::Profiles { after: None };
        let Some(Response::Profiles(page)) = subject.handle_request(1, &request) else {
            unreachable!("an answer");
        };
        page
    };
    for room in [room(), private_room()] {
        let mut subject = Subject::in_room(&room, MINES, 2);
        subject.clock_offset = YEAR;
        subject.set_name(name("Ada"));
        let first = published(&subject).pop().expect("published");
        subject.clock_offset = 0;
        subject.feed(Input::Tick);
        // Others get the name although they ignore the profile.
        let mut other = subject_with(&room, [2]);
        assert_eq!(gossip(&mut other, 1, &first), Some(Verdict::Ignore));
        let shown = sent(&mut subject);
        assert_eq!(gossip(&mut other, 1, &shown[0]), Some(Verdict::Accept));
        // A peer whose clock was ahead as well knows the first name.
        let mut ahead = subject_with(&room, [2]);
        ahead.clock_offset = YEAR;
        assert_eq!(gossip(&mut ahead, 1, &first), Some(Verdict::Accept));
        // It still knows it when its clock is right.
        let mut corrected = subject_with(&room, [2]);
        corrected.clock_offset = YEAR;
        assert_eq!(gossip(&mut corrected, 1, &first), Some(Verdict::Accept));
        corrected.clock_offset = 0;
        corrected.feed(Input::Tick);
        for text in ["Bea", ""] {
            subject.set_name(name(text));
            let published = published(&subject);
            for profile in &published[published.len() - 2..] {
                gossip(&mut ahead, 1, profile);
                gossip(&mut other, 1, profile);
                gossip(&mut corrected, 1, profile);
            }
            let expected: Vec<_> = [named(2, text)].into_iter().collect();
            let expected = if text.is_empty() { vec![] } else { expected };
            let reopened = subject.reopen(0);
            let peers = [&subject, &other, &ahead, &corrected, &reopened];
            for (at, peer) in peers.into_iter().enumerate() {
                assert_eq!(names(peer), expected, "{text} at peer {at}");
            }
            assert_eq!(sent(&mut subject), published[published.len() - 1..]);
            assert_eq!(sent(&mut subject.reopen(0)).len(), 1);
            assert!(sent(&mut subject.reopen(0))[0].revision < UnixMillis::new(START + 1_000));
        }
        // Once its time comes, the profile itself is sent.
        subject.clock_offset = YEAR;
        subject.feed(Input::Tick);
        assert!(sent(&mut subject).iter().eq(subject.machine.profiles()));
        assert!(sent(&mut subject)[0].revision > first.revision);
        assert_eq!(
            (other.disconnections.len(), ahead.disconnections.len()),
            (0, 0)
        );
    }
}

#[test]
fn name_of_earlier_key_is_erased_after_a_wrong_clock() {
    let mut branch = Branch::new();
    branch.push(vec![reading(50, 0)]);
    let mut subject = Subject::miner(50);
    subject.clock_offset = YEAR;
    subject.set_name(name("Ada"));
    subject.clock_offset = 0;
    subject.connect(1);
    subject.serve(1, &branch);
    subject.advance(2 * FOREIGN_PATIENCE);
    assert_ne!(subject.machine.author(), key(50).author());
    let mut other = Subject::in_room(&room(), Config { mining: false }, 3);
    other.connect(1);
    other.serve(1, &branch);
    let sent = |subject: &mut Subject| {
        let answer = subject.handle_request(1, &Request::Profiles { after: None });
        let Some(Response::Profiles(page)) = answer else {
            unreachable!("an answer");
        };
        page
    };
    for (text, expected) in [("Ada", vec![named(50, "Ada")]), ("", vec![])] {
        subject.set_name(name(text));
        for profile in sent(&mut subject) {
            gossip(&mut other, 1, &profile);
        }
        assert_eq!(names(&other), expected, "{text}");
        let again = sent(&mut subject.reopen(0));
        let latest = UnixMillis::new(START + 86_400_000);
        assert!(again.iter().all(|sent| sent.revision < latest), "{text}");
        assert_eq!(again.len(), 2);
    }
}

#[test]
fn strangers_are_asked_for_names_only_without_members() {
    for has_member in [true, false] {
        let room = private_room();
        let branch = Branch::in_room(&room);
        let mut subject = Subject::in_room(&room, MINES, 50);
        subject.machine.identify(100, ID_OF);
        let peers: &[Peer] = if has_member { &[2, 3] } else { &[2] };
        let status = |peer: Peer| StatusMessage {
            binding: (peer == 3)
                .then(|| room.bind(&key(3), &ID_OF(&3)))
                .flatten(),
            ..branch.status()
        };
        for peer in peers {
            subject.connect(*peer);
            subject.receive_status(*peer, status(*peer));
        }
        let mut asked = Vec::new();
        for _ in 0..3 * PROFILE_SYNC_INTERVAL / 1_000 {
            for peer in peers {
                while subject.open_request(*peer, is_status).is_some() {
                    let answer = Response::Status(status(*peer));
                    subject.answer(*peer, is_status, &answer);
                }
                answer_others(&mut subject, *peer);
                let is_asked = subject.open_request(*peer, is_profiles).is_some();
                asked.extend(is_asked.then_some(*peer));
                subject.serve(*peer, &branch);
            }
            subject.advance(1_000);
        }
        let expected = if has_member { 3 } else { 2 };
        assert!(
            asked.len() > 2 && asked.iter().all(|peer| *peer == expected),
            "{asked:?}"
        );
    }
}

#[test]
fn listing_that_replaces_names_keeps_the_right_ones() {
    let (most, new) = (MAX_PROFILES as u64, MAX_LISTED_PROFILES as u64);
    let mut branch = branch_of(&room(), 1_000..1_000 + most + new);
    let many: Vec<u64> = (1_000 + most..1_000 + most + new).collect();
    for part in many.chunks(512) {
        branch.push(part.iter().map(|author| reading(*author, 1)).collect());
    }
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    compare(&mut subject);
    let old = listing(1_000..1_000 + most);
    serve_profiles(&mut subject, 1, &old);
    subject.advance(10_000);
    compare(&mut subject);
    let new = listing(many);
    let started = std::time::Instant::now();
    serve_profiles(&mut subject, 1, &new);
    println!("{} evictions in {:?}", new.len(), started.elapsed());
    // Those of authors with two readings replace those with the highest keys.
    let mut expected = [&old[..MAX_PROFILES - new.len()], &new].concat();
    expected.sort_by_key(|profile| profile.author);
    assert!(subject.machine.profiles().eq(&expected));
}
