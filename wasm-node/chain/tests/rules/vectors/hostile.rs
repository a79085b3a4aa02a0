//! Blocks on the tip of the small chain that break one rule each, with the expected error.

use heartchain_chain::{
    block::{Block, BodyError, MAX_BLOCK_LEN, check_body},
    content::Content,
    hash::{BlockHash, ReadingsRoot, RoomId},
    header::Header,
    key::{SecretKey, Signature},
    reading::Reading,
    time::UnixMillis,
    validate::check_header,
    work::CompactTarget,
};
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use super::{
    blocks::{Tip, mine, sign, small_chain, small_room},
    errors::error_name,
};

/// Checks bytes as a block on this tip. Returns the name of the error and what it invalidates.
fn check_block(tip: &Tip, bytes: &[u8], now: u64) -> Result<(), (String, String)> {
    let block = Block::decode(tip.room.form(), bytes)
        .map_err(|error| (format!("Decode/{}", error_name(&error)), "Copy".into()))?;
    let Block { header, readings } = block;
    check_header(
        &tip.window,
        tip.hash,
        tip.index,
        &header,
        &header.hash(),
        UnixMillis::new(now),
    )
    .map_err(|error| {
        (
            format!("Header/{}", error_name(&error)),
            format!("{:?}", error.invalidates()),
        )
    })?;
    let body = |error: BodyError| {
        (
            format!("Body/{}", error_name(&error)),
            format!("{:?}", error.invalidates()),
        )
    };
    let mut rng = ChaCha12Rng::seed_from_u64(now);
    check_body(tip.room.id(), &header, &readings, |_| false, &mut rng).map_err(body)?;
    // The rest of rule 7: the first `seq` of each author in the block.
    let mut seqs = tip.next_seqs.clone();
    for (position, reading) in readings.iter().enumerate() {
        let next = seqs.entry(reading.author).or_insert(0);
        if reading.seq != *next {
            let Reading {
                author, seq: found, ..
            } = *reading;
            return Err(body(BodyError::Seq {
                position,
                author,
                expected: *next,
                found,
            }));
        }
        *next += 1;
    }
    Ok(())
}

/// Collects cases that are derived from one honest block.
struct Hostile {
    tip: Tip,
    time: u64,
    honest: Block,
    cases: Vec<Value>,
}

impl Hostile {
    fn bytes(&mut self, name: &str, bytes: &[u8], error: &str, invalidates: &str) {
        let verdict = check_block(&self.tip, bytes, self.time);
        assert_eq!(verdict, Err((error.into(), invalidates.into())), "{name}");
        self.cases.push(json!({ "name": name, "block": hex::encode(bytes), "error": error, "condemns": invalidates }));
    }

    fn block(
        &mut self,
        name: &str,
        header: Header,
        readings: &[Reading],
        error: &str,
        invalidates: &str,
    ) {
        let block = Block {
            header,
            readings: readings.to_vec(),
        };
        self.bytes(name, &block.encode(), error, invalidates);
    }

    /// The honest body with an altered header, mined again.
    fn header(&mut self, name: &str, alter: impl Fn(&mut Header), error: &str, invalidates: &str) {
        let Block {
            mut header,
            readings,
        } = self.honest.clone();
        alter(&mut header);
        self.block(name, mine(header), &readings, error, invalidates);
    }

    /// Another body with an honest header for it.
    fn body(&mut self, name: &str, readings: &[Reading], error: &str, invalidates: &str) {
        let header = mine(self.tip.template(self.time, readings));
        self.block(name, header, readings, error, invalidates);
    }

    fn headers(&mut self) {
        let (time, mtp) = (self.time, self.tip.window.mtp().get());
        self.header("wrong version", |h| h.version = 2, "Header/Version", "Copy");
        self.header(
            "unknown parent",
            |h| h.prev_hash = BlockHash::new([1; 32]),
            "Header/PrevHash",
            "Nothing",
        );
        self.header("index skipped", |h| h.index += 1, "Header/Index", "Header");
        self.header(
            "index of the parent",
            |h| h.index -= 1,
            "Header/Index",
            "Header",
        );
        self.header(
            "easier bits",
            |h| h.bits = CompactTarget::from_bits(0x207f_ffff),
            "Header/Bits",
            "Header",
        );
        let Block { header, readings } = self.honest.clone();
        // After a quiet gap the floor is expected, which has a second compact form.
        let quiet = self.tip.template(time + 100_000, &readings);
        let second_form = CompactTarget::from_bits(0x2100_0100);
        assert_eq!(second_form.target(), quiet.bits.target());
        let second_form = mine(Header {
            bits: second_form,
            ..quiet
        });
        self.block(
            "bits spelt otherwise",
            second_form,
            &readings,
            "Header/Bits",
            "Header",
        );

        let target = header.bits.target().expect("a target");
        let meets = |nonce: &u64| {
            target.is_met_by(
                &Header {
                    nonce: *nonce,
                    ..header
                }
                .hash(),
            )
        };
        let nonce = (0..).find(|nonce| !meets(nonce)).expect("most nonces miss");
        self.block(
            "not enough work",
            Header { nonce, ..header },
            &readings,
            "Header/Work",
            "Header",
        );

        let template = |time| self.tip.template(time, &readings);
        let (old, early) = (mine(template(mtp)), mine(template(time + 30_001)));
        self.block(
            "time not after the median",
            old,
            &readings,
            "Header/NotAfterMedian",
            "Header",
        );
        self.block(
            "time 30,001 ms ahead",
            early,
            &readings,
            "Header/TooEarly",
            "Nothing",
        );
    }

