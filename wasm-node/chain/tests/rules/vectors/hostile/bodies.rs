//! Bodies that break one of the rules 1, 6, 7 and 8, or two of them, and those at the limits.

use heartchain_chain::{
    block::Block,
    content::Content,
    hash::{ReadingsRoot, RoomId},
    header::Header,
    key::{Author, SecretKey, Signature},
    reading::Reading,
    time::{MAX_READING_TIME, UnixMillis},
};
use serde_json::json;

use super::cases::{Hostile, check_block};
use crate::vectors::{
    blocks::{mine, sign},
    errors::{SMALL_ORDER, any_message},
};

impl Hostile {
    pub(super) fn bodies(&mut self) {
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
    }

    /// The limits of a reading's fields, signed by its author so that they alone decide.
    pub(super) fn limits(&mut self) {
        let (tip, time) = (self.tip.clone(), self.time);
        let room = tip.room.id();
        let key = SecretKey::from_seed([9; 32]);
        let signed = |seq, time, bpm| {
            let time = UnixMillis::new(time);
            key.sign_content(room, seq, Content::Open { time, bpm })
        };
        let latest = MAX_READING_TIME.get();
        let valid = [signed(0, 0, 20), signed(1, latest, 400)];
        let header = mine(tip.template(time, &valid));
        self.valid("bpm 20 and 400, first and last time", header, &valid);
        let refused = [
            ("bpm 0, signed", signed(0, time, 0), "Bpm/TooLow"),
            ("bpm 19, signed", signed(0, time, 19), "Bpm/TooLow"),
            ("bpm 401, signed", signed(0, time, 401), "Bpm/TooHigh"),
            (
                "time one too late, signed",
                signed(0, latest + 1, 60),
                "Time",
            ),
            (
                "bpm and time, signed",
                signed(0, latest + 1, 19),
                "Bpm/TooLow",
            ),
        ];
        for (name, reading, error) in refused {
            let error = format!("Body/Reading/{error}");
            self.body(name, &[reading], &error, "Descendants");
        }
        let no_author = Reading {
            author: Author::new(SMALL_ORDER),
            signature: any_message(),
            ..signed(0, time, 60)
        };
        self.body(
            "author of small order",
            &[no_author],
            "Body/Reading/AuthorSmallOrder",
            "Descendants",
        );
    }

    /// Bodies that break two rules, of which the first counts.
    pub(super) fn body_order(&mut self) {
        let (tip, time) = (self.tip.clone(), self.time);
        let unrelated = |readings: &[Reading]| {
            let mut header = tip.template(time, readings);
            header.readings_root = ReadingsRoot::new([0; 32]);
            mine(header)
        };
        let few = "Body/TooFewReadings";
        self.block("no readings, wrong root", unrelated(&[]), &[], few, "Copy");
        let key = SecretKey::from_seed([9; 32]);
        let faint = Content::Open {
            time: UnixMillis::new(time),
            bpm: 19,
        };
        let faint = |seq| key.sign_content(tip.room.id(), seq, faint);
        self.block(
            "wrong root, bpm 19",
            unrelated(&[faint(0)]),
            &[faint(0)],
            "Body/ReadingsRoot",
            "Copy",
        );
        let forged = |seq| Reading {
            signature: Signature::new([0x11; 64]),
            ..sign(&tip, 9, seq, time)
        };
        self.body(
            "forged signature, then bpm 19",
            &[forged(0), faint(1)],
            "Body/Reading/Bpm/TooLow",
            "Descendants",
        );
        self.body(
            "seq twice, then bpm 19",
            &[forged(0), forged(0), faint(1)],
            "Body/Reading/Bpm/TooLow",
            "Descendants",
        );
        self.body(
            "forged signature, then seq twice",
            &[forged(0), forged(0)],
            "Body/Seq",
            "Descendants",
        );
        self.body(
            "seq skipped on the branch, then a forged signature",
            &[sign(&tip, 8, 1, time), forged(0)],
            "Body/Reading/Signature",
            "Descendants",
        );
    }

    /// As many readings of one author as a block may have, and one more. The file has them only once.
    pub(super) fn flood(&mut self) {
        let (tip, time) = (self.tip.clone(), self.time);
        let flood: Vec<Reading> = (0..129).map(|seq| sign(&tip, 9, seq, time)).collect();
        for count in [128, 129] {
            let readings = flood.get(..count).expect("129 readings").to_vec();
            let header = mine(tip.template(time, &readings));
            let block = Block { header, readings };
            let bytes = block.encode();
            let name = format!("{count} readings of one author");
            let verdict = check_block(&tip, &bytes, time);
            let mut case = json!({
                "name": name,
                "block": hex::encode(&bytes[..Header::LEN + 4]),
                "flood": count,
            });
            if count == 128 {
                assert_eq!(verdict, Ok(()), "{name}");
                self.valid.push(case);
            } else {
                let (error, invalidates) = verdict.expect_err("too many of an author");
                assert_eq!(error, "Body/TooManyOfAuthor");
                (case["error"], case["invalidates"]) = (error.into(), invalidates.into());
                self.cases.push(case);
            }
        }
        let flood: Vec<u8> = flood.iter().flat_map(|r| r.to_bytes().to_vec()).collect();
        self.flood = hex::encode(flood);
    }
}
