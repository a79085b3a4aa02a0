//! Verdicts on gossip: what is accepted and forwarded, what is rejected and counts against the forwarder, and what is
//! ignored.

use heartchain_chain::{
    bpm::Bpm, content::Content, hash::BlockHash, time::UnixMillis, work::CompactTarget,
};
use heartchain_sync::{
    Event,
    config::{MAX_ORPHANS, MAX_ORPHANS_PER_PEER, SIDE_BLOCKS_REACH, VERDICT_PATIENCE},
    io::{DisconnectReason, Topic, Verdict},
};
use heartchain_test_support::{
    Branch, Driver as _, START, Tampering as _, key, reading, room, solve,
};

use crate::subject::Subject;

fn subject_at(branch: &Branch) -> Subject {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, branch);
    assert_eq!(subject.tip(), branch.tip());
    subject
}

#[test]
fn new_reading_is_accepted_once() {
    let mut subject = subject_at(&Branch::of(1, 2));
    let first = subject.gossip_reading(1, &reading(2, 0));
    assert_eq!(subject.verdict(first), Some(Verdict::Accept));
    assert!(subject.events.contains(&Event::Reading(reading(2, 0))));
    let again = subject.gossip_reading(1, &reading(2, 0));
    assert_eq!(subject.verdict(again), Some(Verdict::Ignore));
    assert_eq!(subject.machine.load().mempool, 1);
}

#[test]
fn known_or_far_ahead_reading_is_ignored() {
    let mut subject = subject_at(&Branch::of(1, 2));
    for seq in [0, 1, 1_026] {
        let id = subject.gossip_reading(1, &reading(1, seq));
        assert_eq!(subject.verdict(id), Some(Verdict::Ignore), "seq {seq}");
    }
    let id = subject.gossip_reading(1, &reading(1, 1_025));
    assert_eq!(
        subject.verdict(id),
        Some(Verdict::Accept),
        "1,023 ahead of the next sequence number"
    );
    assert!(subject.disconnections.is_empty());
}

#[test]
fn conflicting_reading_is_ignored_and_reported() {
    let mut subject = subject_at(&Branch::new());
    subject.gossip_reading(1, &reading(2, 0));
    let other = key(2).sign(room().id(), 0, UnixMillis::new(5), Bpm::MAX);
    let id = subject.gossip_reading(1, &other);
    assert_eq!(subject.verdict(id), Some(Verdict::Ignore));
    let author = key(2).author();
    assert!(
        subject
            .events
            .contains(&Event::Equivocation { author, seq: 0 })
    );
    assert!(subject.disconnections.is_empty());
}

#[test]
fn next_block_is_accepted_and_losing_rival_kept() {
    let mut branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    let (a, b) = (
        branch.mine_next(vec![reading(2, 0)], START),
        branch.mine_next(vec![reading(3, 0)], START),
    );
    let (better, worse) = if a.header.hash() < b.header.hash() {
        (a, b)
    } else {
        (b, a)
    };
    let id = subject.gossip_block(1, &better);
    assert_eq!(subject.verdict(id), Some(Verdict::Accept));
    let id = subject.gossip_block(1, &worse);
    assert_eq!(subject.verdict(id), Some(Verdict::Ignore));
    assert_eq!(subject.tip(), better.header.hash());
    assert!(subject.machine.header(&worse.header.hash()).is_some());
    assert!(
        subject.machine.pending().eq(&worse.readings),
        "the readings of the losing block are pending"
    );
    branch.append(worse);
    let on_worse = branch.mine_next(vec![reading(1, 3)], START + 1);
    let id = subject.gossip_block(1, &on_worse);
    assert_eq!(subject.verdict(id), Some(Verdict::Accept));
    assert_eq!(subject.tip(), on_worse.header.hash());
}

