//! The bounds of catching up and of what waits for the disk, each at the bound.

use chain::hash::BlockHash;
use sync::{
    Config, Event, Input, Restore, State,
    config::{
        ANNOUNCE_INTERVAL, BODY_RANGE, DOWNLOAD_WINDOW, EXCHANGE_INTERVAL, EXCHANGE_PEERS,
        MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_RECOVERY_QUEUE, MAX_STALLS,
        MAX_UNWRITTEN, RECOVERY_CHUNK, REQUEST_TIMEOUT, STARTING, STATUS_BEHIND, WRITE_RETRY,
    },
    message::{MAX_HEADERS, Request, Response},
    seam::InboundId,
};

use crate::{
    branch::{Branch, START, key, reading, room},
    subject::{Subject, at, is_bodies, is_headers, is_listing, is_status},
};

/// More than can be planned, written or served at a time.
const LONG: u64 = DOWNLOAD_WINDOW as u64 + 600;

/// Hashes of bodies that a peer was asked for and has not answered.
fn bodies_asked(subject: &Subject, peer: u64) -> Vec<usize> {
    subject
        .asked
        .values()
        .filter(|(asked, _)| *asked == peer)
        .filter_map(|(_, request)| match request {
            Request::Bodies { hashes } => Some(hashes.len()),
            Request::Status(_)
            | Request::Headers { .. }
            | Request::MempoolIds { .. }
            | Request::Readings { .. } => None,
        })
        .collect()
}

/// So many peers claim this branch, and the first gives its headers.
fn told_of(branch: &Branch, peers: u64) -> Subject {
    let mut subject = Subject::new();
    for peer in 1..=peers {
        subject.connect(peer);
        subject.answer(peer, is_status, &Response::Status(branch.status()));
    }
    for batch in branch.blocks.chunks(MAX_HEADERS) {
        let headers = batch.iter().map(|block| block.header).collect();
        subject.answer(1, is_headers, &Response::Headers(headers));
    }
    subject
}

#[test]
fn bodies_asked_of_one_peer_are_bounded() {
    let subject = told_of(&Branch::of(1, 1_000), 1);
    assert_eq!(
        bodies_asked(&subject, 1),
        [BODY_RANGE; MAX_OPEN_BODY_REQUESTS]
    );
    assert_eq!(MAX_OPEN_BODY_REQUESTS, MAX_OPEN_REQUESTS - 1);
}

#[test]
fn bodies_planned_at_a_time_are_bounded() {
    let peers = (DOWNLOAD_WINDOW / (BODY_RANGE * MAX_OPEN_BODY_REQUESTS) + 2) as u64;
    let branch = Branch::of(1, LONG);
    let mut subject = told_of(&branch, peers);
    let asked = |subject: &Subject| -> usize {
        (1..=peers)
            .flat_map(|peer| bodies_asked(subject, peer))
            .sum()
    };
    // The other sync's headers are given up, which leaves its peer a place for bodies.
    subject.wait(100);
    // Each answer may hold a megabyte of readings, and all that are open have to find room.
    assert!((DOWNLOAD_WINDOW / 2..=DOWNLOAD_WINDOW).contains(&asked(&subject)));
    let all: Vec<(u64, &Branch)> = (1..=peers).map(|peer| (peer, &branch)).collect();
    subject.serve_all(&all);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn peer_that_lets_bodies_wait_is_not_asked_for_more_of_them() {
    let branch = Branch::of(1, 1_900);
    let mut subject = told_of(&branch, 2);
    assert_eq!(bodies_asked(&subject, 1).len(), MAX_STALLS as usize);
    subject.wait(REQUEST_TIMEOUT / 2);
    // The other answers one request meanwhile, so that its turn does not end with the first one's.
    let (id, request) = subject.open(2, is_bodies).expect("asked");
    let answer = crate::subject::honest_answer(&branch, &request, |_| true);
    subject.respond(2, id, answer.encode());
    subject.wait(REQUEST_TIMEOUT / 2);
    subject.asked.retain(|_, (peer, _)| *peer != 1);
    let (id, request) = subject.open(2, is_bodies).expect("asked");
    let answer = crate::subject::honest_answer(&branch, &request, |_| true);
    subject.respond(2, id, answer.encode());
    assert_eq!(bodies_asked(&subject, 1), []);
    subject.serve(2, &branch);
    assert_eq!(subject.tip(), branch.tip());
    assert!(subject.dropped.is_empty(), "slow is no crime");
}

#[test]
fn nothing_is_asked_for_that_could_not_be_written() {
    let branch = Branch::of(1, LONG);
    let mut subject = Subject::new();
    subject.held_writes = Some(Vec::new());
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
fn no_gossiped_block_is_taken_that_could_not_be_written() {
    let branch = Branch::of(1, LONG);
    let mut subject = Subject::new();
    subject.held_writes = Some(Vec::new());
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
fn reads_for_peers_are_bounded_for_one_and_for_all() {
    let branch = Branch::of(1, 5);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    subject.held_reads = Some(Vec::new());
    let peers = MAX_OPEN_READS / MAX_OPEN_REQUESTS + 1;
    let hashes = vec![branch.tip()];
    let mut refused = Vec::new();
    for peer in 0..peers as u64 {
        for _ in 0..=MAX_OPEN_REQUESTS {
            let id = InboundId(subject.name());
            let data = Request::Bodies {
                hashes: hashes.clone(),
            }
            .encode();
            subject.give(Input::Request {
                from: peer,
                id,
                data,
            });
            refused.extend(subject.answers.remove(&id).map(|answer| (peer, answer)));
        }
    }
    assert_eq!(subject.machine.load().open_reads, MAX_OPEN_READS);
    assert!(refused.iter().all(|(_, answer)| answer.is_none()));
    let last = peers as u64 - 1;
    let of_last = refused.iter().filter(|(peer, _)| *peer == last).count();
    assert_eq!(of_last, MAX_OPEN_REQUESTS + 1, "no place for anybody");
    assert_eq!(
        refused.len() - of_last,
        peers - 1,
        "one too many for each of the others"
    );
}

#[test]
fn mempools_are_compared_with_few_peers_a_round() {
    let mut subject = Subject::new();
    let peers = EXCHANGE_PEERS as u64 + 3;
    for peer in 1..=peers {
        subject.connect(peer);
        subject.serve(peer, &Branch::new());
    }
    subject.gossip_reading(1, &reading(2, 0));
    let asked = |subject: &Subject| {
        (1..=peers)
            .filter(|peer| subject.open(*peer, is_listing).is_some())
            .count()
    };
    subject.wait(EXCHANGE_INTERVAL - 1);
    assert_eq!(asked(&subject), 0);
    subject.wait(1);
    assert_eq!(asked(&subject), EXCHANGE_PEERS);
}

#[test]
fn peer_that_stands_elsewhere_is_asked_sooner() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 3));
    subject.connect(2);
    // It has less than we do.
    subject.serve(2, &Branch::new());
    // The tip was announced to it.
    subject.wait(ANNOUNCE_INTERVAL);
    subject.serve(2, &Branch::new());
    subject.wait(STATUS_BEHIND - 1);
    assert!(subject.open(2, is_status).is_none());
    subject.wait(1);
    assert!(subject.open(2, is_status).is_some());
    assert!(
        subject.open(1, is_status).is_none(),
        "it stands where we do"
    );
}

