//! When a machine mines, and which readings.

use heartchain_chain::{hash::BlockHash, time::UnixMillis};
use heartchain_sync::config::{
    ACTIVE_BLOCKS, MAX_OWN_WAIT, OTHERS_WAIT, OTHERS_WAIT_SPREAD, OWN_WAIT_PER_AUTHOR,
    TEMPLATE_INTERVAL,
};
use heartchain_test_support::{Branch, Driver as _, reading};

use crate::subject::Subject;

#[test]
fn idle_room_mines_own_reading_at_once() {
    let mut subject = Subject::miner(7);
    subject.record(72);
    assert!(subject.state.job.is_some());
}

#[test]
fn busy_room_delays_mining_randomly_and_briefly() {
    for (authors, longest) in [(30, 30 * OWN_WAIT_PER_AUTHOR), (300, MAX_OWN_WAIT)] {
        let mut branch = Branch::new();
        // Blocks older than `ACTIVE_BLOCKS` do not count.
        branch.push((1_000..1_500).map(|author| reading(author, 0)).collect());
        for block in 0..ACTIVE_BLOCKS as u64 {
            let share = authors / ACTIVE_BLOCKS as u64;
            let readings = match share {
                0 => vec![reading(block % authors, block / authors)],
                share => (0..share)
                    .map(|of| reading(block * share + of, 0))
                    .collect(),
            };
            branch.push(readings);
        }
        let mut waited = Vec::new();
        for author in 2_000..2_012 {
            let mut subject = Subject::miner(author);
            subject.connect(1);
            subject.serve(1, &branch);
            subject.disconnect(1);
            subject.record(72);
            let mut wait = 0;
            while subject.state.job.is_none() {
                subject.advance(10);
                wait += 10;
                assert!(wait <= longest + 10, "{authors} authors: {wait} ms");
            }
            waited.push(wait);
        }
        waited.sort_unstable();
        assert!(
            waited[11] > longest / 2 && waited[0] < longest / 2,
            "{authors} authors: {waited:?}"
        );
    }
}

#[test]
fn readings_of_others_are_mined_after_a_delay() {
    let mut waits = Vec::new();
    for author in 10..22 {
        let mut subject = Subject::miner(author);
        subject.connect(1);
        subject.serve(1, &Branch::new());
        subject.gossip_reading(1, &reading(2, 0));
        subject.advance(OTHERS_WAIT - 1);
        assert!(
            subject.state.job.is_none(),
            "its author should mine it first"
        );
        let mut wait = OTHERS_WAIT - 1;
        while subject.state.job.is_none() {
            subject.advance(10);
            wait += 10;
            assert!(wait <= OTHERS_WAIT + OTHERS_WAIT_SPREAD + 10, "{wait} ms");
        }
        waits.push(wait);
    }
    waits.sort_unstable();
    assert!(
        waits[11] > waits[0] + OTHERS_WAIT_SPREAD / 4,
        "the delay is random: {waits:?}"
    );
}

#[test]
fn template_refresh_is_limited_but_new_tip_is_instant() {
    let mut subject = Subject::miner(7);
    subject.record(72);
    let first = subject.state.job.expect("it mines");
    subject.record(73);
    subject.advance(TEMPLATE_INTERVAL - 1);
    assert_eq!(
        subject.state.job,
        Some(first),
        "the next template includes the reading"
    );
    subject.advance(1);
    let second = subject.state.job.expect("it mines");
    assert_ne!(second.1.readings_root, first.1.readings_root);
    assert_eq!(
        second.1.time,
        UnixMillis::new(first.1.time.get() + TEMPLATE_INTERVAL),
        "the template's timestamp is updated, too"
    );
    subject.connect(1);
    subject.serve(1, &Branch::new());
    let branch = Branch::of(1, 1);
    subject.gossip_block(1, &branch.blocks[0]);
    let tip: Option<BlockHash> = subject.state.job.map(|(_, header)| header.prev_hash);
    assert_eq!(tip, Some(branch.tip()));
}
