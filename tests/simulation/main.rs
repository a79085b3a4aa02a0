//! The real machine, many peers, one seeded scheduler: what must hold, holds in every run, whatever goes wrong.
//!
//! `HEARTCHAIN_SEED=n` plays one seed again (`a..b`: these), `HEARTCHAIN_TRACE=1` says what happens in it,
//! `HEARTCHAIN_SIMULATION=n` plays the first n seeds.
#![cfg(not(target_arch = "wasm32"))]

mod checks;
mod dice;
mod disk;
mod forgery;
mod liars;
mod links;
mod node;
mod scenario;
mod trouble;
mod turns;
mod world;

use scenario::Outcome;

/// Seeds that a plain `cargo test` plays.
const SEEDS: u64 = 300;

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
        let outcome = run(seed);
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