#[test]
fn tip_that_gossip_does_not_tell_is_announced_at_most_so_often() {
    let (mut branch, before) = (Branch::of(1, 3), Branch::of(1, 3));
    let mut subject = Subject::new();
    for peer in [1, 2] {
        subject.connect(peer);
        subject.serve(peer, &before);
    }
    subject.wait(2 * ANNOUNCE_INTERVAL);
    branch.grow(1, 1);
    subject.hear_status(1, branch.status());
    subject.serve(1, &branch);
    assert!(
        subject.open(2, is_status).is_some(),
        "at once after a pause"
    );
    subject.serve(2, &before);
    branch.grow(1, 1);
    subject.hear_status(1, branch.status());
    subject.serve(1, &branch);
    subject.wait(ANNOUNCE_INTERVAL - 1);
    assert!(subject.open(2, is_status).is_none());
    subject.wait(1);
    assert!(subject.open(2, is_status).is_some());
}

#[test]
fn machine_is_starting_before_it_is_alone() {
    let mut subject = Subject::new();
    subject.give(Input::Tick);
    subject.wait(STARTING - 1);
    assert_eq!(subject.machine.status().state, State::Starting);
    subject.wait(1);
    assert_eq!(subject.machine.status().state, State::Alone);
}

fn numbered(number: usize) -> BlockHash {
    let mut hash = [0; 32];
    hash[24..].copy_from_slice(&(number as u64).to_le_bytes());
    BlockHash::new(hash)
}

#[test]
fn left_blocks_in_memory_are_bounded_and_the_rest_waits_on_disk() {
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room(), key(1_000), [], [1; 32], at(START, 0));
    restore.rescue((0..MAX_RECOVERY_QUEUE).map(numbered));
    restore.rescue((0..10).map(numbered));
    restore.rescue((0..7).map(|more| numbered(MAX_RECOVERY_QUEUE + more)));
    let mut subject = Subject::new();
    subject.machine = restore.finish();
    assert_eq!(subject.machine.load().recovery, MAX_RECOVERY_QUEUE);
    subject.held_reads = Some(Vec::new());
    subject.give(Input::Tick);
    assert!(
        subject.events.contains(&Event::WaitsOnDisk { blocks: 7 }),
        "none goes untold, and none is counted twice"
    );
    let reads = subject.held_reads.take().expect("held");
    assert_eq!(reads.len(), 1, "one read at a time");
    assert_eq!(reads[0].1.len(), RECOVERY_CHUNK);
    // A read that fails is tried again after a while.
    subject.held_reads = Some(Vec::new());
    subject.give(Input::ReadFailed { id: reads[0].0 });
    subject.wait(WRITE_RETRY - 1);
    assert_eq!(subject.held_reads.as_ref().map(Vec::len), Some(0));
    subject.wait(1);
    assert_eq!(subject.held_reads.as_ref().map(Vec::len), Some(1));
    assert_eq!(subject.machine.load().recovery, MAX_RECOVERY_QUEUE);
}
