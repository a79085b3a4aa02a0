//! Regression tests for faults that reviews found, one each: nothing confirmed is lost, and no peer can stop this one.

use heartchain_chain::{hash::BlockHash, mempool::MAX_AHEAD, time::UnixMillis};
use heartchain_sync::{
    Event, Input,
    config::{
        CONFIRMED_AFTER, CONFIRMED_AT_ANY_DEPTH_AFTER, HEADER_TURN, LOST_SEQ_PATIENCE,
        MAX_LISTED_ROWS, REQUEST_TIMEOUT, VERDICT_PATIENCE,
    },
    io::Verdict,
    message::{MAX_IDS, MempoolRow, Request, Response},
};
use heartchain_test_support::{Branch, Driver as _, START, key, reading};

use crate::{
    fixtures::{YEAR, with_confirmed, with_lost_journal_entries},
    hostile::{refuse_bodies, serve_claim},
    subject::{Subject, is_listing},
};

const DAY: u64 = 24 * 3_600_000;

#[test]
fn slow_clock_at_start_loses_no_blocks() {
    let mut branch = Branch::new();
    for seq in 0..20 {
        for author in 100..130 {
            branch.push(vec![reading(author, seq)]);
        }
    }
    let subject = with_confirmed(&branch);
    let before = subject.readings();
    for open in [2_000, 10_000, 60_000] {
        let mut slow = subject.reopen(-YEAR);
        assert!(slow.machine.status().held_back.is_some());
        for _ in 0..open / 500 {
            slow.advance(500);
            slow.find_nonce();
        }
        let mut right = slow.reopen(0);
        right.advance(1_000);
        assert_eq!(right.tip(), branch.tip(), "open for {open} ms");
        assert_eq!(right.machine.status().held_back, None);
        assert!(right.readings().is_superset(&before));
    }
}

#[test]
fn held_back_blocks_return_when_due() {
    let branch = Branch::min_difficulty(START - 100_000, 1, 50);
    let subject = with_confirmed(&branch);
    let mut slow = subject.reopen(-2 * 3_600_000);
    let held = slow.machine.status().held_back.expect("a slow clock");
    assert_eq!(held.blocks, 50);
    assert!(held.until > UnixMillis::new(slow.now - 2 * 3_600_000));
    slow.advance(3_600_000);
    assert_eq!(slow.machine.status().index, 0);
    slow.advance(3_600_000);
    assert_eq!(slow.tip(), branch.tip());
}

#[test]
fn mining_continues_after_clock_is_set_back() {
    let mut subject = Subject::miner(50);
    subject.clock_offset = YEAR;
    for _ in 0..20 {
        subject.record(72);
        subject.advance(1_000);
        assert!(subject.find_nonce());
    }
    assert_eq!(subject.machine.status().index, 20);
    subject.clock_offset = 0;
    subject.feed(Input::Tick);
    let by = YEAR.unsigned_abs();
    assert!(subject.events.contains(&Event::ClockSetBack { by }));
    assert_eq!(subject.machine.status().index, 0);
    let branch = Branch::of(1, 5);
    for peer in 1..5 {
        subject.connect(peer);
        subject.serve(peer, &branch);
    }
    subject.record(80);
    for _ in 0..20 {
        subject.advance(1_000);
        for peer in 1..5 {
            subject.serve(peer, &branch);
        }
        subject.find_nonce();
    }
    assert!(
        subject.machine.status().index > 5,
        "it mines its own readings"
    );
    let own = subject.machine.own_readings(100);
    assert_eq!(own.len(), 21);
    assert!(own.iter().all(|own| own.index.is_some()));
}

