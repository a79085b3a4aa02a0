//! The limits of downloads, of pending disk writes and of mempool rounds, each tested at the limit.

use std::collections::BTreeSet;

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{
    Config, Event, Input, Restore, SyncState,
    config::{
        ANNOUNCE_INTERVAL, BODY_RANGE, DOWNLOAD_WINDOW, MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS,
        MAX_OPEN_REQUESTS, MAX_RECOVERY_QUEUE, MAX_STALLS, MAX_UNWRITTEN, MEMPOOL_SYNC_INTERVAL,
        MEMPOOL_SYNC_PEERS, RECOVERY_CHUNK, REQUEST_TIMEOUT, STARTING, STATUS_BEHIND,
        STATUS_BEHIND_PAUSE, WRITE_RETRY,
    },
    message::Request,
};
use heartchain_test_support::{Branch, Driver as _, START, key, now_at, reading, room};

use crate::subject::{Subject, is_bodies, is_listing, is_status};

/// More blocks than can be planned, written or served at a time.
const LONG: u64 = DOWNLOAD_WINDOW as u64 + 600;

/// The number of bodies in each open body request to a peer.
fn requested_bodies(subject: &Subject, peer: u64) -> Vec<usize> {
    subject
        .state
        .open_requests
        .values()
        .filter(|(asked, _)| *asked == peer)
        .filter_map(|(_, request)| match request {
            Request::Bodies { hashes } => Some(hashes.len()),
            Request::Status(_)
            | Request::Headers { .. }
            | Request::MempoolIds { .. }
            | Request::Readings { .. }
            | Request::Profiles { .. } => None,
        })
        .collect()
}

#[test]
fn bodies_requested_from_one_peer_are_bounded() {
    let subject = Subject::offered(&Branch::of(1, 1_000), 1);
    assert_eq!(
        requested_bodies(&subject, 1),
        [BODY_RANGE; MAX_OPEN_BODY_REQUESTS]
    );
    assert_eq!(MAX_OPEN_BODY_REQUESTS, MAX_OPEN_REQUESTS - 1);
}

