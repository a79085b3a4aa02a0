//! Blocks survive a round trip through bytes, and bodies are checked by rules 1, 6, 7 and 8.

use alloc::vec;
use core::cell::RefCell;

use proptest::prelude::*;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use super::*;
use crate::{
    bpm::{Bpm, BpmError},
    content::{Content, SealedContent},
    key::{SecretKey, Signature},
    time::UnixMillis,
};

const ROOM: RoomId = RoomId::new([7; 32]);

fn reading(seed: u8, seq: u64) -> Reading {
    SecretKey::from_seed([seed; 32]).sign(ROOM, seq, UnixMillis::new(seq), Bpm::MAX)
}

fn header(readings: &[Reading]) -> Header {
    let header = Header::decode(&[0; Header::LEN]).expect("93 bytes");
    Header {
        readings_root: readings_root(readings),
        ..header
    }
}

fn check(readings: &[Reading]) -> Result<(), BodyError> {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    check_body(ROOM, &header(readings), readings, |_| false, &mut rng)
}

#[test]
fn body_has_1_to_1024_readings() {
    assert_eq!(
        check(&[]),
        Err(BodyError::TooFewReadings { found: 0, min: 1 })
    );
    let readings: Vec<Reading> = (0..1025)
        .map(|at| reading(1 + (at % 9) as u8, at / 9))
        .collect();
    assert_eq!(
        check(&readings),
        Err(BodyError::TooManyReadings {
            found: 1025,
            max: 1024
        })
    );
    assert_eq!(check(&readings[..1024]), Ok(()));
    assert_eq!(check(&readings[..1]), Ok(()));
}

#[test]
fn author_has_at_most_128_readings_in_a_block() {
    let of = |many: u64| (0..many).map(|seq| reading(1, seq)).collect::<Vec<_>>();
    assert_eq!(check(&of(128)), Ok(()));
    let error = BodyError::TooManyOfAuthor {
        position: 128,
        author: reading(1, 0).author,
        max: 128,
    };
    assert_eq!(check(&of(129)), Err(error));
    assert_eq!(error.invalidates(), Invalidates::Descendants);
    let others = [of(128), vec![reading(2, 0)]].concat();
    assert_eq!(check(&others), Ok(()));
}

#[test]
fn sealed_readings_reach_the_length_of_a_block() {
    assert_eq!(max_block_readings(ReadingForm::Open), 1024);
    assert_eq!(max_block_readings(ReadingForm::Sealed), 1007);
    let sealed = |at: u64| {
        let content = Content::Sealed(SealedContent::new([7; 26]));
        SecretKey::from_seed([(at % 8) as u8; 32]).sign_content(ROOM, at / 8, content)
    };
    let readings: Vec<Reading> = (0..1008).map(sealed).collect();
    assert_eq!(check(&readings[..1007]), Ok(()));
    assert_eq!(
        check(&readings),
        Err(BodyError::TooLong {
            found: 131_137,
            max: 131_072
        })
    );
}

#[test]
fn body_must_match_its_header() {
    let readings = [reading(1, 0), reading(2, 0)];
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let honest = header(&readings);
    let found = readings_root(&readings[..1]);
    let verdict = check_body(ROOM, &honest, &readings[..1], |_| false, &mut rng);
    assert_eq!(
        verdict,
        Err(BodyError::ReadingsRoot {
            expected: honest.readings_root,
            found
        })
    );
    assert_eq!(
        verdict.map_err(|error| error.invalidates()),
        Err(Invalidates::Copy)
    );
}

#[test]
fn author_sequence_is_contiguous() {
    assert_eq!(
        check(&[reading(1, 5), reading(2, 0), reading(1, 6), reading(2, 1)]),
        Ok(())
    );
    for wrong in [7, 5, 4] {
        let author = reading(1, 0).author;
        let error = BodyError::Seq {
            position: 2,
            author,
            expected: 6,
            found: wrong,
        };
        assert_eq!(
            check(&[reading(1, 5), reading(2, 0), reading(1, wrong)]),
            Err(error)
        );
        assert_eq!(error.invalidates(), Invalidates::Descendants);
    }
    assert!(check(&[reading(1, u64::MAX), reading(1, u64::MAX)]).is_err());
}

