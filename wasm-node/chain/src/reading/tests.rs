//! A reading is valid in one room only, and a batch gets the same result as its readings one by one.

use proptest::prelude::*;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use super::*;
use crate::key::SecretKey;

const ROOM: RoomId = RoomId::new([7; 32]);

fn reading(seed: u8, seq: u64) -> Reading {
    let time = UnixMillis::new(1_700_000_000_000 + seq);
    SecretKey::from_seed([seed; 32]).sign(ROOM, seq, time, Bpm::MIN)
}

fn content(time: UnixMillis, bpm: u16) -> Content {
    Content::Open { time, bpm }
}

#[test]
fn signed_reading_is_valid_in_its_room_only() {
    let reading = reading(1, 0);
    assert_eq!(reading.verify(ROOM), Ok(()));
    let other = RoomId::new([8; 32]);
    let Reading {
        author, signature, ..
    } = reading;
    assert_eq!(
        reading.verify(other),
        Err(ReadingError::Signature { author, signature })
    );
    assert_ne!(reading.id(ROOM), reading.id(other));
}

#[test]
fn id_excludes_the_signature() {
    let first = reading(1, 0);
    let resigned = Reading {
        signature: Signature::new([0; 64]),
        ..first
    };
    assert_eq!(first.id(ROOM), resigned.id(ROOM));
    assert_ne!(first.id(ROOM), Reading { seq: 1, ..first }.id(ROOM));
}

#[test]
fn fields_are_checked_before_the_signature() {
    let good = reading(1, 0);
    let late = UnixMillis::new(8_640_000_000_000_001);
    let mut bad = Reading {
        author: Author::new([0xff; 32]),
        content: content(late, 401),
        ..good
    };
    assert_eq!(
        bad.verify(ROOM),
        Err(ReadingError::Bpm(BpmError::TooHigh { found: 401 }))
    );
    bad.content = content(late, 400);
    assert_eq!(
        bad.verify(ROOM),
        Err(ReadingError::Time {
            found: late,
            max: MAX_READING_TIME
        })
    );
    bad.content = content(MAX_READING_TIME, 400);
    assert_eq!(
        bad.verify(ROOM),
        Err(ReadingError::AuthorNotCanonical { author: bad.author })
    );
    bad.author = Author::new([0; 32]);
    assert_eq!(
        bad.verify(ROOM),
        Err(ReadingError::AuthorSmallOrder { author: bad.author })
    );
    let mut bytes = [0; 32];
    bytes[0] = 2; // y = 2: the curve has no such point
    bad.author = Author::new(bytes);
    assert_eq!(bad.check_fields(), Ok(()));
    assert_eq!(
        bad.verify(ROOM),
        Err(ReadingError::AuthorNotAPoint { author: bad.author })
    );
}

#[test]
fn batch_reports_the_first_invalid_reading() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let mut readings: Vec<Reading> = (0..8)
        .map(|seq| reading(1 + (seq % 3) as u8, seq))
        .collect();
    assert_eq!(verify_batch(ROOM, &readings, &mut rng), Ok(()));
    readings[6].content = content(UnixMillis::new(0), 0);
    let source = ReadingError::Bpm(BpmError::TooLow { found: 0 });
    assert_eq!(
        verify_batch(ROOM, &readings, &mut rng),
        Err(BatchError {
            position: 6,
            source
        })
    );
    readings[4].content = content(UnixMillis::new(0), 72);
    let source = readings[4].verify(ROOM).expect_err("it was altered");
    assert_eq!(
        verify_batch(ROOM, &readings, &mut rng),
        Err(BatchError {
            position: 4,
            source
        })
    );
    assert_eq!(verify_batch(ROOM, [], &mut rng), Ok(()));
}

/// A reading of the form, by the author with this seed.
fn any(form: ReadingForm, seed: u8, seq: u64) -> Reading {
    let key = SecretKey::from_seed([seed; 32]);
    match form {
        ReadingForm::Open => reading(seed, seq),
        ReadingForm::Sealed => {
            let sealed = crate::content::SealedContent::new([seed; 26]);
            key.sign_content(ROOM, seq, Content::Sealed(sealed))
        }
    }
}

fn form() -> impl Strategy<Value = ReadingForm> {
    prop_oneof![Just(ReadingForm::Open), Just(ReadingForm::Sealed)]
}

#[test]
fn no_rule_depends_on_what_is_sealed() {
    let sealed = any(ReadingForm::Sealed, 1, 0);
    assert_eq!(
        (sealed.check_fields(), sealed.verify(ROOM)),
        (Ok(()), Ok(()))
    );
}

proptest! {
    #[test]
    fn only_the_length_of_the_form_decodes(bytes: [u8; 65], more: [u8; 65], cut in 0_usize..150, form in form()) {
        let expected = form.reading_len();
        prop_assert!([114, 130].contains(&expected));
        let mut all = [bytes, more].concat();
        all.truncate(expected);
        let reading = Reading::decode(form, &all).expect("as many bytes as expected");
        prop_assert_eq!(reading.encoded_len(), expected);
        prop_assert_eq!(&reading.to_bytes()[..], &all[..]);
        all.resize(cut, 0);
        if cut != expected {
            let error = DecodeError::Length { what: "reading", expected, found: cut };
            prop_assert_eq!(Reading::decode(form, &all), Err(error));
        }
    }

    #[test]
    fn flipping_any_bit_invalidates_a_reading(bit in 0_usize..114 * 8, form in form()) {
        let mut bytes = any(form, 1, 3).to_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let altered = Reading::decode(form, &bytes).expect("as many bytes as before");
        prop_assert!(altered.verify(ROOM).is_err());
    }
}
