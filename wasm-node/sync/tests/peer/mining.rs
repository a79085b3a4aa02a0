//! When a machine mines, and what.

use chain::{hash::BlockHash, time::UnixMillis};
use sync::config::{
    ACTIVE_BLOCKS, MAX_OWN_WAIT, OTHERS_WAIT, OTHERS_WAIT_SPREAD, OWN_WAIT_PER_AUTHOR,
    TEMPLATE_INTERVAL,
};

use crate::{
    branch::{Branch, reading},
    subject::Subject,
};

#[test]
fn calm_room_mines_ones_own_reading_at_once() {
    let mut subject = Subject::miner(7);
    subject.record(72);
    assert!(subject.job.is_some());
}

#[test]
fn busy_room_makes_one_wait_by_chance_and_not_for_long() {
    for (authors, longest) in [(30, 30 * OWN_WAIT_PER_AUTHOR), (300, MAX_OWN_WAIT)] {
        let mut branch = Branch::new();
        // What is older than the blocks looked at does not count.
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
            while subject.job.is_none() {
                subject.wait(10);
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
fn readings_of_others_are_mined_once_they_have_waited() {
    let mut waits = Vec::new();
    for author in 10..22 {
        let mut subject = Subject::miner(author);
        subject.connect(1);
        subject.serve(1, &Branch::new());
        subject.gossip_reading(1, &reading(2, 0));
        subject.wait(OTHERS_WAIT - 1);
        assert!(subject.job.is_none(), "its author is to mine it");
        let mut wait = OTHERS_WAIT - 1;
        while subject.job.is_none() {
            subject.wait(10);
            wait += 10;
            assert!(wait <= OTHERS_WAIT + OTHERS_WAIT_SPREAD + 10, "{wait} ms");
        }
        waits.push(wait);
    }
    waits.sort_unstable();
    assert!(
        waits[11] > waits[0] + OTHERS_WAIT_SPREAD / 4,
        "by chance: {waits:?}"
    );
}

#[test]
fn template_is_made_anew_at_most_so_often_but_for_a_new_tip_at_once() {
    let mut subject = Subject::miner(7);
    subject.record(72);
    let first = subject.job.expect("it mines");
    subject.record(73);
    subject.wait(TEMPLATE_INTERVAL - 1);
    assert_eq!(
        subject.job,
        Some(first),
        "the next one takes the reading in"
    );
    subject.wait(1);
    let second = subject.job.expect("it mines");
    assert_ne!(second.1.readings_root, first.1.readings_root);
    assert_eq!(
        second.1.time,
        UnixMillis::new(first.1.time.get() + TEMPLATE_INTERVAL),
        "and the time"
    );
    subject.connect(1);
    subject.serve(1, &Branch::new());
    let branch = Branch::of(1, 1);
    subject.gossip_block(1, &branch.blocks[0]);
    let tip: Option<BlockHash> = subject.job.map(|(_, header)| header.prev_hash);
    assert_eq!(tip, Some(branch.tip()));
}