#[test]
fn false_peer_clocks_hold_no_block_back() {
    // Three peers report a time an hour earlier. Their median affects the validation of new blocks, not of accepted
    // ones.
    let branch = Branch::min_difficulty(START - 100_000, 1, 50);
    let mut subject = Subject::new();
    for peer in 1..=3 {
        subject.connect(peer);
        while let Some((id, request)) = subject.open_request(peer, |_| true) {
            let mut response = crate::subject::honest_response(&branch, &request, |_| true);
            if let Response::Status(status) = &mut response {
                status.now = UnixMillis::new(subject.now - 3_000_000);
            }
            subject.respond(peer, id, response.encode());
        }
    }
    subject.advance(10_000);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn withheld_bodies_do_not_stop_mining() {
    // Branches that are longer by this many blocks, offered repeatedly.
    for longer in [1, 4, 20] {
        let branch = Branch::of(1, 3);
        let mut subject = Subject::miner(50);
        for peer in [1, 2] {
            subject.connect(peer);
            subject.serve(peer, &branch);
        }
        subject.record(72);
        let (mut mining, mut all) = (0, 0);
        for round in 0..60_u64 {
            let mut rival = branch.clone();
            for number in 0..longer {
                let readings = vec![reading(99, number)];
                let block = rival.mine_next(readings, START - 9_000_000 + 1_000 * round + number);
                rival.append(block);
            }
            let blocks = &rival.blocks[3..];
            let hashes: Vec<BlockHash> = blocks.iter().map(|block| block.header.hash()).collect();
            let claim = rival.status();
            subject.receive_status(2, claim);
            for _ in 0..99 {
                serve_claim(&mut subject, 2, claim, blocks);
                refuse_bodies(&mut subject, 1, &hashes);
                subject.serve(1, &branch);
                subject.advance(100);
                all += 100;
                mining += u64::from(subject.state.job.is_some()) * 100;
            }
            refuse_bodies(&mut subject, 2, &hashes);
        }
        assert!(
            mining * 10 >= all * 7,
            "{longer} longer: {mining} of {all} ms, {:?}",
            subject.disconnections
        );
    }
}

#[test]
fn silent_peers_delay_headers_by_their_turns_only() {
    let branch = Branch::of(1, 50);
    let mut claim = branch.status();
    claim.tip = BlockHash::new([7; 32]);
    claim.total_work = heartchain_chain::work::Work::from_le_bytes([0x7f; 32]);
    let mut subject = Subject::new();
    // All silent peers have lower IDs than the honest one, and one reconnects as soon as its turn ends.
    for peer in 1..24 {
        subject.connect(peer);
    }
    subject.connect(24);
    let began = subject.now;
    while subject.tip() != branch.tip() && subject.now < began + 60_000 {
        for peer in 1..24 {
            while let Some((id, request)) =
                subject.open_request(peer, |request| matches!(request, Request::Status(_)))
            {
                drop(request);
                subject.respond(peer, id, Response::Status(claim).encode());
            }
        }
        subject.serve(24, &branch);
        subject.disconnect(1);
        subject.connect(1);
        subject.advance(100);
    }
    assert_eq!(subject.tip(), branch.tip());
    let waited = subject.now - began;
    assert!(waited <= 12 * HEADER_TURN + 1_000, "after {waited} ms");
}

#[test]
fn side_block_out_of_sequence_is_not_kept() {
    let branch = Branch::of(1, 11);
    let mut subject = with_confirmed(&branch);
    subject.connect(2);
    let base = branch.prefix(7);
    let before = subject.state.disk.blocks.len();
    let time = START - 10_000_000 + 8_000;
    // A reading at least 1,024 ahead of its author's next sequence number, in a side block.
    let block = base.mine_next(vec![reading(20_000, MAX_AHEAD + 5)], time);
    let id = subject.gossip_block(2, &block);
    assert_eq!(subject.verdict(id), Some(Verdict::Reject));
    assert!(subject.ban_reason(2).is_some());
    assert_eq!(subject.state.disk.blocks.len(), before);
    assert_eq!(subject.machine.load().recovery, 0);
    // A side block in sequence is kept.
    let block = base.mine_next(vec![reading(20_000, 0)], time);
    subject.connect(3);
    subject.gossip_block(3, &block);
    assert_eq!(subject.state.disk.blocks.len(), before + 1);
}

#[test]
fn left_reading_returns_promptly_among_many() {
    let common = Branch::of(1, 10);
    let (mut left, mut better) = (common.clone(), common.clone());
    left.push(vec![reading(77, 0)]);
    better.push(vec![reading(78, 0)]);
    better.push(vec![reading(78, 1)]);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &left);
    let base = common.prefix(9);
    for number in 0..500 {
        let block = base.mine_next(vec![reading(20_000, 0)], START - 9_000_000 + number);
        subject.gossip_block(1, &block);
    }
    subject.disconnect(1);
    subject.connect(2);
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    let mut pending = subject.machine.pending();
    assert!(pending.any(|waiting| *waiting == reading(77, 0)));
    drop(pending);
    subject.disconnect(2);
    let read = subject.state.disk.bodies_read;
    subject.advance(DAY);
    let read = subject.state.disk.bodies_read - read;
    assert!(read < 60_000, "{read} bodies read in a day");
}

