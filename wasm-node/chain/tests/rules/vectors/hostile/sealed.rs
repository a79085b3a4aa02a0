//! Blocks of a private room. Their rules do not depend on what is sealed.

use heartchain_chain::{
    bpm::Bpm,
    content::{Content, Measurement, SealedContent},
    hash::{ReadingsRoot, RoomId},
    key::{Author, SecretKey, Signature},
    reading::Reading,
    room_key::RoomKey,
    time::UnixMillis,
};

use super::cases::Hostile;
use crate::vectors::{
    blocks::{mine, sign},
    errors::{SMALL_ORDER, any_message},
    rooms::private_room,
    sealed::seal_reading,
};

impl Hostile {
    /// Blocks with readings that no member can read: they are valid.
    pub(super) fn unreadable(&mut self) {
        let (tip, time) = (self.tip.clone(), self.time);
        let key = SecretKey::from_seed([9; 32]);
        let author = key.author();
        let other = private_room(&RoomKey::new([0x2c; 32]), 8, 1000);
        let measured = Measurement {
            time: UnixMillis::new(time),
            bpm: Bpm::MIN,
        };
        let foreign = other.seal(&author, 0, measured).expect("its key is known");
        let sealed = |time, bpm| seal_reading(&tip.room, author, 0, time, bpm);
        let unreadable = [
            ("sealed with another key", foreign),
            ("sealed bpm 0", sealed(time, 0)),
            ("sealed bpm 401", sealed(time, 401)),
            ("sealed time too late", sealed(u64::MAX, 60)),
            (
                "seal of zeros",
                Content::Sealed(SealedContent::new([0; 26])),
            ),
        ];
        for (name, content) in unreadable {
            let reading = key.sign_content(tip.room.id(), 0, content);
            assert!(tip.room.open(&reading).is_err(), "{name}");
            let header = mine(tip.template(time, &[reading]));
            self.valid(name, header, &[reading]);
        }
    }

    pub(super) fn sealed_bodies(&mut self) {
        let (tip, time) = (self.tip.clone(), self.time);
        let good = sign(&tip, 9, 0, time);
        let Content::Sealed(sealed) = good.content else {
            panic!("a private room's reading is sealed");
        };
        let mut altered = *sealed.as_bytes();
        altered[0] ^= 1;
        let altered = Content::Sealed(SealedContent::new(altered));
        let swapped = sign(&tip, 9, 1, time).content;
        let elsewhere =
            SecretKey::from_seed([9; 32]).sign_content(RoomId::new([9; 32]), 0, good.content);
        let forged = Signature::new([0x11; 64]);
        let unsigned = [
            (
                "altered seal",
                Reading {
                    content: altered,
                    ..good
                },
            ),
            (
                "another reading's seal",
                Reading {
                    content: swapped,
                    ..good
                },
            ),
            (
                "forged signature",
                Reading {
                    signature: forged,
                    ..good
                },
            ),
            ("signed for another room", elsewhere),
        ];
        for (name, reading) in unsigned {
            self.body(name, &[reading], "Body/Reading/Signature", "Descendants");
        }
        let no_author = Reading {
            author: Author::new(SMALL_ORDER),
            signature: any_message(),
            ..good
        };
        let error = "Body/Reading/AuthorSmallOrder";
        self.body("author of small order", &[no_author], error, "Descendants");
        let seqs = [
            ("stranger begins at seq 1", vec![sign(&tip, 9, 1, time)]),
            ("seq twice in the block", vec![good, good]),
        ];
        for (name, readings) in seqs {
            self.body(name, &readings, "Body/Seq", "Descendants");
        }
        self.body("no readings", &[], "Body/TooFewReadings", "Copy");
        self.header(
            "wrong root",
            |header| header.readings_root = ReadingsRoot::new([0; 32]),
            "Body/ReadingsRoot",
            "Copy",
        );
    }
}