    fn bodies(&mut self) {
        let tip = self.tip.clone();
        let time = self.time;
        let next = |author: u8| {
            let seq = tip.next_seq(SecretKey::from_seed([author; 32]).author());
            move |ahead: u64| seq + ahead
        };
        let good = sign(&tip, 1, next(1)(0), time);
        let recorded = UnixMillis::new(time);
        let resign = |reading: Reading, bpm: u16| {
            let content = Content::Open {
                time: recorded,
                bpm,
            };
            Reading { content, ..reading }
        };

        self.body("no readings", &[], "Body/TooFewReadings", "Copy");
        let junk = |h: &mut Header| h.readings_root = ReadingsRoot::new([0; 32]);
        self.header("wrong root", junk, "Body/ReadingsRoot", "Copy");
        let Block { header, readings } = self.honest.clone();
        let turned: Vec<Reading> = readings.iter().rev().copied().collect();
        self.block(
            "readings turned round",
            header,
            &turned,
            "Body/ReadingsRoot",
            "Copy",
        );

        let faint = resign(good, 0);
        self.body("bpm 0", &[faint], "Body/Reading/Bpm/TooLow", "Descendants");
        self.body(
            "bpm 65535",
            &[resign(good, 65_535)],
            "Body/Reading/Bpm/TooHigh",
            "Descendants",
        );
        let late = Reading {
            content: Content::Open {
                time: UnixMillis::new(8_640_000_000_000_001),
                bpm: 61,
            },
            ..good
        };
        self.body(
            "reading's time too late",
            &[late],
            "Body/Reading/Time",
            "Descendants",
        );
        let forged = Reading {
            signature: Signature::new([0x11; 64]),
            ..good
        };
        self.body(
            "forged signature",
            &[forged],
            "Body/Reading/Signature",
            "Descendants",
        );
        self.body(
            "altered bpm",
            &[resign(good, 200)],
            "Body/Reading/Signature",
            "Descendants",
        );
        let swapped = Reading {
            author: sign(&tip, 2, 0, time).author,
            ..good
        };
        self.body(
            "another's signature",
            &[swapped],
            "Body/Reading/Signature",
            "Descendants",
        );
        let elsewhere = SecretKey::from_seed([1; 32]).sign(
            RoomId::new([9; 32]),
            good.seq,
            recorded,
            heartchain_chain::bpm::Bpm::MIN,
        );
        self.body(
            "signed for another room",
            &[elsewhere],
            "Body/Reading/Signature",
            "Descendants",
        );

        let ahead = |author: u8, ahead: u64| sign(&tip, author, next(author)(ahead), time);
        let error = "Body/Seq";
        self.body(
            "seq skipped in the block",
            &[good, ahead(1, 2)],
            error,
            "Descendants",
        );
        self.body(
            "seq twice in the block",
            &[good, good],
            error,
            "Descendants",
        );
        self.body(
            "seq skipped on the branch",
            &[ahead(1, 1)],
            error,
            "Descendants",
        );
        let again = sign(&tip, 1, next(1)(0) - 1, time);
        self.body("seq taken on the branch", &[again], error, "Descendants");
        self.body(
            "stranger begins at seq 1",
            &[sign(&tip, 9, 1, time)],
            error,
            "Descendants",
        );
        let flood: Vec<Reading> = (0..129).map(|seq| sign(&tip, 9, seq, time)).collect();
        self.body(
            "129 readings of one author",
            &flood,
            "Body/TooManyOfAuthor",
            "Descendants",
        );
    }

    fn raw_bytes(&mut self) {
        let bytes = self.honest.encode();
        self.bytes("empty message", &[], "Decode/Length", "Copy");
        self.bytes(
            "one byte short",
            &bytes[..bytes.len() - 1],
            "Decode/Length",
            "Copy",
        );
        self.bytes(
            "one byte more",
            &[&bytes[..], &[0]].concat(),
            "Decode/Length",
            "Copy",
        );
        let mut claimed = bytes.clone();
        claimed[Header::LEN..Header::LEN + 4].copy_from_slice(&1025_u32.to_le_bytes());
        self.bytes(
            "claims 1,025 readings",
            &claimed,
            "Decode/TooManyReadings",
            "Copy",
        );
        claimed[Header::LEN..Header::LEN + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        self.bytes(
            "claims 4,294,967,295 readings",
            &claimed,
            "Decode/TooManyReadings",
            "Copy",
        );
        claimed[Header::LEN..Header::LEN + 4].copy_from_slice(&1024_u32.to_le_bytes());
        self.bytes(
            "claims 1,024 readings and has two",
            &claimed,
            "Decode/Length",
            "Copy",
        );
        // Too large to be checked in as a vector.
        let oversize = vec![0; MAX_BLOCK_LEN + 1];
        let verdict = check_block(&self.tip, &oversize, self.time);
        assert_eq!(verdict, Err(("Decode/BlockTooLong".into(), "Copy".into())));
    }
}

pub(super) fn vectors() -> Value {
    let (_, tip) = small_chain(&small_room());
    let time = tip.time + 700;
    let next = |author: u8| tip.next_seq(SecretKey::from_seed([author; 32]).author());
    let readings = vec![sign(&tip, 1, next(1), time), sign(&tip, 2, next(2), time)];
    let honest = Block {
        header: mine(tip.template(time, &readings)),
        readings,
    };
    assert_eq!(check_block(&tip, &honest.encode(), time), Ok(()));

    let mut hostile = Hostile {
        tip,
        time,
        honest: honest.clone(),
        cases: Vec::new(),
    };
    hostile.headers();
    hostile.bodies();
    hostile.raw_bytes();
    json!({ "now": time, "honest": hex::encode(honest.encode()), "hostile": hostile.cases })
}
