//! ZIP-215 edge cases: unusual keys and signatures, built from points of the curve. Every way of batching them must
//! give the same verdict as verifying each alone, because otherwise one batch could split a room.

use curve25519_dalek::{
    constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION},
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
};
use heartchain_chain::{
    bpm::Bpm,
    content::Content,
    hash::RoomId,
    key::{Author, SecretKey, Signature},
    reading::{BatchError, Reading, ReadingError, verify_batch},
    time::UnixMillis,
};
use proptest::prelude::*;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha512};

pub(crate) const ROOM: RoomId = RoomId::new([0x15; 32]);

/// The expected verdict of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    AuthorNotCanonical,
    AuthorSmallOrder,
    AuthorNotAPoint,
    Signature,
}

/// A reading that is unusual in one way.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) reading: Reading,
    pub(crate) verdict: Verdict,
}

/// Encodings of points of small order that compressing a point never returns: y is not reduced, or zero has a sign bit.
const ODD_SMALL_ORDER: [([u8; 2], u8); 6] = [
    ([0x01, 0x00], 0x80), // y = 1, x = -0
    ([0xec, 0xff], 0xff), // y = -1, x = -0
    ([0xed, 0xff], 0x7f), // y = 2^255 - 19, which is 0
    ([0xed, 0xff], 0xff), // the same, x negative
    ([0xee, 0xff], 0x7f), // y = 2^255 - 18, which is 1
    ([0xee, 0xff], 0xff), // the same, x = -0
];

fn odd_bytes(([first, middle], last): ([u8; 2], u8)) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Derives a secret scalar from a word.
fn scalar(word: &str) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest(word).into())
}

fn content(bpm: u16) -> Content {
    let time = UnixMillis::new(1_700_000_000_000);
    Content::Open { time, bpm }
}

fn unsigned(author: [u8; 32]) -> Reading {
    Reading {
        author: Author::new(author),
        seq: 0,
        content: content(72),
        signature: Signature::new([0; 64]),
    }
}

fn with_signature(reading: Reading, r: [u8; 32], s: [u8; 32]) -> Reading {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&r);
    bytes[32..].copy_from_slice(&s);
    Reading {
        signature: Signature::new(bytes),
        ..reading
    }
}

/// Signs with `secret` and the given `R`. The signature is valid if `R` is `[nonce]B` plus a point of small order.
fn sign(reading: Reading, secret: Scalar, nonce: Scalar, r: [u8; 32]) -> Reading {
    let message = reading.signed_bytes(ROOM);
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(reading.author.as_bytes())
        .chain_update(message);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    with_signature(reading, r, (nonce + k * secret).to_bytes())
}

fn pack(point: EdwardsPoint) -> [u8; 32] {
    point.compress().to_bytes()
}

/// `s + l`, which equals `s` modulo the group order `l` and still fits into 32 bytes.
fn plus_group_order(s: &[u8; 32]) -> [u8; 32] {
    // l = 2^252 + 27742317777372353535851937790883648493, little-endian: -1 modulo l, plus one.
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    let mut carry = 0;
    core::array::from_fn(|at| {
        let sum = u16::from(s[at]) + u16::from(order[at]) + carry;
        carry = sum >> 8;
        (sum & 0xff) as u8
    })
}