#[test]
fn invalid_blocks_get_specific_errors() {
    let branch = Branch::of(1, 3);
    let good = branch.mine_next(vec![reading(2, 0)], START);
    let mut forged = reading(2, 0);
    forged = forged.with_bpm(73);
    let mut slow = reading(2, 0);
    slow = slow.with_bpm(0);
    let mut fast = reading(2, 0);
    fast = fast.with_bpm(u16::MAX);
    let other_room = key(2).sign(
        heartchain_chain::hash::RoomId::new([1; 32]),
        0,
        UnixMillis::new(START),
        Bpm::MIN,
    );
    let mut cases = Vec::new();
    for (what, readings) in [
        ("signature", vec![forged]),
        ("0 beats per minute", vec![slow]),
        ("65535 beats per minute", vec![fast]),
        ("signature", vec![other_room]),
        ("is not author", vec![reading(2, 0), reading(2, 2)]),
        (
            "has seq 5, its next on this branch is 0",
            vec![reading(2, 5)],
        ),
        (
            "has seq 1, its next on this branch is 3",
            vec![reading(1, 1)],
        ),
        ("0 readings are fewer", vec![]),
    ] {
        cases.push((what, branch.mine_next(readings, START)));
    }
    let mut block = good.clone();
    while block
        .header
        .bits
        .target()
        .expect("a target")
        .is_met_by(&block.header.hash())
    {
        block.header.nonce += 1;
    }
    cases.push(("exceeds the target", block));
    let mut block = good.clone();
    block.header.bits = CompactTarget::from_bits(block.header.bits.to_bits() - 1);
    solve(&mut block.header);
    cases.push(("difficulty asks for", block));
    let mut block = good.clone();
    block.readings = vec![reading(3, 0)];
    cases.push(("readings root", block));
    let mut block = good.clone();
    block.header.index += 1;
    solve(&mut block.header);
    cases.push(("does not follow", block));
    let mut block = good.clone();
    block.header.version = 2;
    solve(&mut block.header);
    cases.push(("version", block));
    cases.push((
        "median",
        branch.mine_next(vec![reading(2, 0)], START - 11_000_000),
    ));
    for (what, block) in cases {
        let mut subject = subject_at(&branch);
        let before = subject.machine.status();
        let id = subject.gossip_block(1, &block);
        assert_eq!(subject.verdict(id), Some(Verdict::Reject), "{what}");
        let reason = subject
            .ban_reason(1)
            .unwrap_or_else(|| panic!("{what}: banned"))
            .to_string();
        assert!(reason.contains(what), "{what}: {reason}");
        let after = subject.machine.status();
        assert_eq!(
            (after.tip, after.total_work),
            (before.tip, before.total_work),
            "{what}"
        );
        assert_eq!(after.mempool, 0, "{what}");
        // The same header with its honest body is still accepted, unless the header itself is invalid.
        subject.connect(2);
        let id = subject.gossip_block(2, &good);
        assert_eq!(subject.verdict(id), Some(Verdict::Accept), "{what}");
    }
}

type Tamper = fn(&mut heartchain_chain::reading::Reading);

#[test]
fn invalid_readings_get_specific_errors() {
    let good = reading(2, 0);
    let cases: [(&str, Tamper); 5] = [
        ("is not author", |reading| *reading = reading.with_bpm(99)),
        ("below 20", |reading| *reading = reading.with_bpm(0)),
        ("above 400", |reading| *reading = reading.with_bpm(u16::MAX)),
        ("later than", |reading| {
            let time = UnixMillis::new(u64::MAX);
            reading.content = Content::Open { time, bpm: 72 };
        }),
        ("small order", |reading| {
            reading.author = heartchain_chain::key::Author::new([0; 32])
        }),
    ];
    for (what, spoil) in cases {
        let mut subject = subject_at(&Branch::new());
        let mut bad = good;
        spoil(&mut bad);
        let id = subject.gossip_reading(1, &bad);
        assert_eq!(subject.verdict(id), Some(Verdict::Reject), "{what}");
        let reason = subject.ban_reason(1).expect("banned").to_string();
        assert!(reason.contains(what), "{what}: {reason}");
        assert_eq!(subject.machine.load().mempool, 0, "{what}");
    }
}