#[test]
fn confirmed_reading_of_a_left_branch_is_never_lost() {
    let common = Branch::of(1, 10);
    let mut left = common.clone();
    left.push(vec![reading(77, 0)]);
    left.grow(1, 8);
    let mut better = common.clone();
    better.grow(78, 30);
    let mut subject = with_confirmed(&left);
    subject.connect(2);
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    let waits = |subject: &Subject| {
        let mut pending = subject.machine.pending();
        pending.any(|waiting| *waiting == reading(77, 0))
    };
    assert!(waits(&subject));
    // The side branch is so deep that the tree prunes it. The author never returns.
    better.grow(78, 1_100);
    subject.receive_status(2, better.status());
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    let mut again = subject.reopen(0);
    again.advance(1_000);
    assert!(waits(&again), "after a second restart");
    let mut again = again.reopen(0);
    again.advance(1_000);
    assert!(waits(&again));
    // Once the reading is confirmed again, its old block is deleted.
    again.connect(3);
    better.push(vec![reading(77, 0)]);
    again.receive_status(3, better.status());
    again.serve(3, &better);
    better.grow(78, 6);
    again.receive_status(3, better.status());
    again.serve(3, &better);
    let old = left.blocks[10].header.hash();
    assert!(again.state.disk.recovery.contains(&old));
    again.advance(3 * CONFIRMED_AFTER);
    assert!(!again.state.disk.recovery.contains(&old));
    assert!(!again.state.disk.blocks.contains_key(&old));
}

#[test]
fn reorg_after_a_failed_write_confirms_nothing() {
    let left = Branch::of(1, 20);
    let mut better = left.prefix(17);
    better.grow(2, 4);
    let mut subject = with_confirmed(&left);
    subject.connect(2);
    let (last, others) = better.blocks[17..].split_last().expect("blocks");
    for block in others {
        subject.gossip_block(2, block);
    }
    subject.state.disk.held_writes = Some(Vec::new());
    subject.advance(CONFIRMED_AT_ANY_DEPTH_AFTER);
    // The block that is confirmed now is written again and again, and no write succeeds.
    for _ in 0..2 {
        subject.fail_held_writes(false);
        subject.state.disk.held_writes = Some(Vec::new());
        subject.feed(Input::Tick);
    }
    subject.fail_held_writes(false);
    subject.gossip_block(2, last);
    assert_eq!(subject.tip(), better.tip());
    let confirmed = subject.state.disk.confirmed.expect("a confirmed block");
    let in_common = better.position(&confirmed).is_none_or(|at| at < 17);
    assert!(in_common, "no block of the new branch is confirmed yet");
}

#[test]
fn left_reading_is_offered_again_after_a_restart() {
    let common = Branch::of(1, 10);
    let (mut left, mut better) = (common.clone(), common.clone());
    left.push(vec![reading(77, 0)]);
    better.push(vec![reading(78, 0)]);
    better.push(vec![reading(78, 1)]);
    let mut subject = Subject::new();
    for (peer, branch) in [(1, &left), (2, &better)] {
        subject.connect(peer);
        subject.serve(peer, branch);
    }
    let mut again = subject.reopen(0);
    again.advance(1_000);
    let mut pending = again.machine.pending();
    assert!(pending.any(|waiting| *waiting == reading(77, 0)));
}

#[test]
fn every_gossip_item_gets_a_verdict() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 10));
    // Blocks with unknown parents, from peers that disconnect.
    let mut other = Branch::of(2, 1);
    let mut ids = Vec::new();
    for peer in 1_000..1_064 {
        subject.connect(peer);
        for _ in 0..4 {
            let seq = other.blocks.len() as u64;
            let block = other.push(vec![reading(2, seq)]);
            ids.push(subject.gossip_block(peer, &block));
        }
        subject.advance(500);
        subject.disconnect(peer);
    }
    subject.advance(VERDICT_PATIENCE);
    let judged = ids.iter().filter(|id| subject.verdict(**id).is_some());
    assert_eq!(judged.count(), ids.len());
}

#[test]
fn seq_gaps_of_many_keys_do_not_block_new_authors() {
    let branch = Branch::of(1, 3);
    let mut subject = Subject::miner(50);
    subject.connect(1);
    subject.serve(1, &branch);
    for author in 10_000..10_128 {
        for seq in 1..=32 {
            subject.gossip_reading(1, &reading(author, seq));
        }
    }
    subject.connect(2);
    let id = subject.gossip_reading(2, &reading(7_777, 0));
    assert!(subject.verdict(id).is_some());
    let mut pending = subject.machine.pending();
    assert!(pending.any(|waiting| *waiting == reading(7_777, 0)));
}

#[test]
fn endless_mempool_listing_is_cut_off() {
    let mut subject = Subject::new();
    subject.connect(1);
    let mut rows = 0;
    for page in 0..20_u64 {
        let Some((id, _)) = subject.open_request(1, is_listing) else {
            break;
        };
        let page: Vec<MempoolRow> = (0..MAX_IDS as u64)
            .map(|row| {
                let mut author = [0; 32];
                author[..8].copy_from_slice(&(page * MAX_IDS as u64 + row).to_be_bytes());
                MempoolRow {
                    author: heartchain_chain::key::Author::new(author),
                    seq: MAX_AHEAD,
                    id: heartchain_chain::hash::ReadingId::new(author),
                }
            })
            .collect();
        rows += page.len();
        subject.respond(1, id, Response::MempoolIds(page).encode());
    }
    assert!(rows <= MAX_LISTED_ROWS, "{rows} rows");
}