#[test]
fn planned_body_downloads_are_bounded() {
    let peers = (DOWNLOAD_WINDOW / (BODY_RANGE * MAX_OPEN_BODY_REQUESTS) + 2) as u64;
    let branch = Branch::of(1, LONG);
    let mut subject = Subject::offered(&branch, peers);
    let asked = |subject: &Subject| -> usize {
        (1..=peers)
            .flat_map(|peer| requested_bodies(subject, peer))
            .sum()
    };
    // The second header sync ends, which frees its peer for body requests.
    subject.advance(100);
    // Each response may hold a megabyte of readings, and there must be room for all open requests.
    assert!((DOWNLOAD_WINDOW / 2..=DOWNLOAD_WINDOW).contains(&asked(&subject)));
    let all: Vec<(u64, &Branch)> = (1..=peers).map(|peer| (peer, &branch)).collect();
    subject.serve_all(&all);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn stalling_peer_gets_no_more_body_requests() {
    let branch = Branch::of(1, 1_900);
    let mut subject = Subject::offered(&branch, 2);
    assert_eq!(requested_bodies(&subject, 1).len(), MAX_STALLS as usize);
    subject.advance(REQUEST_TIMEOUT / 2);
    // The other peer answers one request in the meantime, so that its turn does not end together with the first peer's.
    let (id, request) = subject.open_request(2, is_bodies).expect("asked");
    let answer = crate::subject::honest_response(&branch, &request, |_| true);
    subject.respond(2, id, answer.encode());
    subject.advance(REQUEST_TIMEOUT / 2);
    subject
        .state
        .open_requests
        .retain(|_, (peer, _)| *peer != 1);
    let (id, request) = subject.open_request(2, is_bodies).expect("asked");
    let answer = crate::subject::honest_response(&branch, &request, |_| true);
    subject.respond(2, id, answer.encode());
    assert_eq!(requested_bodies(&subject, 1), []);
    subject.serve(2, &branch);
    assert_eq!(subject.tip(), branch.tip());
    assert!(
        subject.disconnections.is_empty(),
        "a slow peer is not disconnected"
    );
}

#[test]
fn full_write_queue_stops_requests() {
    let branch = Branch::of(1, LONG);
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(1);
    subject.serve(1, &branch);
    let unwritten = subject.machine.load().unwritten;
    let under_way = MAX_OPEN_BODY_REQUESTS * BODY_RANGE;
    assert!(
        (MAX_UNWRITTEN..MAX_UNWRITTEN + 2 * under_way).contains(&unwritten),
        "{unwritten}"
    );
    assert!(subject.machine.status().index < LONG);
    subject.finish_held_writes();
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    assert_eq!(subject.machine.load().unwritten, 0);
}

#[test]
fn full_write_queue_stops_gossiped_blocks() {
    let branch = Branch::of(1, LONG);
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(1);
    for block in &branch.blocks {
        subject.gossip_block(1, block);
    }
    let unwritten = subject.machine.load().unwritten;
    assert!(
        (MAX_UNWRITTEN..MAX_UNWRITTEN + 4).contains(&unwritten),
        "{unwritten}"
    );
    assert!(subject.machine.status().index < LONG);
    subject.finish_held_writes();
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    assert_eq!(subject.machine.load().unwritten, 0);
}

#[test]
fn reads_for_peers_are_bounded() {
    let branch = Branch::of(1, 5);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    subject.state.disk.held_reads = Some(Vec::new());
    let peers = MAX_OPEN_READS / MAX_OPEN_REQUESTS + 1;
    let hashes = vec![branch.tip()];
    let mut refused = Vec::new();
    for peer in 0..peers as u64 {
        for _ in 0..=MAX_OPEN_REQUESTS {
            let request = Request::Bodies {
                hashes: hashes.clone(),
            };
            let id = subject.ask(peer, request.encode());
            refused.extend(subject.responses.remove(&id).map(|answer| (peer, answer)));
        }
    }
    assert_eq!(subject.machine.load().open_reads, MAX_OPEN_READS);
    assert!(refused.iter().all(|(_, answer)| answer.is_none()));
    let last = peers as u64 - 1;
    let of_last = refused.iter().filter(|(peer, _)| *peer == last).count();
    assert_eq!(
        of_last,
        MAX_OPEN_REQUESTS + 1,
        "no read slot is left for the last peer"
    );
    assert_eq!(
        refused.len() - of_last,
        peers - 1,
        "one request too many from each of the others"
    );
}

#[test]
fn mempool_rounds_ask_few_peers() {
    let mut subject = Subject::new();
    let peers = MEMPOOL_SYNC_PEERS as u64 + 3;
    for peer in 1..=peers {
        subject.connect(peer);
        subject.serve(peer, &Branch::new());
    }
    subject.gossip_reading(1, &reading(2, 0));
    let asked = |subject: &Subject| {
        (1..=peers)
            .filter(|peer| subject.open_request(*peer, is_listing).is_some())
            .count()
    };
    subject.advance(MEMPOOL_SYNC_INTERVAL - 1);
    assert_eq!(asked(&subject), 0);
    subject.advance(1);
    assert_eq!(asked(&subject), MEMPOOL_SYNC_PEERS);
}

#[test]
fn peer_on_another_tip_is_asked_sooner() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 3));
    subject.connect(2);
    // The peer has a lower tip than we do.
    subject.serve(2, &Branch::new());
    // Our tip was announced to it.
    subject.advance(ANNOUNCE_INTERVAL);
    subject.serve(2, &Branch::new());
    subject.advance(STATUS_BEHIND - 1);
    assert!(subject.open_request(2, is_status).is_none());
    subject.advance(1);
    assert!(subject.open_request(2, is_status).is_some());
    assert!(
        subject.open_request(1, is_status).is_none(),
        "it has our tip"
    );
}

#[test]
fn of_peers_behind_one_is_asked_at_a_time() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 3));
    let behind = 2..=7;
    for peer in behind.clone() {
        subject.connect(peer);
        subject.serve(peer, &Branch::new());
    }
    // Our tip was announced to them.
    subject.advance(ANNOUNCE_INTERVAL);
    for peer in behind.clone() {
        subject.serve(peer, &Branch::new());
    }
    let mut asked = BTreeSet::new();
    for round in 0..behind.clone().count() {
        let pause = if round == 0 {
            STATUS_BEHIND
        } else {
            STATUS_BEHIND_PAUSE
        };
        subject.advance(pause - 1);
        let is_asked = |peer: &u64| subject.open_request(*peer, is_status).is_some();
        assert_eq!(behind.clone().find(is_asked), None, "{round}");
        subject.advance(1);
        let is_asked = |peer: &u64| subject.open_request(*peer, is_status).is_some();
        let now: Vec<u64> = behind.clone().filter(is_asked).collect();
        let [peer] = now[..] else {
            panic!("{now:?} are asked at once");
        };
        assert!(asked.insert(peer), "{peer} is asked again before others");
        subject.serve(peer, &Branch::new());
    }
}