#[test]
fn invalid_reading_reports_its_position() {
    let mut readings: Vec<Reading> = (0..6).map(|seq| reading(1, seq)).collect();
    readings[4].signature = Signature::new([1; 64]);
    let source = readings[4].verify(ROOM).expect_err("it was altered");
    let error = BodyError::Reading {
        position: 4,
        source,
    };
    assert_eq!(check(&readings), Err(error));
    assert_eq!(error.invalidates(), Invalidates::Descendants);

    // The same with some readings already verified: positions still count all readings of the block.
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let known_good = |reading: &Reading| reading.seq % 2 == 1;
    let verdict = check_body(ROOM, &header(&readings), &readings, known_good, &mut rng);
    assert_eq!(verdict, Err(error));
}

#[test]
fn known_readings_skip_only_the_signature_check() {
    let forged = Reading {
        signature: Signature::new([0; 64]),
        ..reading(1, 0)
    };
    let asked = RefCell::new(Vec::new());
    let known_good = |reading: &Reading| {
        asked.borrow_mut().push(*reading);
        true
    };
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    assert_eq!(
        check_body(ROOM, &header(&[forged]), &[forged], known_good, &mut rng),
        Ok(())
    );
    assert_eq!(
        *asked.borrow(),
        [forged],
        "the predicate sees the signature too"
    );
    let time = UnixMillis::new(0);
    let faint = Reading {
        content: Content::Open { time, bpm: 0 },
        ..forged
    };
    let source = BpmError::TooLow { found: 0 }.into();
    assert_eq!(
        check_body(ROOM, &header(&[faint]), &[faint], |_| true, &mut rng),
        Err(BodyError::Reading {
            position: 0,
            source
        })
    );
}

#[test]
fn claimed_length_allocates_nothing() {
    let mut bytes = header(&[]).to_bytes().to_vec();
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    let error = DecodeError::TooManyReadings {
        found: u32::MAX,
        max: 1024,
    };
    assert_eq!(Block::decode(ReadingForm::Open, &bytes), Err(error));
    bytes.truncate(Header::LEN);
    bytes.extend_from_slice(&1024_u32.to_le_bytes());
    let error = DecodeError::Length {
        what: "block",
        expected: 116_833,
        found: 97,
    };
    assert_eq!(Block::decode(ReadingForm::Open, &bytes), Err(error));
    let error = DecodeError::BlockTooLong {
        found: 131_073,
        max: 131_072,
    };
    assert_eq!(Block::decode(ReadingForm::Open, &[0; 131_073]), Err(error));
}

proptest! {
    #[test]
    fn blocks_round_trip_through_bytes(header: [u8; 93], numbers: Vec<u8>, junk: u8, cut: usize, sealed: bool) {
        let header = Header::decode(&header).expect("93 bytes");
        let form = if sealed { ReadingForm::Sealed } else { ReadingForm::Open };
        let reading = |n: &u8| Reading::decode(form, &vec![*n; form.reading_len()]);
        let readings = numbers.iter().map(|n| reading(n).expect("its length")).collect();
        let block = Block { header, readings };
        let mut bytes = block.encode();
        prop_assert_eq!(bytes.len(), block.encoded_len());
        prop_assert_eq!(Block::decode(form, &bytes), Ok(block.clone()));
        prop_assert_eq!(borsh::to_vec(&block).ok(), Some(bytes.clone()));
        prop_assert!(Block::decode(form, &bytes[..cut % bytes.len()]).is_err());
        bytes.push(junk);
        prop_assert!(Block::decode(form, &bytes).is_err());
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let decoded = Block::decode(ReadingForm::Open, &bytes);
        prop_assert!(decoded.is_err() || decoded.is_ok_and(|block| block.encode() == bytes));
    }
}
