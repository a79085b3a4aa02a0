//! How much data peers can make a machine keep.

use heartchain_chain::{
    hash::BlockHash,
    mempool::MAX_NEWCOMER_READINGS,
    reading::Reading,
    tree::{MAX_SIDE_BLOCKS, MAX_SIDE_READINGS},
    work::Work,
};
use heartchain_sync::{
    config::MAX_SHARED_HEADERS,
    message::{MAX_HEADERS, Response, StatusMessage},
};
use heartchain_test_support::{Branch, Driver as _, START, reading};

use crate::{
    fixtures::with_confirmed,
    hostile::serve_claim_without_bodies,
    subject::{Subject, honest_response},
};

// Peers that know a machine's held-back blocks can extend them. Such blocks count as ordinary side blocks: those from
// before the clock was wrong are kept, later ones are bounded.
#[test]
fn blocks_on_held_back_ones_are_bounded() {
    // The clock is 50 s slow at the start, so that the newest blocks are held back.
    let branch = Branch::min_difficulty(START - 100_000, 1, 50);
    let subject = {
        let mut subject = Subject::new();
        subject.connect(1);
        subject.serve(1, &branch);
        subject
    };
    let mut slow = subject.reopen(-50_000 - 30_000);
    let held = slow
        .machine
        .status()
        .held_back
        .expect("a slow clock")
        .blocks;
    let lowest = 50 - held;
    slow.connect(2);
    let base = branch.prefix(lowest + 1);
    let wall = slow.now - 80_000;
    for number in 0..MAX_SIDE_BLOCKS as u64 + 500 {
        let block = base.mine_next(vec![reading(20_000 + number, 0)], wall + 29_000);
        slow.gossip_block(2, &block);
    }
    let held = slow.machine.status().held_back.expect("still").blocks;
    assert!(slow.disconnections.is_empty(), "{:?}", slow.disconnections);
    assert!(
        held <= MAX_SIDE_BLOCKS && slow.state.disk.blocks.len() <= MAX_SIDE_BLOCKS + 100,
        "{held} blocks are held back, {} on disk",
        slow.state.disk.blocks.len(),
    );
}

/// A machine at `branch` that knows the header but not the body of a block on `parent`, and the branch up to that
/// block.
fn without_body_of(branch: &Branch, parent: &Branch, readings: Vec<Reading>) -> (Subject, Branch) {
    let mut subject = with_confirmed(branch);
    let mut rival = parent.clone();
    let at = rival.blocks.len() as u64;
    let block = rival.mine_next(readings, START - 10_000_000 + 1_000 * (at + 1) + 300);
    rival.append(block.clone());
    let child = rival.mine_next(
        vec![reading(19_999, 7)],
        START - 10_000_000 + 1_000 * (at + 2) + 300,
    );
    subject.connect(2);
    subject.gossip_block(2, &child);
    serve_claim_without_bodies(
        &mut subject,
        2,
        branch.status(),
        core::slice::from_ref(&block),
    );
    assert!(subject.machine.header(&block.header.hash()).is_some());
    subject.disconnect(2);
    subject.advance(5_000);
    (subject, rival)
}

// Blocks above a missing body cannot be validated before it arrives, so they are not kept, however much work they have.
// The room is idle, so the tip never overtakes them.
#[test]
fn heavier_gossip_above_a_gap_is_bounded() {
    let branch = Branch::of(1, 10);
    let (mut subject, rival) = without_body_of(&branch, &branch, vec![reading(98, 0)]);
    let before = subject.state.disk.blocks.len();
    subject.connect(3);
    for number in 0..MAX_SIDE_BLOCKS as u64 + 500 {
        // Out of sequence, so that these readings are never mined.
        let block = rival.mine_next(
            vec![reading(20_000 + number, 5_000)],
            START - 10_000_000 + 12_300,
        );
        subject.gossip_block(3, &block);
    }
    let load = subject.machine.load();
    let written = subject.state.disk.blocks.len() - before;
    assert!(
        load.side_blocks <= MAX_SIDE_BLOCKS && load.side_readings <= MAX_SIDE_READINGS,
        "{} side blocks; {written} on disk",
        load.side_blocks,
    );
}

