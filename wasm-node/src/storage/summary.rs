//! The summary of a segment: the headers of its blocks, the author and sequence number of each reading, and a digest of
//! the segment. It is about a ninth of the segment's size, so a tab with a long chain can start before it has read the
//! bodies. Never validates a block. The bytes are in docs/storage.md, "Summaries".
//!
//! A summary is written from verified bodies, in one transaction with its segment. Its checksum covers the summary, its
//! digest the bytes of the segment. A segment that matches the digest therefore holds exactly the verified bodies.

use std::collections::HashMap;

use heartchain_chain::{
    block::MAX_BLOCK_READINGS,
    hash::BlockHash,
    header::Header,
    key::Author,
    tree::{Entry, IdPrefix},
};
use heartchain_sync::IndexedBlock;
use unsigned_varint::{decode, encode};
use wasm_bindgen::JsValue;

use super::records;

/// Bytes of a segment's summary: each reading may have a different author.
const MAX_SUMMARY_LEN: usize = 512 * 1024;

/// SHA-256 of a segment's bytes.
pub(super) type Digest = [u8; 32];

/// The summary of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// The digest of the segment; `None` while the segment lacks bodies.
    pub(super) digest: Option<Digest>,
    /// In the order of the segment, which is by height.
    pub(super) blocks: Vec<IndexedBlock>,
}

impl Summary {
    /// Encodes the summary of the segment with this key.
    pub(super) fn record(&self, first: u32) -> JsValue {
        records::checksummed_record(&location(first), &self.encode())
    }

    /// Decodes a summary; `None` if the record is corrupt.
    pub(super) fn read(first: u32, value: &JsValue) -> Option<Self> {
        let bytes = records::read_checksummed(&location(first), value, MAX_SUMMARY_LEN)?;
        Self::decode(&bytes)
    }

    fn encode(&self) -> Vec<u8> {
        let mut numbers: HashMap<Author, usize> = HashMap::new();
        let mut authors = Vec::new();
        let mut blocks = Vec::new();
        for block in &self.blocks {
            blocks.extend_from_slice(block.hash.as_bytes());
            blocks.extend_from_slice(&block.header.to_bytes());
            put_varint(&mut blocks, block.entries.len() as u64);
            for entry in &block.entries {
                let next = numbers.len();
                let number = *numbers.entry(entry.author).or_insert_with(|| {
                    authors.extend_from_slice(entry.author.as_bytes());
                    next
                });
                put_varint(&mut blocks, number as u64);
                put_varint(&mut blocks, entry.seq);
                blocks.extend_from_slice(&entry.prefix.to_bits().to_le_bytes());
            }
        }
        let mut bytes = vec![u8::from(self.digest.is_some())];
        bytes.extend_from_slice(&self.digest.unwrap_or_default());
        put_varint(&mut bytes, numbers.len() as u64);
        bytes.extend_from_slice(&authors);
        bytes.extend_from_slice(&blocks);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (has_digest, rest) = bytes.split_first()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (count, rest) = decode::usize(rest).ok()?;
        let (author_bytes, mut rest) = rest.split_at_checked(count.checked_mul(Author::LEN)?)?;
        let author_bytes = author_bytes.chunks_exact(Author::LEN);
        let authors: Vec<Author> = author_bytes
            .map(|bytes| Some(Author::new(bytes.try_into().ok()?)))
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

fn decode_block<'a>(bytes: &'a [u8], authors: &[Author]) -> Option<(IndexedBlock, &'a [u8])> {
    let (hash, rest) = bytes.split_first_chunk::<{ BlockHash::LEN }>()?;
    let (header, rest) = rest.split_first_chunk::<{ Header::LEN }>()?;
    let (count, mut rest) = decode::usize(rest).ok()?;
    if count > MAX_BLOCK_READINGS {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let (author, remaining) = decode::usize(rest).ok()?;
        let (seq, remaining) = decode::u64(remaining).ok()?;
        let (prefix, remaining) = remaining.split_first_chunk::<4>()?;
        entries.push(Entry {
            author: *authors.get(author)?,
            seq,
            prefix: IdPrefix::from_bits(u32::from_le_bytes(*prefix)),
        });
        rest = remaining;
    }
    let block = IndexedBlock {
        hash: BlockHash::new(*hash),
        header: Header::decode(header).ok()?,
        entries,
    };
    Some((block, rest))
}

fn put_varint(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(encode::u64(number, &mut encode::u64_buffer()));
}

fn location(first: u32) -> String {
    format!("summary {first}")
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn summary() -> Summary {
        let block = |index: u8| IndexedBlock {
            hash: BlockHash::new([index; 32]),
            header: Header {
                version: 1,
                index: index.into(),
                time: heartchain_chain::time::UnixMillis::new(index.into()),
                prev_hash: BlockHash::new([7; 32]),
                readings_root: heartchain_chain::hash::ReadingsRoot::new([8; 32]),
                bits: heartchain_chain::work::CompactTarget::from_bits(9),
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
    fn summary_round_trips() {
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
    fn corrupt_or_truncated_summary_is_rejected() {
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
    fn malformed_summary_is_rejected() {
        let whole = summary().encode();
        // Truncated between two blocks, it is a valid summary of fewer blocks.
        let complete = (0..whole.len()).filter(|len| Summary::decode(&whole[..*len]).is_some());
        assert_eq!(complete.count(), summary().blocks.len());
        let mut malformed = whole;
        malformed[33] = 0;
        assert_eq!(Summary::decode(&malformed), None);
    }
}