#[test]
fn reading_time_is_the_wall_clock_at_recording() {
    let mut subject = Subject::new();
    subject.clock_offset = YEAR;
    subject.record(60);
    subject.clock_offset = 0;
    subject.advance(10);
    subject.record(61);
    subject.record(62);
    let times: Vec<u64> = subject
        .machine
        .own_readings(9)
        .iter()
        .map(|own| own.time.get())
        .collect();
    assert_eq!(times, [START + 10, START + 10, START + YEAR.unsigned_abs()]);
    // Journal entries are identified by position, so a restart yields the same readings.
    let again = subject.reopen(0);
    assert_eq!(
        again.machine.own_readings(9),
        subject.machine.own_readings(9)
    );
}

#[test]
fn adopted_readings_are_offered_until_confirmed() {
    let branch = Branch::of(1, 12);
    let mut subject = with_confirmed(&branch);
    let readings: Vec<_> = (0..3).map(|seq| reading(500, seq)).collect();
    let ticket = subject.adopt(readings.clone());
    assert!(subject.events.contains(&Event::Adopted {
        ticket,
        result: Ok(3)
    }));
    assert_eq!(subject.state.disk.adopted.len(), 3);
    let mut again = subject.reopen(0);
    assert_eq!(again.machine.load().adopted, 3);
    for _ in 0..20 {
        again.advance(1_000);
        again.find_nonce();
    }
    assert_eq!(again.machine.next_seq(&key(500).author()), 3);
    assert_eq!(again.state.disk.adopted.len(), 3, "not confirmed yet");
    for _ in 0..8 {
        again.record(70);
        again.advance(1_000);
        again.find_nonce();
    }
    again.advance(2 * CONFIRMED_AFTER);
    assert_eq!(again.state.disk.adopted.len(), 3, "no peer has seen it");
    again.connect(9);
    let status = again.machine.status();
    let claim = heartchain_sync::message::StatusMessage {
        tip: status.tip,
        index: status.index,
        total_work: status.total_work,
        now: UnixMillis::new(again.now),
        binding: None,
    };
    again.receive_status(9, claim);
    again.advance(1_000);
    assert_eq!(again.state.disk.adopted.len(), 0);
    // Confirmed readings are not adopted again.
    again.adopt(readings);
    assert_eq!(again.state.disk.adopted.len(), 0);
}

#[test]
fn lost_store_is_rewritten() {
    let branch = Branch::of(1, 30);
    let mut subject = with_confirmed(&branch);
    for bpm in 60..65 {
        subject.record(bpm);
    }
    let journal = subject.state.disk.journal.clone();
    subject.state.disk.blocks.clear();
    subject.state.disk.journal.clear();
    subject.state.disk.recovery.clear();
    subject.state.disk.tip = None;
    subject.feed(Input::StoreReset);
    assert_eq!(subject.state.disk.journal, journal);
    assert_eq!(subject.state.disk.tip, Some(branch.tip()));
    subject.connect(2);
    for _ in 0..5 {
        subject.serve(2, &branch);
        subject.advance(1_000);
    }
    assert_eq!(subject.state.disk.blocks.len(), 30);
    assert_eq!(subject.machine.load().missing_bodies, 0);
    let again = subject.reopen(0);
    assert_eq!(again.tip(), branch.tip());
    assert_eq!(again.machine.own_readings(9).len(), 5);
}

#[test]
fn lost_journal_entries_reuse_no_seq() {
    let (_, mut again) = with_lost_journal_entries();
    again.record(99);
    let recorded = again.events.iter().find_map(|event| {
        if let Event::Recorded { seq, .. } = event {
            return Some(*seq);
        }
        None
    });
    assert_eq!(recorded, Some(10));
    // No peer has the lost readings, so later entries are signed with a fresh key and get into the chain.
    let branch = Branch::of(1, 3);
    again.connect(1);
    for _ in 0..(LOST_SEQ_PATIENCE + REQUEST_TIMEOUT) / 1_000 {
        again.serve(1, &branch);
        again.advance(1_000);
        again.find_nonce();
    }
    assert_ne!(again.machine.author(), key(50).author());
    let own = again.machine.own_readings(20);
    assert_eq!(own.len(), 5);
    assert!(own.iter().all(|own| own.index.is_some()), "{own:?}");
}