#[test]
fn peers_that_claim_more_are_all_asked() {
    let mut subject = Subject::new();
    let ahead = 1..=3;
    for peer in ahead.clone() {
        // They never send the headers of the branch that they claim.
        subject.claim(peer, &Branch::of(1, 3));
    }
    subject.advance(STATUS_BEHIND - 1);
    let is_asked = |peer: &u64| subject.open_request(*peer, is_status).is_some();
    assert_eq!(ahead.clone().find(is_asked), None);
    subject.advance(1);
    for peer in ahead {
        assert!(subject.open_request(peer, is_status).is_some(), "{peer}");
    }
}

#[test]
fn tip_announcements_are_rate_limited() {
    let (mut branch, before) = (Branch::of(1, 3), Branch::of(1, 3));
    let mut subject = Subject::new();
    for peer in [1, 2] {
        subject.connect(peer);
        subject.serve(peer, &before);
    }
    subject.advance(2 * ANNOUNCE_INTERVAL);
    branch.grow(1, 1);
    subject.receive_status(1, branch.status());
    subject.serve(1, &branch);
    assert!(
        subject.open_request(2, is_status).is_some(),
        "announced at once after a pause"
    );
    subject.serve(2, &before);
    branch.grow(1, 1);
    subject.receive_status(1, branch.status());
    subject.serve(1, &branch);
    subject.advance(ANNOUNCE_INTERVAL - 1);
    assert!(subject.open_request(2, is_status).is_none());
    subject.advance(1);
    assert!(subject.open_request(2, is_status).is_some());
}

#[test]
fn machine_is_starting_before_it_is_alone() {
    let mut subject = Subject::new();
    subject.feed(Input::Tick);
    subject.advance(STARTING - 1);
    assert_eq!(subject.machine.status().state, SyncState::Starting);
    subject.advance(1);
    assert_eq!(subject.machine.status().state, SyncState::Alone);
}

fn numbered(number: usize) -> BlockHash {
    let mut hash = [0; 32];
    hash[24..].copy_from_slice(&(number as u64).to_le_bytes());
    BlockHash::new(hash)
}

#[test]
fn left_blocks_in_memory_are_bounded() {
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room(), key(1_000), [], [1; 32], now_at(START, 0));
    restore.recovery((0..MAX_RECOVERY_QUEUE).map(numbered));
    restore.recovery((0..10).map(numbered));
    restore.recovery((0..7).map(|more| numbered(MAX_RECOVERY_QUEUE + more)));
    let mut subject = Subject::new();
    subject.machine = restore.finish();
    assert_eq!(subject.machine.load().recovery, MAX_RECOVERY_QUEUE);
    subject.state.disk.held_reads = Some(Vec::new());
    subject.feed(Input::Tick);
    assert!(
        subject
            .events
            .contains(&Event::RecoveryQueueFull { blocks: 7 }),
        "every left block is counted exactly once"
    );
    let reads = subject.state.disk.held_reads.take().expect("held");
    assert_eq!(reads.len(), 1, "one read at a time");
    assert_eq!(reads[0].1.len(), RECOVERY_CHUNK);
    // A failed read is retried after a while.
    subject.state.disk.held_reads = Some(Vec::new());
    subject.feed(Input::ReadFailed { id: reads[0].0 });
    subject.advance(WRITE_RETRY - 1);
    assert_eq!(
        subject.state.disk.held_reads.as_ref().map(Vec::len),
        Some(0)
    );
    subject.advance(1);
    assert_eq!(
        subject.state.disk.held_reads.as_ref().map(Vec::len),
        Some(1)
    );
    assert_eq!(subject.machine.load().recovery, MAX_RECOVERY_QUEUE);
}
