//! The bounds of the mempool, each tested at the bound, and the order of its templates and listings.

use heartchain_chain::{
    block::MAX_AUTHOR_READINGS,
    bpm::Bpm,
    content::Content,
    key::{Author, SecretKey},
    mempool::{
        DISPLACED_BLOCKS, MAX_AHEAD, MAX_DISPLACED, MAX_NEWCOMER_GAPS, MAX_NEWCOMER_READINGS,
        MAX_PER_AUTHOR, MAX_PER_NEWCOMER, MAX_READINGS, Mempool, MempoolError, STALE_GAP_MS,
    },
    reading::Reading,
    time::MonotonicMillis,
    tree::IdPrefix,
};

use crate::fixtures::{ARRIVAL, NOW, room};

/// A reading with an invalid signature, because the mempool leaves verification to the caller.
fn unsigned(author: u32, seq: u64) -> Reading {
    let mut bytes = [3; 32];
    bytes[..4].copy_from_slice(&author.to_be_bytes());
    Reading {
        author: Author::new(bytes),
        seq,
        ..SecretKey::from_seed([1; 32]).sign(room().id(), 0, NOW, Bpm::MIN)
    }
}

const OWN: u32 = u32::MAX;

fn empty() -> Mempool {
    Mempool::new(unsigned(OWN, 0).author, 7)
}

/// `next` is the author's next `seq`; 0 makes it a newcomer.
fn put(mempool: &mut Mempool, author: u32, seq: u64, next: u64) -> Result<(), MempoolError> {
    let reading = unsigned(author, seq);
    mempool.insert(&reading, reading.id(room().id()), next, ARRIVAL)
}

fn is_waiting(mempool: &Mempool, author: u32, seq: u64) -> bool {
    mempool.contains(&unsigned(author, seq).id(room().id()))
}

#[test]
fn newcomer_quotas_are_32_and_4096() {
    let mut mempool = empty();
    for seq in 0..MAX_PER_NEWCOMER as u64 {
        assert_eq!(put(&mut mempool, 1, seq, 0), Ok(()));
    }
    let limit = MAX_PER_NEWCOMER;
    assert_eq!(
        put(&mut mempool, 1, 32, 0),
        Err(MempoolError::AuthorFull { limit })
    );
    let mut author = 2;
    while mempool.len() < MAX_NEWCOMER_READINGS {
        assert_eq!(put(&mut mempool, author, 0, 0), Ok(()));
        author += 1;
    }
    assert_eq!(
        put(&mut mempool, author, 0, 0),
        Ok(()),
        "evicts the last reading of the author with the most"
    );
    assert!(!is_waiting(&mempool, 1, 31));
    // All but the first of its readings are evicted for one author each.
    for (other, _) in (author + 1..).zip(2..MAX_PER_NEWCOMER) {
        assert_eq!(put(&mut mempool, other, 0, 0), Ok(()));
    }
    assert!(is_waiting(&mempool, 1, 0) && !is_waiting(&mempool, 1, 1));
    assert_eq!(
        put(&mut mempool, OWN - 1, 0, 0),
        Ok(()),
        "evicts any other, when each has one"
    );
    assert!(is_waiting(&mempool, OWN - 1, 0));
    assert_eq!(mempool.len(), MAX_NEWCOMER_READINGS);
    assert_eq!(
        put(&mut mempool, author, 1, 1),
        Ok(()),
        "an author on the chain is admitted"
    );
    assert_eq!(
        put(&mut mempool, OWN, 0, 0),
        Ok(()),
        "and so is the own one"
    );
    assert_eq!(mempool.len(), MAX_NEWCOMER_READINGS + 2);
}

#[test]
fn newcomer_gaps_leave_room_for_others() {
    let mut mempool = empty();
    for author in 0..128 {
        for seq in 1..=MAX_PER_NEWCOMER as u64 {
            let _ = put(&mut mempool, author, seq, 0);
        }
    }
    assert!(mempool.len() <= MAX_NEWCOMER_GAPS);
    assert_eq!(put(&mut mempool, 1_000, 0, 0), Ok(()));
    // Two that arrived in the wrong order.
    assert_eq!(put(&mut mempool, 1_001, 1, 0), Ok(()));
    assert_eq!(put(&mut mempool, 1_001, 0, 0), Ok(()));
    assert!(is_waiting(&mempool, 1_000, 0) && is_waiting(&mempool, 1_001, 1));
    assert!(mempool.len() <= MAX_NEWCOMER_GAPS + 3);
}

