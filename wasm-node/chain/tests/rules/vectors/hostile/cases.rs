//! How hostile blocks are made, judged and written.

use heartchain_chain::{
    block::{Block, BodyError, check_body},
    header::Header,
    key::SecretKey,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    validate::check_header,
};
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use crate::vectors::{
    blocks::{Tip, mine, sign, small_chain},
    errors::error_name,
};

/// Checks bytes as a block on this tip. Returns the name of the error and what it invalidates.
pub(super) fn check_block(tip: &Tip, bytes: &[u8], now: u64) -> Result<(), (String, String)> {
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
pub(super) struct Hostile {
    pub(super) tip: Tip,
    pub(super) time: u64,
    pub(super) honest: Block,
    pub(super) valid: Vec<Value>,
    pub(super) cases: Vec<Value>,
    /// The readings that the cases with a number in `flood` share, in hexadecimal.
    pub(super) flood: String,
}

impl Hostile {
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8], error: &str, invalidates: &str) {
        let verdict = check_block(&self.tip, bytes, self.time);
        assert_eq!(verdict, Err((error.into(), invalidates.into())), "{name}");
        self.cases.push(json!({ "name": name, "block": hex::encode(bytes), "error": error, "invalidates": invalidates }));
    }

    /// Like [`Self::bytes`], with another clock.
    pub(super) fn case_at(
        &mut self,
        now: u64,
        name: &str,
        bytes: &[u8],
        error: &str,
        invalidates: &str,
    ) {
        let verdict = check_block(&self.tip, bytes, now);
        assert_eq!(verdict, Err((error.into(), invalidates.into())), "{name}");
        self.cases.push(json!({ "name": name, "now": now, "block": hex::encode(bytes), "error": error, "invalidates": invalidates }));
    }

    /// Like [`Self::bytes`], for many bytes that repeat: each part with the number of its repetitions.
    pub(super) fn parts(
        &mut self,
        name: &str,
        parts: &[(Vec<u8>, usize)],
        error: &str,
        invalidates: &str,
    ) {
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|(part, times)| part.repeat(*times))
            .collect();
        let verdict = check_block(&self.tip, &bytes, self.time);
        assert_eq!(verdict, Err((error.into(), invalidates.into())), "{name}");
        let parts: Vec<Value> = parts
            .iter()
            .map(|(part, times)| json!([hex::encode(part), times]))
            .collect();
        self.cases.push(
            json!({ "name": name, "block": parts, "error": error, "invalidates": invalidates }),
        );
    }

    /// A block that is valid, although barely.
    pub(super) fn valid(&mut self, name: &str, header: Header, readings: &[Reading]) {
        let readings = readings.to_vec();
        let bytes = Block { header, readings }.encode();
        assert_eq!(check_block(&self.tip, &bytes, self.time), Ok(()), "{name}");
        self.valid
            .push(json!({ "name": name, "block": hex::encode(bytes) }));
    }

    pub(super) fn block(
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
    pub(super) fn header(
        &mut self,
        name: &str,
        alter: impl Fn(&mut Header),
        error: &str,
        invalidates: &str,
    ) {
        let Block {
            mut header,
            readings,
        } = self.honest.clone();
        alter(&mut header);
        self.block(name, mine(header), &readings, error, invalidates);
    }

    /// Another body with an honest header for it.
    pub(super) fn body(
        &mut self,
        name: &str,
        readings: &[Reading],
        error: &str,
        invalidates: &str,
    ) {
        let header = mine(self.tip.template(self.time, readings));
        self.block(name, header, readings, error, invalidates);
    }

    /// On the tip of the small chain in this room: two readings make the honest block.
    pub(super) fn on_small_chain(room: &Room) -> Self {
        let (_, tip) = small_chain(room);
        let time = tip.time + 700;
        let next = |author: u8| tip.next_seq(SecretKey::from_seed([author; 32]).author());
        let readings = vec![sign(&tip, 1, next(1), time), sign(&tip, 2, next(2), time)];
        let honest = Block {
            header: mine(tip.template(time, &readings)),
            readings,
        };
        assert_eq!(check_block(&tip, &honest.encode(), time), Ok(()));
        Self {
            tip,
            time,
            honest,
            valid: Vec::new(),
            cases: Vec::new(),
            flood: String::new(),
        }
    }

    pub(super) fn vectors(self) -> Value {
        let mut vectors = json!({
            "now": self.time,
            "honest": hex::encode(self.honest.encode()),
            "valid": self.valid,
            "hostile": self.cases,
        });
        if !self.flood.is_empty() {
            vectors["flood"] = self.flood.into();
        }
        vectors
    }
}
