//! Benchmarks of validation and mining, next to the raw cryptography that they need.
//!
//! The same code runs natively and in the browser; the caller passes in the clock.

use ed25519_zebra::{Signature, VerificationKey};
use heartchain_chain::{
    block::{Block, check_body},
    mining::Job,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    tree::Tree,
    work::CompactTarget,
};
use heartchain_test_support::START;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::{
    report::{Report, median},
    workload::{STEP, grow, private_room, room},
};

/// Nonces that one mining measurement tries.
const TRIES: u32 = 2_000_000;
/// How often a measurement repeats the headers, because a browser's clock has a resolution of whole milliseconds.
const PASSES: usize = 20;

/// Measures everything `runs` times on a chain of `blocks` blocks of ten readings.
pub fn measure(report: &mut Report, clock: &dyn Fn() -> f64, blocks: usize, runs: usize) {
    let room = room();
    let chain = grow(&room, 0..10, blocks).blocks;
    validation(report, clock, &room, &chain, runs);
    private_validation(report, clock, (&room, &chain), runs);
    // Cheap, so repeated more often to average out other load.
    headers(report, clock, &room, &chain, 5 * runs);
    mining(report, clock, &chain, runs);
}

fn time(clock: &dyn Fn() -> f64, what: impl FnOnce()) -> f64 {
    let start = clock();
    what();
    clock() - start
}

fn now() -> UnixMillis {
    UnixMillis::new(START + 1_000_000 * STEP)
}

fn validation(
    report: &mut Report,
    clock: &dyn Fn() -> f64,
    room: &Room,
    chain: &[Block],
    runs: usize,
) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(time(clock, || validate(room, chain)));
        bare.push(time(clock, || verify_one_by_one(room, chain)));
    }
    let name = format!("validate {} blocks of 10 readings", chain.len());
    report.pair(
        &name,
        "the same signatures one by one",
        median(&ours),
        median(&bare),
        "ms",
        runs,
    );
}

/// Compares a private room with an open one: both chains are validated, and all of their readings are read.
fn private_validation(
    report: &mut Report,
    clock: &dyn Fn() -> f64,
    open: (&Room, &[Block]),
    runs: usize,
) {
    let room = private_room();
    let chain = grow(&room, 0..10, open.1.len()).blocks;
    let (mut private_times, mut open_times) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        private_times.push(time(clock, || validate_and_read(&room, &chain)));
        open_times.push(time(clock, || validate_and_read(open.0, open.1)));
    }
    let name = format!("validate and read {} blocks of a private room", chain.len());
    report.pair(
        &name,
        "of an open room",
        median(&private_times),
        median(&open_times),
        "ms",
        runs,
    );
}

fn validate_and_read(room: &Room, chain: &[Block]) {
    validate(room, chain);
    for reading in chain.iter().flat_map(|block| &block.readings) {
        room.open(reading).expect("a readable reading");
    }
}

fn validate(room: &Room, chain: &[Block]) {
    let mut tree = Tree::new(room.clone());
    let mut rng = ChaCha12Rng::from_seed([1; 32]);
    for block in chain {
        let hash = tree
            .insert_header(&block.header, now())
            .expect("valid header")
            .hash;
        check_body(
            room.id(),
            &block.header,
            &block.readings,
            |_| false,
            &mut rng,
        )
        .expect("valid body");
        tree.insert_checked_body(&hash, &block.readings);
        tree.advance()
            .switch
            .expect("every block extends the best branch");
    }
    assert_eq!(tree.tip().index, chain.len() as u64);
}

fn verify_one_by_one(room: &Room, chain: &[Block]) {
    for reading in chain.iter().flat_map(|block| &block.readings) {
        let key = VerificationKey::try_from(*reading.author.as_bytes()).expect("a key");
        let signature = Signature::from(*reading.signature.as_bytes());
        key.verify(&signature, &Reading::signed_bytes(reading, room.id()))
            .expect("valid");
    }
}

fn headers(
    report: &mut Report,
    clock: &dyn Fn() -> f64,
    room: &Room,
    chain: &[Block],
    runs: usize,
) {
    let bytes: Vec<_> = chain.iter().map(|block| block.header.to_bytes()).collect();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(time(clock, || {
            for _ in 0..PASSES {
                let mut tree = Tree::new(room.clone());
                for block in chain {
                    tree.insert_header(&block.header, now())
                        .expect("valid header");
                }
            }
        }));
        bare.push(time(clock, || {
            for bytes in (0..PASSES).flat_map(|_| &bytes) {
                std::hint::black_box(Sha256::digest(bytes));
            }
        }));
    }
    let name = format!("check {} headers", chain.len() * PASSES);
    report.pair(
        &name,
        "SHA-256 of the same bytes",
        median(&ours),
        median(&bare),
        "ms",
        runs,
    );
}

fn mining(report: &mut Report, clock: &dyn Fn() -> f64, chain: &[Block], runs: usize) {
    let Some(block) = chain.first() else {
        return;
    };
    // The hardest possible target: no nonce succeeds, so every run makes all its tries.
    let target = CompactTarget::from_bits(0x0101_0000)
        .target()
        .expect("target 1");
    let job = Job::new(&block.header, target);
    let block = [block
        .header
        .to_bytes()
        .first_chunk::<64>()
        .copied()
        .unwrap_or([0; 64])];
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(time(clock, || {
            assert_eq!(std::hint::black_box(&job).search(0, TRIES), None);
        }));
        bare.push(time(clock, || {
            let mut state = [0; 8];
            for _ in 0..TRIES {
                sha2::block_api::compress256(&mut state, &block);
            }
            std::hint::black_box(state);
        }));
    }
    let rate = |ms: f64| f64::from(TRIES) / ms;
    report.pair(
        "mining",
        "bare compression",
        rate(median(&ours)),
        rate(median(&bare)),
        "kH/s",
        runs,
    );
}