#[test]
fn stale_gap_is_evicted_first() {
    let gap_at = |author| {
        let mut mempool = empty();
        // One author with a few readings behind a gap, next to fuller queues that can be mined.
        for seq in 3..6 {
            assert_eq!(put(&mut mempool, author, seq, 1), Ok(()));
        }
        for seq in 1..=MAX_PER_AUTHOR as u64 {
            for author in 1..=16 {
                let _ = put(&mut mempool, author, seq, 1);
            }
        }
        assert_eq!(mempool.len(), MAX_READINGS);
        mempool
    };
    let newcomer = unsigned(5_000, 0);
    let id = newcomer.id(room().id());
    let stale = ARRIVAL.saturating_add(STALE_GAP_MS);
    for (now, is_evicted) in [(stale.saturating_sub(1), false), (stale, true)] {
        let mut mempool = gap_at(500);
        assert_eq!(mempool.insert(&newcomer, id, 0, now), Ok(()));
        assert_eq!(is_waiting(&mempool, 500, 5), !is_evicted, "{now}");
        assert!(is_waiting(&mempool, 500, 4));
    }
}

#[test]
fn check_agrees_with_insert() {
    let mempool = full();
    for (author, seq, next) in [
        (1, 0, 0),
        (1, 4, 5),
        (5_000, 0, 0),
        (5_000, 3, 2),
        (OWN, 0, 0),
    ] {
        let reading = unsigned(author, seq);
        let id = reading.id(room().id());
        let checked = mempool.check(&reading, id, next, ARRIVAL);
        assert_eq!(checked, mempool.clone().insert(&reading, id, next, ARRIVAL));
    }
}

#[test]
fn author_quota_is_1024_and_1024_ahead() {
    let mut mempool = empty();
    assert_eq!(
        put(&mut mempool, 1, 4, 5),
        Err(MempoolError::Past { found: 4, next: 5 })
    );
    for seq in 5..5 + MAX_PER_AUTHOR as u64 {
        assert_eq!(put(&mut mempool, 1, seq, 5), Ok(()));
    }
    let found = 5 + MAX_AHEAD;
    assert_eq!(
        put(&mut mempool, 1, found, 5),
        Err(MempoolError::TooFarAhead { found, next: 5 })
    );
    assert_eq!(put(&mut mempool, 1, 5, 5), Err(MempoolError::Known));
}

#[test]
fn earlier_reading_evicts_the_authors_last() {
    let mut mempool = empty();
    for seq in 10..10 + MAX_PER_NEWCOMER as u64 {
        assert_eq!(put(&mut mempool, 1, seq, 0), Ok(()));
    }
    for seq in (0..10).rev() {
        assert_eq!(
            put(&mut mempool, 1, seq, 0),
            Ok(()),
            "a gap must be able to close"
        );
        assert_eq!(mempool.len(), MAX_PER_NEWCOMER);
    }
    assert_eq!(mempool.template(100).len(), MAX_PER_NEWCOMER);
    assert!(is_waiting(&mempool, 1, 31) && !is_waiting(&mempool, 1, 32));
}

#[test]
fn second_reading_with_a_seq_is_an_equivocation() {
    let mut mempool = empty();
    assert_eq!(put(&mut mempool, 1, 0, 0), Ok(()));
    let mut other = unsigned(1, 0);
    other.content = Content::open(NOW, Bpm::MAX);
    let first = unsigned(1, 0).id(room().id());
    assert_eq!(
        mempool.insert(&other, other.id(room().id()), 0, ARRIVAL),
        Err(MempoolError::Equivocation {
            seq: 0,
            other: first
        })
    );
}

