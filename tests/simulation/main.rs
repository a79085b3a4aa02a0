//! The real machine, many peers, one seeded scheduler: what must hold, holds in every run, whatever goes wrong.
//!
//! `HEARTCHAIN_SEED=n` plays one seed again (`a..b`: these), `HEARTCHAIN_TRACE=1` says what happens in it,
//! `HEARTCHAIN_SIMULATION=n` plays the first n seeds.
#![cfg(not(target_arch = "wasm32"))]

mod attackers;
mod checks;
mod clock;
mod computers;
mod deceit;
mod dice;
mod disk;
mod driver;
mod faults;
mod forgery;
mod invariants;
mod ledger;
mod liars;
mod links;
mod mixed;
mod node;
mod outcome;
mod restarts;
mod scenario;
mod trouble;
mod turns;
mod watch;
mod world;

use attackers::Attack;
use outcome::Outcome;
use std::time::{Duration, Instant};

/// Seeds that a plain `cargo test` plays.
const SEEDS: u64 = 300;

/// A run that takes longer is named.
const SLOW: Duration = Duration::from_secs(5);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays a seed, or all of them, and says what failed.
fn play(seeds: Vec<u64>, run: impl Fn(u64) -> Outcome) {
    let mut failed = Vec::new();
    let (mut blocks, mut readings, mut messages, mut slowest) = (0, 0, 0, 0);
    let (mut liars_banned, mut let_go) = (0, 0);
    let count = seeds.len();
    for (played, seed) in (1..).zip(seeds) {
        let began = Instant::now();
        let outcome = run(seed);
        let took = began.elapsed();
        if took > SLOW {
            eprintln!("seed {seed} took {took:?}: {:?}", outcome.attacks);
        }
        if played % 500 == 0 {
            eprintln!("{played} of {count} seeds played, {} failed", failed.len());
        }
        blocks += outcome.blocks;
        readings += outcome.readings;
        messages += outcome.messages;
        liars_banned += outcome.liars_banned;
        let_go += outcome.let_go.len();
        slowest = slowest.max(outcome.settled_after);
        if !outcome.faults.is_empty() {
            eprintln!("HEARTCHAIN_SEED={seed}: {outcome:#?}");
            failed.push(seed);
        }
    }
    eprintln!(
        "{count} runs: {blocks} blocks, {readings} readings, {messages} messages, {liars_banned} times a liar banned, \
         {let_go} times an honest peer let go, slowest agreement {slowest} ms"
    );
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

/// These seeds, or those that are to be played again.
fn seeds(count: u64) -> Vec<u64> {
    let Ok(chosen) = std::env::var("HEARTCHAIN_SEED") else {
        return (0..count).collect();
    };
    let number = |text: &str| text.parse().expect("HEARTCHAIN_SEED is n or a..b");
    match chosen.split_once("..") {
        Some((from, to)) => (number(from)..number(to)).collect(),
        None => vec![number(&chosen)],
    }
}

#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    play(
        seeds(number("HEARTCHAIN_SIMULATION").unwrap_or(SEEDS)),
        scenario::class,
    );
}

#[test]
fn branch_released_at_once_loses_nothing() {
    play(seeds(5), scenario::released_branch);
}

#[test]
fn one_left_behind_by_a_hall_waits_a_minute_once() {
    play(seeds(3), |seed| {
        let (outcome, waits) = scenario::hall_leaves(seed);
        // A lucky block at the hall's difficulty may come before the long wait.
        let longest = waits.iter().copied().max().unwrap_or(u64::MAX);
        let behind = waits.iter().skip_while(|wait| **wait < longest).skip(1);
        let next: Vec<u64> = behind.take(30).copied().collect();
        let mean = next.iter().sum::<u64>() / next.len().max(1) as u64;
        eprintln!("seed {seed}: one block after {longest} ms, the 30 after it every {mean} ms");
        assert!(longest <= 65_000, "seed {seed}: {longest} ms");
        assert_eq!(next.len(), 30, "seed {seed}");
        assert!(mean <= 3_000, "seed {seed}: {mean} ms");
        outcome
    });
}

