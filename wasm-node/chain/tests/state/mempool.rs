//! The mempool's bounds, each at the bound, and the order of what it gives.

use chain::{
    bpm::Bpm,
    key::{Author, SecretKey},
    mempool::{
        ASIDE_BLOCKS, MAX_AHEAD, MAX_ASIDE, MAX_NEWCOMER_GAPS, MAX_NEWCOMER_READINGS,
        MAX_PER_AUTHOR, MAX_PER_NEWCOMER, MAX_READINGS, Mempool, MempoolError, OWN_FIRST,
        STALE_GAP_MS,
    },
    reading::Reading,
    time::MonotonicMillis,
    tree::IdPrefix,
};

use crate::branch::{ARRIVAL, NOW, room};

/// Any reading will do here: who puts one in has verified it.
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

/// `next` is the author's next place; 0 makes it a newcomer.
fn put(mempool: &mut Mempool, author: u32, seq: u64, next: u64) -> Result<(), MempoolError> {
    let reading = unsigned(author, seq);
    mempool.insert(&reading, reading.id(room().id()), next, ARRIVAL)
}

fn waits(mempool: &Mempool, author: u32, seq: u64) -> bool {
    mempool.contains(&unsigned(author, seq).id(room().id()))
}

#[test]
fn newcomer_has_32_places_and_all_share_4096() {
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
        "in place of the last reading of the author with the most"
    );
    assert!(!waits(&mempool, 1, 31));
    // All but the first of its readings make room for one author each.
    for (other, _) in (author + 1..).zip(2..MAX_PER_NEWCOMER) {
        assert_eq!(put(&mut mempool, other, 0, 0), Ok(()));
    }
    assert!(waits(&mempool, 1, 0) && !waits(&mempool, 1, 1));
    assert_eq!(
        put(&mut mempool, OWN - 1, 0, 0),
        Ok(()),
        "in place of any other, when each has one"
    );
    assert!(waits(&mempool, OWN - 1, 0));
    assert_eq!(mempool.len(), MAX_NEWCOMER_READINGS);
    assert_eq!(
        put(&mut mempool, author, 1, 1),
        Ok(()),
        "who is on the chain has a place"
    );
    assert_eq!(put(&mut mempool, OWN, 0, 0), Ok(()), "and so has one's own");
    assert_eq!(mempool.len(), MAX_NEWCOMER_READINGS + 2);
}

#[test]
fn gaps_of_newcomers_leave_room_for_others() {
    let mut mempool = empty();
    for author in 0..128 {
        for seq in 1..=MAX_PER_NEWCOMER as u64 {
            let _ = put(&mut mempool, author, seq, 0);
        }
    }
    assert!(mempool.len() <= MAX_NEWCOMER_GAPS);
    assert_eq!(put(&mut mempool, 1_000, 0, 0), Ok(()));
    // Two that came in the wrong order.
    assert_eq!(put(&mut mempool, 1_001, 1, 0), Ok(()));
    assert_eq!(put(&mut mempool, 1_001, 0, 0), Ok(()));
    assert!(waits(&mempool, 1_000, 0) && waits(&mempool, 1_001, 1));
    assert!(mempool.len() <= MAX_NEWCOMER_GAPS + 3);
}

#[test]
fn stale_gap_is_the_first_to_go() {
    let gap_at = |author| {
        let mut mempool = empty();
        // One with a few readings behind a gap, beside fuller ones that could all be mined.
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
    for (now, goes) in [(stale.saturating_sub(1), false), (stale, true)] {
        let mut mempool = gap_at(500);
        assert_eq!(mempool.insert(&newcomer, id, 0, now), Ok(()));
        assert_eq!(waits(&mempool, 500, 5), !goes, "{now}");
        assert!(waits(&mempool, 500, 4));
    }
}

#[test]
fn check_says_what_insert_does() {
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
        let said = mempool.check(&reading, id, next, ARRIVAL);
        assert_eq!(said, mempool.clone().insert(&reading, id, next, ARRIVAL));
    }
}