/// A mempool that 16 authors on the chain fill with 1,024 readings each.
fn full() -> Mempool {
    let mut mempool = empty();
    for seq in 1..=MAX_PER_AUTHOR as u64 {
        for author in 1..=16 {
            assert_eq!(put(&mut mempool, author, seq, 1), Ok(()));
        }
    }
    assert_eq!(mempool.len(), MAX_READINGS);
    mempool
}

#[test]
fn full_mempool_evicts_from_the_fullest_author() {
    let mut mempool = full();
    assert_eq!(put(&mut mempool, 100, 1, 1), Ok(()));
    assert_eq!(mempool.len(), MAX_READINGS);
    assert!(is_waiting(&mempool, 100, 1));
    assert!(!is_waiting(&mempool, 16, 1_024), "16 arrived last");
    assert!(is_waiting(&mempool, 15, 1_024));
    assert_eq!(put(&mut mempool, 101, 1, 1), Ok(()));
    assert!(!is_waiting(&mempool, 15, 1_024));
    // Once all have the same number, an author with as many as the fullest gets no more.
    for author in 102..=115 {
        assert_eq!(put(&mut mempool, author, 1, 1), Ok(()));
    }
    assert_eq!(put(&mut mempool, 16, 1_024, 1), Err(MempoolError::Full));
}

#[test]
fn own_readings_are_never_evicted() {
    let mut mempool = full();
    for seq in 0..MAX_PER_AUTHOR as u64 {
        assert_eq!(put(&mut mempool, OWN, seq, 0), Ok(()));
    }
    for author in 200..1_000 {
        let _ = put(&mut mempool, author, 1, 1);
    }
    for seq in 0..MAX_PER_AUTHOR as u64 {
        assert!(is_waiting(&mempool, OWN, seq));
    }
    assert_eq!(mempool.len(), MAX_READINGS);
}

#[test]
fn template_takes_own_first_then_round_robin() {
    let mut mempool = empty();
    for (at, author) in [(3, 1), (1, 2), (2, 3)] {
        for seq in 0..3 {
            let reading = unsigned(author, seq);
            let since = MonotonicMillis::new(at * 10 + seq);
            mempool
                .insert(&reading, reading.id(room().id()), 0, since)
                .expect("admitted");
        }
    }
    for seq in 0..MAX_AUTHOR_READINGS as u64 + 2 {
        put(&mut mempool, OWN, seq, 0).expect("admitted");
    }
    let own = (0..MAX_AUTHOR_READINGS as u64).map(|seq| (OWN, seq));
    let others = [
        (2, 0),
        (3, 0),
        (1, 0),
        (2, 1),
        (3, 1),
        (1, 1),
        (2, 2),
        (3, 2),
        (1, 2),
    ];
    let by_turn: Vec<Reading> = own
        .chain(others)
        .map(|(author, seq)| unsigned(author, seq))
        .collect();
    for limit in [1, 5, MAX_AUTHOR_READINGS, MAX_AUTHOR_READINGS + 2, 1_024] {
        let mut chosen = by_turn[..limit.min(by_turn.len())].to_vec();
        // What was chosen first does not show in the block.
        chosen.sort_by_key(|reading| (reading.author, reading.seq));
        assert_eq!(mempool.template(limit), chosen, "limit {limit}");
    }
}

#[test]
fn reading_behind_a_gap_is_kept_but_not_mined() {
    let mut mempool = empty();
    put(&mut mempool, 1, 1, 0).expect("admitted");
    assert!(mempool.template(10).is_empty());
    assert_eq!(
        mempool.oldest_gap_since(MonotonicMillis::new(0)),
        Some(ARRIVAL)
    );
    assert_eq!(mempool.oldest_gap_since(ARRIVAL), None, "requested already");
    put(&mut mempool, 1, 0, 0).expect("admitted");
    assert_eq!(mempool.template(10).len(), 2);
    assert_eq!(mempool.oldest_gap_since(MonotonicMillis::new(0)), None);
}