/// Verified signatures are cached, and a reading's ID does not cover its signature. The cache must therefore apply only
/// to exactly the bytes that were verified.
#[test]
fn pending_reading_vouches_only_for_its_signature() {
    let branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    let waiting = reading(2, 0);
    let id = subject.gossip_reading(1, &waiting);
    assert_eq!(subject.verdict(id), Some(Verdict::Accept));
    let before = subject.tip();
    let mut forged = waiting;
    forged.signature = reading(2, 1).signature;
    let block = branch.mine_next(vec![forged], START);
    subject.connect(2);
    let id = subject.gossip_block(2, &block);
    assert_eq!(subject.verdict(id), Some(Verdict::Reject));
    assert!(matches!(
        subject.ban_reason(2),
        Some(DisconnectReason::BadBody(_))
    ));
    assert_eq!(subject.tip(), before);
    assert_eq!(
        subject.machine.load().mempool,
        1,
        "the honest one still waits"
    );
}

#[test]
fn undecodable_bytes_are_rejected() {
    let cases = [
        (Topic::Readings, vec![]),
        (Topic::Readings, vec![0; 113]),
        (Topic::Readings, vec![0; 115]),
        (Topic::Blocks, vec![0; 10]),
        (Topic::Blocks, vec![0xff; 97]),
        (Topic::Blocks, vec![0; 160 * 1024]),
        (Topic::Profiles, vec![0; 104]),
        (Topic::Profiles, vec![0; 106]),
    ];
    for (topic, data) in cases {
        let mut subject = subject_at(&Branch::new());
        let id = subject.gossip(1, topic, data);
        assert_eq!(subject.verdict(id), Some(Verdict::Reject));
        let what = match topic {
            Topic::Readings => "a gossiped reading",
            Topic::Blocks => "a gossiped block",
            Topic::Profiles => "a gossiped profile",
        };
        assert_eq!(
            subject.ban_reason(1),
            Some(&DisconnectReason::Undecodable(what))
        );
    }
}

#[test]
fn orphan_is_judged_once_its_parent_arrives() {
    let mut branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    let parent = branch.push(vec![reading(2, 0)]);
    let orphan = branch.push(vec![reading(2, 1)]);
    let id = subject.gossip_block(1, &orphan);
    assert_eq!(subject.verdict(id), None);
    assert_eq!(subject.machine.load().orphans, 1);
    let of_parent = subject.gossip_block(1, &parent);
    assert_eq!(subject.verdict(of_parent), Some(Verdict::Accept));
    assert_eq!(subject.verdict(id), Some(Verdict::Accept));
    assert_eq!(subject.tip(), orphan.header.hash());
    assert_eq!(subject.machine.load().orphans, 0);
}