/// All cases. Every call returns the same bytes in the same order.
pub(crate) fn cases() -> Vec<Case> {
    let (secret, nonce) = (scalar("secret"), scalar("nonce"));
    let (key, r) = (secret * B, nonce * B);
    let honest = sign(unsigned(pack(key)), secret, nonce, pack(r));
    let mut cases = Vec::new();
    let mut add = |name: String, reading: Reading, verdict: Verdict| {
        cases.push(Case {
            name,
            reading,
            verdict,
        });
    };

    add("honest".into(), honest, Verdict::Valid);
    let from_seed = SecretKey::from_seed([0x2a; 32]).sign(ROOM, 0, UnixMillis::new(0), Bpm::MIN);
    add(
        "honest, by RFC 8032 from a seed".into(),
        from_seed,
        Verdict::Valid,
    );

    for (order, torsion) in EIGHT_TORSION.iter().enumerate().skip(1) {
        let mixed_key = unsigned(pack(key + torsion));
        add(
            format!("mixed key + T{order}"),
            sign(mixed_key, secret, nonce, pack(r)),
            Verdict::Valid,
        );
        let mixed_r = sign(unsigned(pack(key)), secret, nonce, pack(r + torsion));
        add(format!("mixed R + T{order}"), mixed_r, Verdict::Valid);
        let mixed_both = sign(mixed_key, secret, nonce, pack(r + torsion));
        add(
            format!("mixed key and R + T{order}"),
            mixed_both,
            Verdict::Valid,
        );
    }
    for (order, torsion) in EIGHT_TORSION.iter().enumerate() {
        let small_r = sign(unsigned(pack(key)), secret, Scalar::ZERO, pack(*torsion));
        add(format!("small-order R = T{order}"), small_r, Verdict::Valid);
        // With such a key, s = 0 and R = the identity sign any message.
        let small_key = with_signature(unsigned(pack(*torsion)), pack(EIGHT_TORSION[0]), [0; 32]);
        add(
            format!("small-order key T{order}"),
            small_key,
            Verdict::AuthorSmallOrder,
        );
    }
    for (number, odd) in ODD_SMALL_ORDER.into_iter().map(odd_bytes).enumerate() {
        let odd_r = sign(unsigned(pack(key)), secret, Scalar::ZERO, odd);
        add(format!("non-canonical R {number}"), odd_r, Verdict::Valid);
        let odd_key = with_signature(unsigned(odd), pack(EIGHT_TORSION[0]), [0; 32]);
        add(
            format!("non-canonical key {number}"),
            odd_key,
            Verdict::AuthorNotCanonical,
        );
    }
    // Points of large order whose y is not reduced. No one knows their secrets, but they must be rejected with this
    // error.
    for first in 0xef..=0xff {
        for last in [0x7f, 0xff] {
            let odd = odd_bytes(([first, 0xff], last));
            if CompressedEdwardsY(odd).decompress().is_some() {
                let reading = with_signature(unsigned(odd), pack(r), [0; 32]);
                let name = format!("non-canonical key of large order {first:02x}..{last:02x}");
                add(name, reading, Verdict::AuthorNotCanonical);
                let reading = with_signature(unsigned(pack(key)), odd, [0; 32]);
                let name = format!("non-canonical R of large order {first:02x}..{last:02x}");
                add(name, reading, Verdict::Signature);
            }
        }
    }

    let mut no_point = [0; 32];
    no_point[0] = 2;
    add(
        "key is no point".into(),
        sign(unsigned(no_point), secret, nonce, pack(r)),
        Verdict::AuthorNotAPoint,
    );
    add(
        "R is no point".into(),
        sign(unsigned(pack(key)), secret, nonce, no_point),
        Verdict::Signature,
    );

    let (r_bytes, s_bytes) = honest.signature.as_bytes().split_at(32);
    let (r_bytes, s_bytes) = (
        r_bytes.try_into().expect("32"),
        s_bytes.try_into().expect("32"),
    );
    let malleable = with_signature(honest, r_bytes, plus_group_order(&s_bytes));
    add("s not reduced".into(), malleable, Verdict::Signature);
    add(
        "s all ones".into(),
        with_signature(honest, r_bytes, [0xff; 32]),
        Verdict::Signature,
    );
    add(
        "another bpm".into(),
        Reading {
            content: content(73),
            ..honest
        },
        Verdict::Signature,
    );
    add(
        "all zero".into(),
        Reading {
            signature: Signature::new([0; 64]),
            ..honest
        },
        Verdict::Signature,
    );
    let wrong_key = sign(unsigned(pack(scalar("other") * B)), secret, nonce, pack(r));
    add("another's key".into(), wrong_key, Verdict::Signature);
    let doubled = with_signature(honest, pack(r + B), s_bytes);
    add(
        "R off by the base point".into(),
        doubled,
        Verdict::Signature,
    );
    cases
}

pub(crate) fn verdict(result: Result<(), ReadingError>) -> Verdict {
    match result {
        Ok(()) => Verdict::Valid,
        Err(ReadingError::AuthorNotCanonical { .. }) => Verdict::AuthorNotCanonical,
        Err(ReadingError::AuthorSmallOrder { .. }) => Verdict::AuthorSmallOrder,
        Err(ReadingError::AuthorNotAPoint { .. }) => Verdict::AuthorNotAPoint,
        Err(ReadingError::Signature { .. }) => Verdict::Signature,
        Err(other) => panic!("no case breaks another rule: {other}"),
    }
}

/// The expected result of a batch: the first error of verifying the readings one by one.
fn first_bad(readings: &[Reading]) -> Result<(), BatchError> {
    readings
        .iter()
        .enumerate()
        .try_for_each(|(position, reading)| {
            reading
                .verify(ROOM)
                .map_err(|source| BatchError { position, source })
        })
}

fn batch(readings: &[Reading], seed: u64) -> Result<(), BatchError> {
    verify_batch(ROOM, readings, &mut ChaCha12Rng::seed_from_u64(seed))
}

#[test]
fn each_case_gets_its_verdict() {
    for Case {
        name,
        reading,
        verdict: expected,
    } in cases()
    {
        assert_eq!(verdict(reading.verify(ROOM)), expected, "{name}");
    }
}

#[test]
fn pair_verdict_is_its_first_error() {
    let readings: Vec<Reading> = cases().iter().map(|case| case.reading).collect();
    for (i, first) in readings.iter().enumerate() {
        for (j, second) in readings.iter().enumerate() {
            let pair = [*first, *second];
            assert_eq!(
                batch(&pair, (i * 1000 + j) as u64),
                first_bad(&pair),
                "cases {i} and {j}"
            );
        }
    }
}

#[test]
fn valid_cases_pass_in_one_batch() {
    let valid = |case: &Case| case.verdict == Verdict::Valid;
    let readings: Vec<Reading> = cases()
        .iter()
        .filter(|case| valid(case))
        .map(|case| case.reading)
        .collect();
    assert!(readings.len() > 30);
    for seed in 0..64 {
        assert_eq!(batch(&readings, seed), Ok(()), "seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batch_verdict_is_its_first_error(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
        mostly_valid: bool,
        seed: u64,
    ) {
        let mut cases = cases();
        if mostly_valid {
            let mut bad = 0;
            cases.retain(|case| case.verdict == Verdict::Valid || { bad += 1; bad < 3 });
        }
        let readings: Vec<Reading> = picks.iter().map(|pick| pick.get(&cases).reading).collect();
        prop_assert_eq!(batch(&readings, seed), first_bad(&readings));
    }
}
