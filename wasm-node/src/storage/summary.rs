//! What is known of the blocks of one shelf: their headers, who recorded what in them, and a digest of their bodies. It is a
//! tenth of the shelf, so that a tab with a long chain is at work before the bodies were read. Never judges a block.
//!
//! It is written with its shelf, in one transaction, from bodies that were checked. Its own checksum covers all of it,
//! its digest the shelf's bytes: so a shelf that has this digest holds what was checked, to the last byte.

use std::collections::HashMap;

use chain::{
    block::MAX_BLOCK_READINGS,
    hash::BlockHash,
    header::Header,
    key::Author,
    tree::{Entry, IdPrefix},
};
use sync::KnownBlock;
use unsigned_varint::{decode, encode};
use wasm_bindgen::JsValue;

use super::records;
use crate::config::MAX_SUMMARY_LEN;

/// SHA-256 of a shelf's bytes.
pub(super) type Digest = [u8; 32];

/// One shelf's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Of the shelf; `None` while bodies are missing on it.
    pub(super) digest: Option<Digest>,
    /// In the order of the shelf: by height.
    pub(super) blocks: Vec<KnownBlock>,
}

impl Summary {
    /// The record of the shelf that is found by this height.
    pub(super) fn record(&self, first: u32) -> JsValue {
        records::sealed_record(&place(first), &self.encode())
    }

    /// A summary, if it is what was written.
    pub(super) fn read(first: u32, value: &JsValue) -> Option<Self> {
        let bytes = records::read_sealed(&place(first), value, MAX_SUMMARY_LEN)?;
        Self::decode(&bytes)
    }

    fn encode(&self) -> Vec<u8> {
        let mut numbers: HashMap<Author, usize> = HashMap::new();
        let mut authors = Vec::new();
        let mut blocks = Vec::new();
        for block in &self.blocks {
            blocks.extend_from_slice(block.hash.as_bytes());
            blocks.extend_from_slice(&block.header.to_bytes());
            put(&mut blocks, block.entries.len() as u64);
            for entry in &block.entries {
                let next = numbers.len();
                let number = *numbers.entry(entry.author).or_insert_with(|| {
                    authors.extend_from_slice(entry.author.as_bytes());
                    next
                });
                put(&mut blocks, number as u64);
                put(&mut blocks, entry.seq);
                blocks.extend_from_slice(&entry.prefix.to_bits().to_le_bytes());
            }
        }
        let mut bytes = vec![u8::from(self.digest.is_some())];
        bytes.extend_from_slice(&self.digest.unwrap_or_default());
        put(&mut bytes, numbers.len() as u64);
        bytes.extend_from_slice(&authors);
        bytes.extend_from_slice(&blocks);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (has_digest, rest) = bytes.split_first()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (count, rest) = decode::usize(rest).ok()?;
        let (names, mut rest) = rest.split_at_checked(count.checked_mul(Author::LEN)?)?;
        let names = names.chunks_exact(Author::LEN);
        let authors: Vec<Author> = names
            .map(|name| Some(Author::new(name.try_into().ok()?)))
            .collect::<Option<_>>()?;
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let block;
            (block, rest) = decode_block(rest, &authors)?;
            blocks.push(block);
        }
        Some(Self {
            digest: (*has_digest == 1).then_some(*digest),
            blocks,
        })
    }
}

fn decode_block<'a>(bytes: &'a [u8], authors: &[Author]) -> Option<(KnownBlock, &'a [u8])> {
    let (hash, rest) = bytes.split_first_chunk::<{ BlockHash::LEN }>()?;
    let (header, rest) = rest.split_first_chunk::<{ Header::LEN }>()?;
    let (count, mut rest) = decode::usize(rest).ok()?;
    if count > MAX_BLOCK_READINGS {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let (author, behind) = decode::usize(rest).ok()?;
        let (seq, behind) = decode::u64(behind).ok()?;
        let (prefix, behind) = behind.split_first_chunk::<4>()?;
        entries.push(Entry {
            author: *authors.get(author)?,
            seq,
            prefix: IdPrefix::from_bits(u32::from_le_bytes(*prefix)),
        });
        rest = behind;
    }
    let block = KnownBlock {
        hash: BlockHash::new(*hash),
        header: Header::decode(header).ok()?,
        entries,
    };
    Some((block, rest))
}

fn put(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(encode::u64(number, &mut encode::u64_buffer()));
}

fn place(first: u32) -> String {
    format!("summary {first}")
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn summary() -> Summary {
        let block = |index: u8| KnownBlock {
            hash: BlockHash::new([index; 32]),
            header: Header {
                version: 1,
                index: index.into(),
                time: chain::time::UnixMillis::new(index.into()),
                prev_hash: BlockHash::new([7; 32]),
                readings_root: chain::hash::ReadingsRoot::new([8; 32]),
                bits: chain::work::CompactTarget::from_bits(9),
                nonce: u64::MAX,
            },
            entries: (0..index % 4)
                .map(|at| Entry {
                    author: Author::new([at; 32]),
                    seq: u64::MAX - u64::from(at),
                    prefix: IdPrefix::from_bits(u32::MAX),
                })
                .collect(),
        };
        Summary {
            digest: Some([5; 32]),
            blocks: (1..10).map(block).collect(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        for summary in [
            summary(),
            Summary::default(),
            Summary {
                digest: None,
                ..summary()
            },
        ] {
            assert_eq!(Summary::read(3, &summary.record(3)), Some(summary));
        }
    }

    #[test]
    fn a_flipped_bit_another_place_and_a_missing_end_are_damage() {
        let record = summary().record(3);
        let bytes = records::from_js(&record, MAX_SUMMARY_LEN).expect("bytes");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 16;
            assert_eq!(
                Summary::read(3, &records::to_js(&flipped)),
                None,
                "byte {at}"
            );
            assert_eq!(
                Summary::read(3, &records::to_js(&bytes[..at])),
                None,
                "{at} bytes"
            );
        }
        assert_eq!(Summary::read(4, &record), None);
        assert_eq!(Summary::read(3, &"text".into()), None);
    }

    #[test]
    fn bytes_that_are_sealed_and_no_summary_are_none() {
        let whole = summary().encode();
        // Cut between two blocks is a summary of fewer.
        let whole_ones = (0..whole.len()).filter(|len| Summary::decode(&whole[..*len]).is_some());
        assert_eq!(whole_ones.count(), summary().blocks.len());
        let mut unnamed = whole;
        unnamed[33] = 0;
        assert_eq!(Summary::decode(&unnamed), None);
    }
}