#[test]
fn orphan_without_a_parent_is_ignored_after_a_while() {
    let mut branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    branch.push(vec![reading(2, 0)]);
    let orphan = branch.push(vec![reading(2, 1)]);
    let id = subject.gossip_block(1, &orphan);
    subject.advance(VERDICT_PATIENCE - 1);
    assert_eq!(subject.verdict(id), None);
    subject.advance(1);
    assert_eq!(subject.verdict(id), Some(Verdict::Ignore));
    assert_eq!(subject.machine.load().orphans, 0);
    // In the meantime its sender was asked for headers.
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn orphan_below_minimum_work_is_rejected() {
    let mut branch = Branch::of(1, 2);
    let mut subject = subject_at(&branch);
    branch.push(vec![reading(2, 0)]);
    let mut orphan = branch.mine_next(vec![reading(2, 1)], START);
    while orphan
        .header
        .bits
        .target()
        .expect("a target")
        .is_met_by(&orphan.header.hash())
    {
        orphan.header.nonce += 1;
    }
    let id = subject.gossip_block(1, &orphan);
    assert_eq!(subject.verdict(id), Some(Verdict::Reject));
    // Valid work does not help if the target is easier than the room's minimum difficulty.
    let mut subject = subject_at(&Branch::of(1, 2));
    orphan.header.bits = CompactTarget::from_bits(0x2100_ffff);
    let id = subject.gossip_block(1, &orphan);
    assert_eq!(subject.verdict(id), Some(Verdict::Reject));
}

#[test]
fn early_block_is_held_until_due() {
    let branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    let early = branch.mine_next(vec![reading(2, 0)], START + 30_000 + 5_000);
    let id = subject.gossip_block(1, &early);
    assert_eq!(subject.verdict(id), None);
    subject.advance(VERDICT_PATIENCE);
    assert_eq!(
        subject.verdict(id),
        Some(Verdict::Ignore),
        "a gossip verdict cannot wait that long"
    );
    subject.advance(5_000 - VERDICT_PATIENCE - 1);
    assert_eq!(subject.tip(), branch.tip());
    subject.advance(1);
    assert_eq!(subject.tip(), early.header.hash());
    assert!(subject.disconnections.is_empty());
}

#[test]
fn block_far_ahead_of_the_clock_is_not_held() {
    let branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    for (ahead, held) in [(90_000, 1), (90_001, 1)] {
        let early = branch.mine_next(vec![reading(2, 0)], START + ahead);
        subject.gossip_block(1, &early);
        assert_eq!(subject.machine.load().orphans, held, "{ahead} ms ahead");
    }
    assert!(subject.disconnections.is_empty());
}

#[test]
fn orphan_pool_is_bounded_per_peer_and_in_total() {
    let branch = Branch::of(1, 2);
    let mut subject = subject_at(&branch);
    let orphan = |number: u64| {
        let mut block = branch.mine_next(vec![reading(2, 0)], START);
        block.header.prev_hash = BlockHash::new([7; 32]);
        block.header.time = UnixMillis::new(START + number);
        solve(&mut block.header);
        block
    };
    let mut number = 0;
    for peer in 1..=40 {
        subject.connect(peer);
        for of_peer in 0..6 {
            number += 1;
            let id = subject.gossip_block(peer, &orphan(number));
            let full =
                of_peer >= MAX_ORPHANS_PER_PEER || subject.machine.load().orphans == MAX_ORPHANS;
            let held = subject.verdict(id).is_none();
            assert!(full || held, "peer {peer}, block {of_peer}");
            assert!(!held || of_peer < MAX_ORPHANS_PER_PEER);
        }
    }
    assert_eq!(subject.machine.load().orphans, MAX_ORPHANS);
    subject.advance(VERDICT_PATIENCE);
    assert_eq!(subject.machine.load().orphans, 0);
    assert_eq!(subject.verdicts.len(), 240, "each is judged exactly once");
}

#[test]
fn block_far_behind_the_tip_is_ignored() {
    let branch = Branch::min_difficulty(START - 10_000_000, 1, 200);
    let mut subject = subject_at(&branch);
    let nearest = 200 - SIDE_BLOCKS_REACH;
    for (height, kept) in [(nearest - 1, false), (nearest, true)] {
        let time = START - 10_000_000 + 2_000 * height as u64 - 1_000;
        let rival = branch
            .prefix(height - 1)
            .mine_next(vec![reading(2, 0)], time);
        assert_eq!(rival.header.index, height as u64);
        let id = subject.gossip_block(1, &rival);
        assert_eq!(subject.verdict(id), Some(Verdict::Ignore));
        assert_eq!(
            subject.machine.header(&rival.header.hash()).is_some(),
            kept,
            "height {height}"
        );
    }
}

#[test]
fn block_that_waits_twice_gets_its_verdict_in_time() {
    let mut branch = Branch::of(1, 3);
    let mut subject = subject_at(&branch);
    let parent = branch.push(vec![reading(1, 3)]);
    let early = branch.push_at(vec![reading(1, 4)], subject.now + 45_000);
    let id = subject.gossip_block(1, &early);
    subject.advance(VERDICT_PATIENCE - 500);
    // Now its parent is known, and it waits for the clock.
    subject.gossip_block(1, &parent);
    assert_eq!(subject.verdict(id), None);
    subject.advance(500);
    assert_eq!(subject.verdict(id), Some(Verdict::Ignore));
}