#[test]
fn author_has_1024_places_less_than_1024_ahead() {
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
fn earlier_reading_takes_the_place_of_the_authors_last() {
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
    assert!(waits(&mempool, 1, 31) && !waits(&mempool, 1, 32));
}

#[test]
fn second_reading_of_a_place_is_an_equivocation() {
    let mut mempool = empty();
    assert_eq!(put(&mut mempool, 1, 0, 0), Ok(()));
    let mut other = unsigned(1, 0);
    other.bpm = 99;
    let first = unsigned(1, 0).id(room().id());
    assert_eq!(
        mempool.insert(&other, other.id(room().id()), 0, ARRIVAL),
        Err(MempoolError::Equivocation {
            seq: 0,
            other: first
        })
    );
}

/// 16 authors on the chain fill it, 1,024 each.
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
fn full_mempool_gives_up_the_newest_of_the_fullest_author() {
    let mut mempool = full();
    assert_eq!(put(&mut mempool, 100, 1, 1), Ok(()));
    assert_eq!(mempool.len(), MAX_READINGS);
    assert!(waits(&mempool, 100, 1));
    assert!(!waits(&mempool, 16, 1_024), "16 arrived last");
    assert!(waits(&mempool, 15, 1_024));
    assert_eq!(put(&mut mempool, 101, 1, 1), Ok(()));
    assert!(!waits(&mempool, 15, 1_024));
    // Once all have as few, nobody with as many as the fullest gets more.
    for author in 102..=115 {
        assert_eq!(put(&mut mempool, author, 1, 1), Ok(()));
    }
    assert_eq!(put(&mut mempool, 16, 1_024, 1), Err(MempoolError::Full));
}

#[test]
fn own_readings_never_go_and_always_come() {
    let mut mempool = full();
    for seq in 0..MAX_PER_AUTHOR as u64 {
        assert_eq!(put(&mut mempool, OWN, seq, 0), Ok(()));
    }
    for author in 200..1_000 {
        let _ = put(&mut mempool, author, 1, 1);
    }
    for seq in 0..MAX_PER_AUTHOR as u64 {
        assert!(waits(&mempool, OWN, seq));
    }
    assert_eq!(mempool.len(), MAX_READINGS);
}

#[test]
fn template_takes_own_first_then_one_an_author_in_turn() {
    let mut mempool = empty();
    for (at, author) in [(3, 1), (1, 2), (2, 3)] {
        for seq in 0..3 {
            let reading = unsigned(author, seq);
            let since = MonotonicMillis::new(at * 10 + seq);
            mempool
                .insert(&reading, reading.id(room().id()), 0, since)
                .expect("a place");
        }
    }
    for seq in 0..OWN_FIRST as u64 + 2 {
        put(&mut mempool, OWN, seq, 0).expect("a place");
    }
    let template: Vec<Reading> = mempool.template(1_024);
    let own: Vec<Reading> = (0..OWN_FIRST as u64)
        .map(|seq| unsigned(OWN, seq))
        .collect();
    assert_eq!(template[..OWN_FIRST], own);
    let rest = [
        (2, 0),
        (3, 0),
        (1, 0),
        (OWN, 128),
        (2, 1),
        (3, 1),
        (1, 1),
        (OWN, 129),
        (2, 2),
        (3, 2),
        (1, 2),
    ];
    assert_eq!(
        template[OWN_FIRST..],
        rest.map(|(author, seq)| unsigned(author, seq))
    );
    assert_eq!(
        mempool.template(OWN_FIRST + 2)[OWN_FIRST..],
        [unsigned(2, 0), unsigned(3, 0)]
    );
}

#[test]
fn reading_behind_a_gap_is_kept_but_not_given() {
    let mut mempool = empty();
    put(&mut mempool, 1, 1, 0).expect("a place");
    assert!(mempool.template(10).is_empty());
    assert_eq!(
        mempool.oldest_gap_since(MonotonicMillis::new(0)),
        Some(ARRIVAL)
    );
    assert_eq!(
        mempool.oldest_gap_since(ARRIVAL),
        None,
        "asked about already"
    );
    put(&mut mempool, 1, 0, 0).expect("a place");
    assert_eq!(mempool.template(10).len(), 2);
    assert_eq!(mempool.oldest_gap_since(MonotonicMillis::new(0)), None);
}

#[test]
fn place_given_to_another_sets_a_reading_aside_until_it_is_free_or_forgotten() {
    let author = unsigned(1, 0).author;
    let mut other = unsigned(1, 0);
    other.bpm = 99;
    let prefix = IdPrefix::from(&other.id(room().id()));
    let mut mempool = empty();
    put(&mut mempool, 1, 0, 0).expect("a place");
    assert_eq!(mempool.link(&author, 0, prefix, 7), Some(unsigned(1, 0)));
    assert!(mempool.is_empty());
    assert!(mempool.take_revivable(7, |_| 1).is_empty());
    mempool.unlink(&author, 0);
    assert_eq!(mempool.take_revivable(8, |_| 0), [unsigned(1, 0)]);
    assert!(mempool.take_revivable(8, |_| 0).is_empty(), "once");
    assert!(mempool.set_aside(&unsigned(1, 0), unsigned(1, 0).id(room().id()), 7));
    assert!(mempool.take_revivable(7 + ASIDE_BLOCKS, |_| 1).is_empty());
    assert!(mempool.get(&unsigned(1, 0).id(room().id())).is_some());
    assert!(
        mempool.take_revivable(8 + ASIDE_BLOCKS, |_| 0).is_empty(),
        "forgotten"
    );
}

#[test]
fn readings_set_aside_are_bounded_and_none_goes_untold() {
    let mut mempool = empty();
    let many = u32::try_from(MAX_ASIDE).expect("small");
    for author in 0..many {
        let reading = unsigned(author, 0);
        assert!(mempool.set_aside(&reading, reading.id(room().id()), u64::from(author)));
    }
    let one_more = unsigned(many, 0);
    assert!(
        !mempool.set_aside(&one_more, one_more.id(room().id()), 0),
        "whoever holds it on disk keeps it there"
    );
    let known = unsigned(5, 0);
    assert!(mempool.set_aside(&known, known.id(room().id()), 9), "once");
    assert_eq!(mempool.aside(), MAX_ASIDE);
    // What was never on a branch waits nowhere else: the one aside for longest makes room.
    put(&mut mempool, many, 0, 0).expect("a place");
    let mut other = one_more;
    other.bpm = 99;
    let prefix = IdPrefix::from(&other.id(room().id()));
    assert_eq!(
        mempool.link(&one_more.author, 0, prefix, u64::from(many)),
        Some(one_more)
    );
    assert_eq!(mempool.aside(), MAX_ASIDE);
    let is_aside = |author| mempool.get(&unsigned(author, 0).id(room().id())).is_some();
    assert!(!is_aside(0) && is_aside(1) && is_aside(many));
}

#[test]
fn listing_goes_on_behind_the_last_row() {
    let mut mempool = empty();
    for author in [3, 1, 2] {
        for seq in [1, 0, 2] {
            put(&mut mempool, author, seq, 0).expect("a place");
        }
    }
    let mut rows = Vec::new();
    loop {
        let after = rows
            .last()
            .map(|row: &chain::mempool::Listed| (row.author, row.seq));
        let more = mempool.list_after(after, 2);
        if more.is_empty() {
            break;
        }
        rows.extend(more);
    }
    let places: Vec<_> = rows.iter().map(|row| (row.author, row.seq)).collect();
    assert_eq!(places.len(), 9);
    assert!(places.is_sorted());
}

#[test]
fn fresh_key_makes_the_old_ones_readings_ordinary() {
    let mut mempool = full();
    put(&mut mempool, OWN, 0, 0).expect("a place");
    mempool.set_own(unsigned(5, 0).author);
    put(&mut mempool, 5, 1, 1).expect_err("known");
    assert!(!mempool.own_is_minable() || mempool.template(1)[0].author == unsigned(5, 0).author);
    for author in 300..310 {
        assert_eq!(put(&mut mempool, author, 1, 1), Ok(()));
    }
    for seq in 1..=MAX_PER_AUTHOR as u64 {
        assert!(waits(&mempool, 5, seq), "own readings never go");
    }
}