#[test]
fn displaced_reading_returns_or_expires() {
    let author = unsigned(1, 0).author;
    let mut other = unsigned(1, 0);
    other.content = Content::open(NOW, Bpm::MAX);
    let prefix = IdPrefix::from(&other.id(room().id()));
    let mut mempool = empty();
    put(&mut mempool, 1, 0, 0).expect("admitted");
    assert_eq!(
        mempool.on_connected(&author, 0, prefix, 7),
        Some(unsigned(1, 0))
    );
    assert!(mempool.is_empty());
    assert!(mempool.take_minable_displaced(7, |_| 1).is_empty());
    mempool.on_disconnected(&author, 0);
    assert_eq!(mempool.take_minable_displaced(8, |_| 0), [unsigned(1, 0)]);
    assert!(mempool.take_minable_displaced(8, |_| 0).is_empty(), "once");
    assert!(mempool.keep_displaced(&unsigned(1, 0), unsigned(1, 0).id(room().id()), 7));
    assert!(
        mempool
            .take_minable_displaced(7 + DISPLACED_BLOCKS, |_| 1)
            .is_empty()
    );
    assert!(mempool.get(&unsigned(1, 0).id(room().id())).is_some());
    assert!(
        mempool
            .take_minable_displaced(8 + DISPLACED_BLOCKS, |_| 0)
            .is_empty(),
        "forgotten"
    );
}

#[test]
fn displaced_readings_are_bounded() {
    let mut mempool = empty();
    let many = u32::try_from(MAX_DISPLACED).expect("small");
    for author in 0..many {
        let reading = unsigned(author, 0);
        assert!(mempool.keep_displaced(&reading, reading.id(room().id()), u64::from(author)));
    }
    let one_more = unsigned(many, 0);
    assert!(
        !mempool.keep_displaced(&one_more, one_more.id(room().id()), 0),
        "the caller keeps it on disk"
    );
    let known = unsigned(5, 0);
    assert!(
        mempool.keep_displaced(&known, known.id(room().id()), 9),
        "once"
    );
    assert_eq!(mempool.displaced_len(), MAX_DISPLACED);
    // A displaced reading from the mempool is stored nowhere else, so the one displaced longest ago is dropped for it.
    put(&mut mempool, many, 0, 0).expect("admitted");
    let mut other = one_more;
    other.content = Content::open(NOW, Bpm::MAX);
    let prefix = IdPrefix::from(&other.id(room().id()));
    assert_eq!(
        mempool.on_connected(&one_more.author, 0, prefix, u64::from(many)),
        Some(one_more)
    );
    assert_eq!(mempool.displaced_len(), MAX_DISPLACED);
    let is_displaced = |author| mempool.get(&unsigned(author, 0).id(room().id())).is_some();
    assert!(!is_displaced(0) && is_displaced(1) && is_displaced(many));
}

#[test]
fn listing_resumes_after_the_last_row() {
    let mut mempool = empty();
    for author in [3, 1, 2] {
        for seq in [1, 0, 2] {
            put(&mut mempool, author, seq, 0).expect("admitted");
        }
    }
    let mut rows = Vec::new();
    loop {
        let after = rows
            .last()
            .map(|row: &heartchain_chain::mempool::ListEntry| (row.author, row.seq));
        let more = mempool.list_after(after, 2);
        if more.is_empty() {
            break;
        }
        rows.extend(more);
    }
    let keys: Vec<_> = rows.iter().map(|row| (row.author, row.seq)).collect();
    assert_eq!(keys.len(), 9);
    assert!(keys.is_sorted());
}

#[test]
fn new_own_key_replaces_the_old_one() {
    let mut mempool = full();
    put(&mut mempool, OWN, 0, 0).expect("admitted");
    mempool.set_own(unsigned(5, 0).author);
    put(&mut mempool, 5, 1, 1).expect_err("known");
    assert!(!mempool.own_is_minable() || mempool.template(1)[0].author == unsigned(5, 0).author);
    for author in 300..310 {
        assert_eq!(put(&mut mempool, author, 1, 1), Ok(()));
    }
    for seq in 1..=MAX_PER_AUTHOR as u64 {
        assert!(
            is_waiting(&mempool, 5, seq),
            "own readings are never evicted"
        );
    }
}
