//! Reads the blocks of a long file in a worker of its own, which parses them and verifies their signatures. Never says what is
//! wrong with a file: what the worker does not read, the page's thread reads again.

use std::{future::poll_fn, rc::Rc, time::Duration};

use futures::future::{Either, select};
use heartchain_chain::{block::Block, content::ReadingForm, hash::RoomId, reading::Reading};
use heartchain_sync::{input_queue::VERIFIER_PATIENCE, verification::VerifiedBodies};
use js_sys::{JsString, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

use crate::{
    arguments::BlockChunk,
    clock,
    next_task::Pauses,
    verifier::VerifierScript,
    worker::{Inbox, RunningWorker, field, message},
};

/// Chunks of a file that the worker has at once: while one is read, the next one waits for it.
pub(crate) const MAX_CHUNKS_READ: usize = 3;

/// Blocks of a file, and the proof that their signatures are valid, unless one is not.
#[derive(Debug)]
pub(crate) struct ReadBlocks {
    pub(crate) blocks: Vec<Block>,
    pub(crate) verified: VerifiedBodies,
}

/// A worker that reads chunks in the order in which it gets them. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct ImportReader {
    running: RunningWorker,
    form: ReadingForm,
    /// `None`: the worker failed.
    inbox: Rc<Inbox<Option<JsValue>>>,
}

impl ImportReader {
    /// Starts the worker; `None` if there is no script, or the browser does not create it.
    pub(crate) fn start(script: &VerifierScript) -> Option<Self> {
        let inbox = Rc::new(Inbox::new(MAX_CHUNKS_READ));
        let running = script.start({
            let inbox = inbox.clone();
            move |data| inbox.push(data.cloned())
        })?;
        Some(Self {
            running,
            form: script.form,
            inbox,
        })
    }

    /// Gives the worker another chunk: at most [`MAX_CHUNKS_READ`] until their results are taken.
    pub(crate) fn read(&self, text: JsString) {
        self.running.post(&message([("text", text.into())]));
    }

    /// The blocks of the next chunk; `None` if the worker could not read it, failed, or is late.
    pub(crate) async fn next(&self, pauses: &mut Pauses) -> Option<ReadBlocks> {
        let next = poll_fn(|context| self.inbox.poll_next(context));
        let late = clock::sleep(Duration::from_millis(VERIFIER_PATIENCE));
        let Either::Left((message, _)) = select(next, late).await else {
            return None;
        };
        pauses.pause_if_due().await;
        let bytes: Uint8Array = field(&message?, "blocks")?.dyn_into().ok()?;
        ReadBlocks::decode(self.form, &bytes.to_vec())
    }
}

impl ReadBlocks {
    /// Parses a chunk of a file of this room and verifies its signatures; `None` if something else is wrong with it.
    ///
    /// `seed` must be unpredictable to the authors.
    pub(crate) fn read(
        room: RoomId,
        form: ReadingForm,
        text: &JsString,
        seed: [u8; 32],
    ) -> Option<Self> {
        let mut chunk = BlockChunk::of_text(room, form, text);
        let mut blocks = Vec::new();
        while let Some(block) = chunk.next_block().ok()? {
            blocks.push(block);
        }
        let bodies: Vec<&[Reading]> = blocks.iter().map(|block| &*block.readings).collect();
        let verified = VerifiedBodies::verify(room, &bodies, seed);
        Some(Self { blocks, verified })
    }

    /// The bytes that [`Self::decode`] reads: the proof and each block, all with their lengths.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_part(&mut bytes, &self.verified.to_bytes());
        for block in &self.blocks {
            push_part(&mut bytes, &block.encode());
        }
        bytes
    }

    fn decode(form: ReadingForm, bytes: &[u8]) -> Option<Self> {
        let (verified, mut rest) = next_part(bytes)?;
        let verified = VerifiedBodies::from_own_thread(verified)?;
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let block;
            (block, rest) = next_part(rest)?;
            blocks.push(Block::decode(form, block).ok()?);
        }
        Some(Self { blocks, verified })
    }
}

fn push_part(bytes: &mut Vec<u8>, part: &[u8]) {
    // No part is longer than a block.
    bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(part);
}

/// The next part, and what comes after it.
fn next_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{
        bpm::Bpm,
        difficulty::Window,
        key::SecretKey,
        mining,
        room::{Room, RoomName, RoomParams},
        time::UnixMillis,
    };
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        json,
        view::{BlockView, ReadingView},
    };

    fn room() -> Room {
        let name = RoomName::new("read").expect("a room name");
        Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
    }

    /// The room's first block, with some readings.
    fn block(readings: u64) -> Block {
        let room = room();
        let (key, time) = (SecretKey::from_seed([1; 32]), UnixMillis::new(5));
        let bpm = Bpm::new(72).expect("a heart rate");
        let readings = (0..readings).map(|seq| key.sign(room.id(), seq, time, bpm));
        let readings: Vec<Reading> = readings.collect();
        let time = UnixMillis::new(1_000_000);
        let window = Window::genesis(&room);
        let template = mining::template(&window, room.genesis_hash(), time, &readings);
        let header = mining::mine(template, 1 << 20).expect("the room is easy");
        Block { header, readings }
    }

    /// The block's line in an export.
    fn line(block: &Block) -> String {
        let room = room();
        let readings = block.readings.iter();
        let readings = readings.map(|reading| ReadingView::as_sent(&room, reading));
        let view = BlockView::new(block.header.hash(), &block.header, readings);
        json::to_text(&view).expect("JSON")
    }

    fn read(text: &str) -> Option<ReadBlocks> {
        let room = room();
        ReadBlocks::read(room.id(), room.form(), &text.into(), [7; 32])
    }

    #[test]
    fn lines_become_blocks_with_a_proof() {
        let blocks = [block(1), block(3)];
        let text = blocks.each_ref().map(line).join(",\n");
        let bytes = read(&text).expect("blocks").encode();
        let decoded = ReadBlocks::decode(room().form(), &bytes).expect("the same");
        assert_eq!(decoded.blocks, blocks);
        let proof = decoded.verified.to_bytes();
        assert_eq!(proof.len(), 3 * 32, "the room and two bodies");
        for length in [0, 3, bytes.len() - 1] {
            assert!(ReadBlocks::decode(room().form(), &bytes[..length]).is_none());
        }
    }

    #[test]
    fn forged_signature_has_no_proof() {
        let mut forged = block(2);
        forged.readings[0].signature = forged.readings[1].signature;
        let read = read(&line(&forged)).expect("blocks");
        assert_eq!(read.blocks, [forged]);
        assert_eq!(read.verified.to_bytes().len(), 32, "of no body");
    }

    #[test]
    fn lines_with_a_fault_are_not_read() {
        let line = line(&block(1));
        let altered = line.replace("\"bpm\":72", "\"bpm\":73");
        for text in ["7", "{}", &line[1..], &altered, &format!("{line},\n7")] {
            assert_eq!(read(text).map(|read| read.blocks), None, "{text}");
        }
    }
}
