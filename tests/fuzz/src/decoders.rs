//! The decoders: what they take they give back byte for byte, within their bounds, and what they refuse they refuse
//! without a panic. Knows no bytes of its own.

use borsh::BorshDeserialize as _;
use chain::{
    block::{Block, MAX_BLOCK_LEN, MAX_BLOCK_READINGS, check_body},
    difficulty::Window,
    header::Header,
    reading::{Reading, verify_batch},
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    tree::Tree,
};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use sync::message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response};

use crate::{
    data_frame::{Decoder, Frame, FrameLimit},
    pool::{NOW, room as pool_room},
    rendezvous_message::{
        Answer, MAX_ANSWER_LEN, MAX_RECORD_LEN, MAX_REGISTRATIONS, MAX_TTL, Question,
    },
    signal::{MAX_MESSAGE_LEN, Message, read_message},
};

/// A reading: its bytes come back, and the verdict on it is one, alone or in a batch.
pub fn reading(data: &[u8]) {
    let Ok(reading) = Reading::decode(data) else {
        assert_ne!(data.len(), Reading::LEN, "any 114 bytes are a reading");
        return;
    };
    assert_eq!(reading.to_bytes(), data);
    let room = pool_room().id();
    let alone = reading.verify(room);
    let mut rng = ChaCha12Rng::from_seed([1; 32]);
    let batch = verify_batch(room, [&reading, &reading], &mut rng);
    assert_eq!(batch.map_err(|error| error.source), alone);
}

/// A header: its bytes come back, and judging it on genesis, on a window it was pushed on, and in a tree does no harm.
pub fn header(data: &[u8]) {
    let Ok(header) = Header::decode(data) else {
        assert_ne!(data.len(), Header::LEN, "any 93 bytes are a header");
        return;
    };
    assert_eq!(header.to_bytes(), data);
    assert_eq!(Ok(header), borsh::from_slice(data).map_err(|_| ()));
    let mut tree = Tree::new(pool_room().clone());
    let _ = tree.insert_header(&header, NOW);
    let mut window = Window::genesis(pool_room());
    let bits = window.next_bits(header.time);
    assert!(bits.target().is_ok(), "the rule writes targets");
    if let Ok(target) = header.bits.target() {
        assert!(
            target.to_compact().target() == Ok(target),
            "a compact target has no digits to lose"
        );
        let _ = target.work();
    }
    if header.index == 1 && header.bits == bits {
        window.push(&header);
        let next = window.next_bits(header.time.saturating_add(1));
        assert!(next.target().is_ok(), "the rule writes targets");
    }
}

/// A block: both ways of decoding agree, its bytes come back, and its body is judged within bounds.
pub fn block(data: &[u8]) {
    let whole = Block::decode(data);
    let streamed = Block::try_from_slice(data);
    if let Ok(block) = &whole {
        assert_eq!(block.encode(), data);
        assert_eq!(streamed.as_ref().ok(), Some(block));
        assert!(data.len() <= MAX_BLOCK_LEN && block.readings.len() <= MAX_BLOCK_READINGS);
        let mut rng = ChaCha12Rng::from_seed([2; 32]);
        let room = pool_room().id();
        let _ = check_body(room, &block.header, &block.readings, |_| false, &mut rng);
    } else if let Ok(block) = streamed {
        assert!(
            block.encoded_len() > MAX_BLOCK_LEN,
            "too long is all that the stream does not see"
        );
    }
}

/// A request of the sync protocol: strict, so that its bytes come back.
pub fn request(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        assert!(data.len() <= MAX_REQUEST_LEN);
        assert_eq!(request.encode(), data);
    }
}

/// An answer of the sync protocol: strict, so that its bytes come back.
pub fn response(data: &[u8]) {
    if let Ok(response) = Response::decode(data) {
        assert!(data.len() <= MAX_RESPONSE_LEN);
        assert_eq!(response.encode(), data);
    }
}

/// A room's name and numbers: what is taken stays as it is, and its genesis is sound.
pub fn room(data: &[u8]) {
    let Some((numbers, name)) = data.split_first_chunk::<9>() else {
        return;
    };
    let Ok(name) = str::from_utf8(name) else {
        return;
    };
    let Ok(taken) = RoomName::new(name) else {
        return;
    };
    assert_eq!(taken.as_str(), name);
    assert!((1..=64).contains(&name.len()) && name.trim() == name);
    let [floor, interval @ ..] = *numbers;
    let Ok(params) = RoomParams::new(taken, floor, u64::from_le_bytes(interval)) else {
        return;
    };
    let room = Room::new(params);
    assert_eq!(room.genesis().hash(), room.genesis_hash());
    assert_eq!(room.floor().to_compact(), room.genesis().bits);
    let next = Window::genesis(&room).next_bits(UnixMillis::new(1));
    assert_eq!(next, room.genesis().bits, "a room begins at its floor");
}

/// Frames of a data channel: in whatever pieces they come, the same frames, and none over its bound.
pub fn frame(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else {
        return;
    };
    let whole = frames(&mut Decoder::default(), [data].into_iter());
    let pieces = frames(
        &mut Decoder::default(),
        data.chunks(usize::from(piece).max(1)),
    );
    assert_eq!(whole, pieces);
    for frame in &whole.0 {
        assert!(frame.payload.len() <= FrameLimit::SPEC.max_payload() + 5);
    }
}

fn frames<'a>(
    decoder: &mut Decoder,
    messages: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<String>) {
    let mut frames = Vec::new();
    for message in messages {
        decoder.push(message);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

/// Messages of the signalling protocol, as a stream and alone: what is read can be said again and read the same.
pub fn signalling(data: &[u8]) {
    if let Ok(message) = Message::decode(data.to_vec().into()) {
        let said = message.encode();
        let mut stream = &said[..];
        let heard = futures::executor::block_on(read_message(&mut stream));
        if data.len() <= MAX_MESSAGE_LEN - 16 {
            assert_eq!(heard.ok().flatten(), Some(message));
        }
    }
    let mut stream = data;
    while let Ok(Some(message)) = futures::executor::block_on(read_message(&mut stream)) {
        let (Message::Offer(text) | Message::Answer(text) | Message::Candidate(text)) = message;
        assert!(text.len() <= MAX_MESSAGE_LEN);
    }
}

/// What a relay answers when it is asked who is there: within its bounds, and its cookie can be said again.
pub fn rendezvous(data: &[u8]) {
    let Ok(answer) = Answer::decode(data) else {
        return;
    };
    assert!(data.len() <= MAX_ANSWER_LEN);
    match answer {
        Answer::Registered(ttl) => assert!(ttl <= MAX_TTL),
        Answer::Discovered { found, cookie } => {
            assert!(found.len() <= MAX_REGISTRATIONS);
            for registration in found {
                assert!(registration.record.len() <= MAX_RECORD_LEN);
                assert!(registration.ttl <= MAX_TTL);
            }
            let question = Question::Discover {
                namespace: String::new(),
                limit: 1,
                cookie,
            };
            assert!(question.encode().len() < 1_024, "a cookie is short");
        }
        Answer::NotRegistered(status) | Answer::NotDiscovered(status) => assert_ne!(status.0, 0),
    }
}
