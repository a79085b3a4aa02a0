//! Bytes that are not a block of the room: too few, too many, or of the other kind of room.

use heartchain_chain::{
    block::{Block, MAX_BLOCK_LEN, MAX_BLOCK_READINGS, max_block_readings},
    content::ReadingForm,
    header::Header,
};

use super::cases::Hostile;
use crate::vectors::blocks::mine;

/// The error of one reading too many: in a private room the bytes exceed their limit first.
const fn too_many(form: ReadingForm) -> &'static str {
    match form {
        ReadingForm::Open => "Decode/TooManyReadings",
        ReadingForm::Sealed => "Decode/BlockTooLong",
    }
}

impl Hostile {
    pub(super) fn raw_bytes(&mut self) {
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
        // A reading of 130 bytes in an open room, or of 114 bytes in a private one.
        let other = match self.tip.room.form() {
            ReadingForm::Open => ReadingForm::Sealed,
            ReadingForm::Sealed => ReadingForm::Open,
        };
        let wrong_form = [
            &bytes[..Header::LEN],
            &[1, 0, 0, 0],
            &vec![0; other.reading_len()],
        ];
        self.bytes(
            "a reading of the other kind of room",
            &wrong_form.concat(),
            "Decode/Length",
            "Copy",
        );
        let mut one = bytes.clone();
        one[Header::LEN] = 1;
        self.bytes("claims one reading of two", &one, "Decode/Length", "Copy");
        one[Header::LEN] = 3;
        self.bytes(
            "claims three readings of two",
            &one,
            "Decode/Length",
            "Copy",
        );
    }

    /// The most readings and bytes that decode, and one more. Copies of one reading are wrong only by rule 7, which comes
    /// after the limits.
    pub(super) fn sizes(&mut self) {
        let form = self.tip.room.form();
        let most = max_block_readings(form);
        let Block { readings, .. } = self.honest.clone();
        let reading = *readings.first().expect("an honest reading");
        let mut cases = vec![
            (most, "Body/Seq", "Descendants"),
            (most + 1, too_many(form), "Copy"),
        ];
        if most < MAX_BLOCK_READINGS {
            cases.push((MAX_BLOCK_READINGS + 1, too_many(form), "Copy"));
        }
        for (count, error, invalidates) in cases {
            let copies = vec![reading; count];
            let header = mine(self.tip.template(self.time, &copies));
            let count_bytes = u32::try_from(count).expect("a small number").to_le_bytes();
            let start = [&header.to_bytes()[..], &count_bytes].concat();
            let reading = reading.to_bytes().to_vec();
            self.parts(
                &format!("{count} copies of a reading"),
                &[(start, 1), (reading, count)],
                error,
                invalidates,
            );
        }
        for (count, error) in [
            (MAX_BLOCK_LEN, "Decode/Length"),
            (MAX_BLOCK_LEN + 1, "Decode/BlockTooLong"),
        ] {
            self.parts(
                &format!("{count} zeros"),
                &[(vec![0], count)],
                error,
                "Copy",
            );
        }
        let too_many = (vec![0xff], MAX_BLOCK_LEN + 1);
        self.parts(
            "131073 bytes that claim 4,294,967,295 readings",
            &[too_many],
            "Decode/BlockTooLong",
            "Copy",
        );
    }
}
