//! Candidates by a simulated clock.

use super::*;

const REDIAL: &[Duration] = &[Duration::from_secs(3), Duration::from_secs(10)];
const NO_JITTER: u64 = 250;

fn at(seconds: u64) -> MonotonicMillis {
    MonotonicMillis::new(seconds * 1_000)
}

fn candidates(peers: impl IntoIterator<Item = u32>) -> Candidates<u32, char> {
    let mut candidates = Candidates::new(100, REDIAL);
    for peer in peers {
        candidates.add(peer, 'r', at(120));
    }
    candidates
}

fn pseudo_random(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 32
    }
}

fn ways(candidates: &mut Candidates<u32, char>, now: MonotonicMillis) -> Vec<(u32, char)> {
    let mut ways = candidates.choose(usize::MAX, now, |_| false, || 0);
    ways.sort_unstable();
    ways
}

fn all(candidates: &mut Candidates<u32, char>, now: MonotonicMillis) -> Vec<u32> {
    let ways = ways(candidates, now);
    ways.into_iter().map(|(peer, _)| peer).collect()
}

#[test]
fn choice_is_limited_distinct_and_not_busy() {
    let mut candidates = candidates(0..20);
    let mut chosen = candidates.choose(8, at(0), |peer| peer % 2 == 0, pseudo_random(7));
    chosen.sort_unstable();
    chosen.dedup();
    assert_eq!(chosen.len(), 8);
    assert!(
        chosen
            .iter()
            .all(|(peer, relay)| peer % 2 == 1 && *relay == 'r')
    );
}

#[test]
fn failed_way_backs_off_longer_each_time() {
    let mut candidates = candidates([1, 2]);
    candidates.failed(1, 'r', at(0), NO_JITTER);
    assert_eq!(all(&mut candidates, at(2)), [2]);
    assert_eq!(all(&mut candidates, at(3)), [1, 2]);
    candidates.failed(1, 'r', at(3), NO_JITTER);
    candidates.add(1, 'r', at(120));
    assert_eq!(
        all(&mut candidates, at(12)),
        [2],
        "being reported again does not help"
    );
    assert_eq!(all(&mut candidates, at(13)), [1, 2]);
}

#[test]
fn failed_way_leaves_the_others_open() {
    let mut candidates = candidates([1]);
    candidates.add(1, 's', at(120));
    candidates.failed(1, 'r', at(0), NO_JITTER);
    assert_eq!(ways(&mut candidates, at(0)), [(1, 's')]);
    assert_eq!(
        ways(&mut candidates, at(3)),
        [(1, 's')],
        "the one that has not failed is better"
    );
    candidates.failed(1, 's', at(3), NO_JITTER);
    assert_eq!(ways(&mut candidates, at(4)), [(1, 'r')]);
    assert_eq!(candidates.sources(&1), ['r', 's']);
    assert!(candidates.sources(&2).is_empty());
}

#[test]
fn refused_dial_pauses_the_peer_and_blames_the_way() {
    let mut candidates = candidates([1]);
    assert_eq!(ways(&mut candidates, at(0)), [(1, 'r')]);
    candidates.add(1, 's', at(120));
    candidates.refused(1, at(0), NO_JITTER);
    assert!(all(&mut candidates, at(2)).is_empty(), "no way is taken");
    assert_eq!(ways(&mut candidates, at(3)), [(1, 's')], "another way");
    candidates.reached(1);
    candidates.refused(1, at(10), NO_JITTER);
    assert_eq!(
        all(&mut candidates, at(13)),
        [1],
        "the wait is the first one again"
    );
}

#[test]
fn success_and_reset_clear_the_backoff() {
    let mut candidates = candidates([1]);
    assert_eq!(all(&mut candidates, at(0)), [1]);
    candidates.failed(1, 'r', at(0), NO_JITTER);
    candidates.reached(1);
    candidates.failed(1, 'r', at(10), NO_JITTER);
    assert_eq!(
        all(&mut candidates, at(13)),
        [1],
        "the wait is the first one again"
    );
    candidates.hold_off(1, at(100));
    assert!(all(&mut candidates, at(99)).is_empty());
    candidates.reset_backoff();
    assert_eq!(all(&mut candidates, at(20)), [1]);
}

#[test]
fn failed_dial_does_not_shorten_a_hold_off() {
    let mut candidates = candidates([1]);
    candidates.hold_off(1, at(100));
    candidates.failed(1, 'r', at(0), NO_JITTER);
    candidates.refused(1, at(0), NO_JITTER);
    assert!(all(&mut candidates, at(99)).is_empty());
    assert_eq!(all(&mut candidates, at(100)), [1]);
}