#[test]
fn clocks_apart_leave_the_pace_alone() {
    for (spread, fast) in [(0, 0), (2_000, 30_000), (20_000, 0)] {
        play(seeds(1), |seed| {
            let (outcome, mean) = scenario::pace(seed, spread, fast);
            eprintln!(
                "seed {seed}: clocks {spread} ms apart, one {fast} ms fast: a block every {mean} ms"
            );
            assert!((700..=1_500).contains(&mean), "seed {seed}: {mean} ms");
            outcome
        });
    }
}

#[test]
fn blocks_stamped_ahead_leave_the_pace_alone() {
    play(seeds(1), |seed| {
        let (outcome, mean, share) = scenario::stamped_ahead(seed);
        eprintln!("seed {seed}: {share} % of blocks stamped ahead, a block every {mean} ms");
        assert!((25..=45).contains(&share), "seed {seed}: {share} %");
        assert!((700..=1_500).contains(&mean), "seed {seed}: {mean} ms");
        outcome
    });
}

#[test]
fn spam_of_thousands_of_keys_loses_nothing() {
    play(seeds(1), scenario::spam);
}

#[test]
fn crowd_agrees() {
    let peers = if number("HEARTCHAIN_SIMULATION").is_some() {
        1_000
    } else {
        100
    };
    play(seeds(1), |seed| scenario::crowd(seed, peers));
}

#[test]
fn start_with_a_wrong_clock_loses_nothing() {
    play(seeds(6), faults::wrong_clock_start);
}

#[test]
fn start_never_shrinks() {
    let cases = number("HEARTCHAIN_SIMULATION").unwrap_or(200);
    play(seeds(cases), restarts::start_never_shrinks);
}

#[test]
fn room_without_attackers_keeps_all_rules() {
    play(seeds(3), faults::calm_room);
}

#[test]
fn withheld_bodies_stop_no_mining() {
    play(seeds(2), |seed| faults::body_withholder(seed, 1));
}

#[test]
fn withheld_branches_stop_no_mining() {
    play(seeds(2), |seed| faults::body_withholder(seed, 3));
}

#[test]
fn stalled_headers_keep_no_newcomer_out() {
    let attacks = [Attack::HeaderStaller; 4];
    play(seeds(2), |seed| faults::header_stallers(seed, &attacks));
}

#[test]
fn slow_headers_keep_no_newcomer_out() {
    let (stalls, drips) = (Attack::HeaderStaller, Attack::HeaderDripper);
    let attacks = [drips, stalls, drips, stalls];
    play(seeds(2), |seed| faults::header_stallers(seed, &attacks));
}

#[test]
fn junk_beside_the_chain_costs_little() {
    let attack = Attack::SideJunk { blocks: 20 };
    play(seeds(1), |seed| faults::side_junk(seed, attack));
}

#[test]
fn full_junk_blocks_cost_little() {
    let attack = Attack::SideFresh { full: 8 };
    play(seeds(1), |seed| faults::side_junk(seed, attack));
}

#[test]
fn closed_slots_share_their_readings() {
    play(seeds(10), faults::closed_slots);
}

#[test]
fn readings_outlive_their_authors() {
    play(seeds(10), faults::author_that_leaves);
}

#[test]
fn each_gossip_item_gets_its_verdict() {
    play(seeds(2), faults::orphan_verdicts);
}

#[test]
fn clocks_that_jump_stop_no_peer() {
    play(seeds(10), faults::clock_set_back);
}

#[test]
fn sleeper_without_peers_mines_when_it_wakes() {
    play(seeds(10), faults::sleeper_alone);
}

#[test]
fn flood_of_newcomers_locks_no_author_out() {
    play(seeds(1), faults::newcomer_flood);
}

#[test]
fn listing_without_end_is_cut_short() {
    play(seeds(1), faults::endless_listing);
}

#[test]
fn full_disk_loses_nothing() {
    play(seeds(5), faults::full_disk);
}

#[test]
fn deleted_database_is_written_again() {
    play(seeds(3), faults::deleted_database);
}