// The same for blocks on side branches. The limit is enforced at once, so that the next block does not have to prune
// many.
#[test]
fn lighter_gossip_above_a_gap_is_bounded() {
    let branch = Branch::of(1, 10);
    let (mut subject, rival) = without_body_of(&branch, &branch.prefix(7), vec![reading(98, 0)]);
    subject.connect(3);
    let many = MAX_SIDE_BLOCKS as u64 + 500;
    for number in 0..many {
        let block = rival.mine_next(
            vec![reading(20_000 + number % 50, 5_000)],
            START - 10_000_000 + 9_300 + number / 50,
        );
        subject.gossip_block(3, &block);
    }
    let side_blocks = subject.machine.load().side_blocks;
    assert!(side_blocks <= MAX_SIDE_BLOCKS, "{side_blocks} of {many}");
}

/// Answers status requests to a peer with this claim, and header requests as long as its branch can fill a whole
/// response; the end of the branch is never sent. Returns the largest number of headers without bodies.
fn give_headers(subject: &mut Subject, peer: u64, branch: &Branch, claim: StatusMessage) -> usize {
    let mut most = 0;
    while let Some((id, request)) = subject.open_request(peer, |_| true) {
        let mut response = honest_response(branch, &request, |_| true);
        match &mut response {
            Response::Headers(headers) if headers.len() < MAX_HEADERS => break,
            Response::Status(status) => *status = claim,
            Response::Headers(_)
            | Response::Bodies(_)
            | Response::MempoolIds(_)
            | Response::Readings(_)
            | Response::Profiles(_) => {}
        }
        subject.respond(peer, id, response.encode());
        most = most.max(subject.machine.load().bodiless_blocks);
    }
    most
}

// Peers that send branches with less work than ours share a limit on headers: the more such peers there are, the sooner
// each branch goes through header presync instead of being kept in memory.
#[test]
fn lighter_branches_share_a_bound_on_headers() {
    let floor = Branch::of(3, 1).total_work;
    let wanted = (0..8_000).fold(Work::ZERO, |sum, _| sum.saturating_add(floor));
    let mut heavy = Branch::new();
    for seq in 0.. {
        let block = heavy.mine_next(vec![reading(1, seq)], START - 2_000_000 + 300 * seq);
        heavy.append(block);
        if heavy.total_work > wanted {
            break;
        }
    }
    let mut subject = Subject::new();
    subject.connect(99);
    subject.serve(99, &heavy);
    let mut claim = heavy.status();
    claim.tip = BlockHash::new([7; 32]);
    claim.total_work = Work::from_le_bytes([0x7f; 32]);
    // Five peers send one response and then stay silent; the last one continues.
    let blocks = [2_000, 2_000, 2_000, 2_000, 2_000, 6_100];
    let branches: Vec<Branch> = (100..)
        .zip(blocks)
        .map(|(author, blocks)| Branch::min_difficulty(START - 200_000_000, author, blocks))
        .collect();
    let mut most = 0;
    for (peer, branch) in (0..).zip(&branches) {
        subject.connect(peer);
        subject.receive_status(peer, claim);
        // All of this takes less time than a request timeout.
        for _ in 0..12 {
            most = most.max(give_headers(&mut subject, peer, branch, claim));
            subject.advance(100);
        }
    }
    // A sixth of the limit is less than two responses, so the last peer's branch is in presync from there on.
    assert_eq!(
        most,
        7 * MAX_HEADERS,
        "disconnections {:?}",
        subject.disconnections
    );
    assert!(most <= MAX_SHARED_HEADERS);
}

// A hostile peer fills the mempool with readings of fresh keys, one each, and refills it whenever a block frees slots.
// That costs it no work, and still a new author's reading gets in soon.
#[test]
fn new_author_gets_into_a_full_mempool() {
    let mut subject = Subject::miner(50);
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 3));
    subject.connect(2);
    let mut key = 20_000;
    for _ in 0..12 {
        while subject.machine.load().mempool < MAX_NEWCOMER_READINGS {
            subject.gossip_reading(2, &reading(key, 0));
            key += 1;
        }
        subject.gossip_reading(1, &reading(7_777, 0));
        let mut pending = subject.machine.pending();
        if pending.any(|waiting| *waiting == reading(7_777, 0)) {
            return;
        }
        drop(pending);
        for _ in 0..6 {
            subject.advance(1_000);
            subject.find_nonce();
        }
    }
    let blocks = subject.machine.status().index - 3;
    panic!("not accepted in 12 tries, with {blocks} blocks mined in the meantime");
}
