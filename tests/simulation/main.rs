//! Deterministic simulation: many real sync machines on one simulated network, driven by one seeded scheduler.
//!
//! Each run checks invariants while faults are injected, and checks at the end that the honest peers converge and that
//! no reading is lost. `HEARTCHAIN_SEED=n` replays one seed, `HEARTCHAIN_SEED=a..b` a range of seeds.
//! `HEARTCHAIN_TRACE=1` prints every input and output. `HEARTCHAIN_SIMULATION=n` runs the first n seeds.
#![cfg(not(target_arch = "wasm32"))]

mod additional_faults;
mod attack;
mod attacker_replies;
mod attackers;
mod checks;
mod computers;
mod confirmed_readings;
mod disk;
mod driver;
mod event;
mod event_loop;
mod fault;
mod forgery;
mod id;
mod injection;
mod invariants;
mod links;
mod metrics;
mod misbehaviour;
mod misbehaviour_replies;
mod misbehaviour_turns;
mod names;
mod node;
mod outcome;
mod packet;
mod profile_attacks;
mod reading_tracker;
mod restarts;
mod room;
mod scenario;
mod single_fault;
mod swarm;
mod world;

use attack::Attack;
use outcome::Outcome;
use std::time::{Duration, Instant};

/// How many seeds a plain `cargo test` runs.
const SEEDS: u64 = 300;

/// Runs that take longer than this are printed.
const SLOW_RUN: Duration = Duration::from_secs(5);

fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one scenario with each seed, prints a summary, and panics with the seeds that failed.
fn run_seeds(seeds: Vec<u64>, run: impl Fn(u64) -> Outcome) {
    let mut failed = Vec::new();
    let (mut blocks, mut readings, mut messages, mut slowest) = (0, 0, 0, 0);
    let (mut misbehaviour_bans, mut honest_disconnects) = (0, 0);
    let count = seeds.len();
    for (done, seed) in (1..).zip(seeds) {
        let began = Instant::now();
        let outcome = run(seed);
        let took = began.elapsed();
        if took > SLOW_RUN {
            eprintln!("seed {seed} took {took:?}: {:?}", outcome.attacks);
        }
        if done % 500 == 0 {
            eprintln!("{done} of {count} seeds done, {} failed", failed.len());
        }
        blocks += outcome.blocks;
        readings += outcome.readings;
        messages += outcome.messages;
        misbehaviour_bans += outcome.misbehaviour_bans;
        honest_disconnects += outcome.honest_disconnects.len();
        slowest = slowest.max(outcome.converged_after);
        if !outcome.violations.is_empty() {
            eprintln!("HEARTCHAIN_SEED={seed}: {outcome:#?}");
            failed.push(seed);
        }
    }
    eprintln!(
        "{count} runs: {blocks} blocks, {readings} readings, {messages} messages, {misbehaviour_bans} bans of \
         misbehaving peers, {honest_disconnects} disconnects of honest peers, slowest convergence {slowest} ms"
    );
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

/// The first `count` seeds, or those that `HEARTCHAIN_SEED` selects.
fn seeds(count: u64) -> Vec<u64> {
    let Ok(chosen) = std::env::var("HEARTCHAIN_SEED") else {
        return (0..count).collect();
    };
    let parse = |text: &str| text.parse().expect("HEARTCHAIN_SEED is n or a..b");
    match chosen.split_once("..") {
        Some((from, to)) => (parse(from)..parse(to)).collect(),
        None => vec![parse(&chosen)],
    }
}

#[test]
fn random_faults_lose_no_readings() {
    run_seeds(
        seeds(env_number("HEARTCHAIN_SIMULATION").unwrap_or(SEEDS)),
        scenario::random,
    );
}

#[test]
fn released_branch_loses_no_readings() {
    run_seeds(seeds(5), scenario::released_branch);
}

#[test]
fn sudden_hash_rate_drop_recovers() {
    run_seeds(seeds(3), |seed| {
        let (outcome, waits) = scenario::hash_rate_drop(seed);
        // A lucky block at the old difficulty may come before the long wait.
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
fn clock_skew_keeps_block_interval() {
    for (spread, fast) in [(0, 0), (2_000, 30_000), (20_000, 0)] {
        run_seeds(seeds(1), |seed| {
            let (outcome, mean) = scenario::block_interval(seed, spread, fast);
            eprintln!(
                "seed {seed}: clocks {spread} ms apart, one {fast} ms fast: a block every {mean} ms"
            );
            assert!((700..=1_500).contains(&mean), "seed {seed}: {mean} ms");
            outcome
        });
    }
}

#[test]
fn future_timestamps_keep_block_interval() {
    run_seeds(seeds(1), |seed| {
        let (outcome, mean, share) = scenario::stamped_ahead(seed);
        eprintln!("seed {seed}: {share} % of blocks stamped ahead, a block every {mean} ms");
        assert!((25..=45).contains(&share), "seed {seed}: {share} %");
        assert!((700..=1_500).contains(&mean), "seed {seed}: {mean} ms");
        outcome
    });
}

#[test]
fn spam_from_many_keys_loses_no_readings() {
    run_seeds(seeds(1), scenario::spam);
}

#[test]
fn large_network_converges() {
    let peers = if env_number("HEARTCHAIN_SIMULATION").is_some() {
        1_000
    } else {
        100
    };
    run_seeds(seeds(1), |seed| scenario::large_network(seed, peers));
}

#[test]
fn wrong_clock_at_start_loses_no_readings() {
    run_seeds(seeds(6), single_fault::wrong_clock_start);
}

#[test]
fn restart_never_loses_stored_data() {
    let cases = env_number("HEARTCHAIN_SIMULATION").unwrap_or(200);
    run_seeds(seeds(cases), restarts::restart_never_loses_stored_data);
}

#[test]
fn unattacked_room_keeps_invariants() {
    run_seeds(seeds(3), single_fault::no_attack);
}

#[test]
fn withheld_bodies_do_not_stop_mining() {
    run_seeds(seeds(2), |seed| single_fault::body_withholder(seed, 1));
}

#[test]
fn withheld_branches_do_not_stop_mining() {
    run_seeds(seeds(2), |seed| single_fault::body_withholder(seed, 3));
}

#[test]
fn stalled_headers_do_not_block_new_peers() {
    let attacks = [Attack::HeaderStaller; 4];
    run_seeds(seeds(2), |seed| {
        single_fault::header_stallers(seed, &attacks)
    });
}

#[test]
fn slow_headers_do_not_block_new_peers() {
    let (stalls, drips) = (Attack::HeaderStaller, Attack::HeaderDripper);
    let attacks = [drips, stalls, drips, stalls];
    run_seeds(seeds(2), |seed| {
        single_fault::header_stallers(seed, &attacks)
    });
}

#[test]
fn junk_side_blocks_cost_little() {
    let attack = Attack::SideJunk { blocks: 20 };
    run_seeds(seeds(1), |seed| single_fault::side_junk(seed, attack));
}

#[test]
fn full_junk_blocks_cost_little() {
    let attack = Attack::SideFresh { full: 8 };
    run_seeds(seeds(1), |seed| single_fault::side_junk(seed, attack));
}

#[test]
fn closed_slots_share_their_readings() {
    run_seeds(seeds(10), single_fault::closed_slots);
}

#[test]
fn readings_outlive_their_authors() {
    run_seeds(seeds(10), single_fault::departing_author);
}

#[test]
fn every_gossip_item_gets_a_verdict() {
    run_seeds(seeds(2), single_fault::orphan_verdicts);
}

#[test]
fn clock_jumps_stop_no_peer() {
    run_seeds(seeds(10), single_fault::clock_jump);
}

#[test]
fn sleeper_without_peers_mines_when_it_wakes() {
    run_seeds(seeds(10), single_fault::lone_sleeper);
}

#[test]
fn flood_of_new_keys_locks_no_author_out() {
    run_seeds(seeds(1), single_fault::newcomer_flood);
}

#[test]
fn endless_listing_is_cut_off() {
    run_seeds(seeds(1), single_fault::endless_listing);
}

#[test]
fn profile_attackers_change_no_name() {
    run_seeds(seeds(6), single_fault::profile_attacks);
}

#[test]
fn full_disk_loses_no_readings() {
    run_seeds(seeds(5), single_fault::full_disk);
}

#[test]
fn deleted_database_is_rewritten() {
    run_seeds(seeds(3), single_fault::deleted_database);
}