#[test]
fn expired_registration_is_forgotten() {
    let mut candidates = candidates([1]);
    candidates.add(2, 'r', at(200));
    candidates.add(2, 's', at(120));
    assert_eq!(ways(&mut candidates, at(120)), [(2, 'r')]);
    assert_eq!(candidates.ways().count(), 1);
}

#[test]
fn lost_relay_takes_its_ways_along() {
    let mut candidates = candidates([1, 2]);
    candidates.add(1, 's', at(120));
    candidates.add(3, 's', at(120));
    candidates.forget_source('r');
    assert_eq!(ways(&mut candidates, at(0)), [(1, 's'), (3, 's')]);
}

#[test]
fn neighbour_is_the_last_way_to_a_peer() {
    let mut candidates = candidates([1]);
    candidates.add_from_neighbour(1, 'n', at(300));
    candidates.add_from_neighbour(2, 'n', at(300));
    assert_eq!(ways(&mut candidates, at(0)), [(1, 'r'), (2, 'n')]);
    candidates.failed(1, 'r', at(0), NO_JITTER);
    assert_eq!(ways(&mut candidates, at(3)), [(1, 'n'), (2, 'n')]);
    candidates.forget_source('r');
    assert_eq!(all(&mut candidates, at(200)), [1, 2]);
}

#[test]
fn fake_peers_of_a_neighbour_fill_its_share_only() {
    let mut candidates = candidates([1]);
    let max = u32::try_from(MAX_EXCHANGED_PEERS).expect("small");
    for peer in 1_000..2_000 {
        candidates.add_from_neighbour(peer, 'n', at(300));
    }
    assert_eq!(candidates.ways().count(), 1 + MAX_EXCHANGED_PEERS);
    candidates.add_from_neighbour(2, 'm', at(300));
    assert!(
        all(&mut candidates, at(0)).contains(&2),
        "of another neighbour"
    );
    // Once they have expired, there is room for those that it reports now.
    assert!(all(&mut candidates, at(300)).is_empty());
    candidates.add_from_neighbour(1_000 + max, 'n', at(400));
    assert_eq!(all(&mut candidates, at(300)), [1_000 + max]);
}

#[test]
fn full_table_drops_the_first_to_expire() {
    let mut candidates: Candidates<u32, char> = Candidates::new(2, REDIAL);
    candidates.add(1, 'r', at(50));
    candidates.add(2, 'r', at(40));
    candidates.add(3, 'r', at(60));
    assert_eq!(all(&mut candidates, at(0)), [1, 3]);
}

#[test]
fn full_table_drops_ways_of_the_largest_source() {
    let mut candidates: Candidates<u32, char> = Candidates::new(MAX_WAYS, REDIAL);
    for peer in 0..20 {
        candidates.add(peer, 'h', at(10));
    }
    for peer in 0..4 * u32::try_from(MAX_WAYS).expect("small") {
        candidates.add(peer, 'b', at(1_000));
    }
    assert_eq!(candidates.ways().count(), MAX_WAYS);
    assert_eq!(candidates.ways_of(&'h'), 20, "they expire first");
}

/// Two relays report the same peers. Every call through `b` fails, after the longest wait for a dial, and `b` also
/// reports many peers that do not exist, again and again.
#[test]
fn bad_relay_does_not_stop_calls_through_another() {
    const WANTED: usize = 8;
    let mut candidates: Candidates<u32, char> = Candidates::new(MAX_WAYS, REDIAL);
    let (mut random, mut dials, mut members) = (pseudo_random(3), Vec::new(), Vec::new());
    let mut first_full = None;
    for second in 0..600 {
        let now = at(second);
        if second % 40 == 0 {
            (0..12).for_each(|peer| candidates.add(peer, 'h', at(second + 120)));
        }
        if second % 20 == 0 {
            let fakes = 1_000 * u32::try_from(second).expect("small");
            let reported = (0..12).chain(1_000 + fakes..1_400 + fakes);
            reported.for_each(|peer| candidates.add(peer, 'b', at(second + 120)));
        }
        dials.retain(|(peer, source, ends)| {
            if *ends > second {
                return true;
            }
            if *source == 'b' {
                candidates.failed(*peer, 'b', now, NO_JITTER);
            } else {
                candidates.reached(*peer);
                members.push(*peer);
            }
            false
        });
        let free = WANTED.saturating_sub(members.len() + dials.len());
        let busy =
            |peer: &u32| members.contains(peer) || dials.iter().any(|(dialed, ..)| dialed == peer);
        for (peer, source) in candidates.choose(free, now, busy, &mut random) {
            let takes = if source == 'b' { 10 } else { 1 };
            dials.push((peer, source, second + takes));
        }
        if members.len() == WANTED {
            first_full.get_or_insert(second);
        }
    }
    let full = first_full.expect("all calls are through");
    assert!(full < 120, "only after {full} s");
}
