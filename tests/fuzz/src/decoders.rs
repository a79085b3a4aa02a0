//! Fuzz targets of the decoders: an accepted input encodes to the same bytes and stays within its bounds, and an
//! invalid one is rejected without a panic. Contains no test data.

use heartchain_chain::{
    block::{Block, MAX_BLOCK_LEN, MAX_BLOCK_READINGS, check_body},
    content::ReadingForm,
    difficulty::Window,
    header::Header,
    profile::{MAX_PROFILE_LEN, Profile},
    reading::{Reading, verify_batch},
    room::{Room, RoomName, RoomParams},
    room_key::RoomKey,
    time::UnixMillis,
    tree::Tree,
};
use heartchain_sync::message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response};
use libp2p_webrtc_streams::frame::{Decoder, Frame, FrameLimit};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::{
    pool::{NOW, room as pool_room},
    rendezvous_message::{
        Answer, MAX_MESSAGE_LEN as MAX_RENDEZVOUS_LEN, MAX_RECORD_LEN, MAX_REGISTRATIONS, MAX_TTL,
        Question,
    },
    signal::{MAX_MESSAGE_LEN, Message, read_message},
};

/// The forms of readings: that of open rooms, and that of private ones.
const FORMS: [ReadingForm; 2] = [ReadingForm::Open, ReadingForm::Sealed];

/// A reading of either form: it encodes to the same bytes, and verification gives the same result alone and in a batch.
/// A member of a private room opens any seal without a panic.
pub fn reading(data: &[u8]) {
    for form in FORMS {
        reading_of(form, data);
    }
}

fn reading_of(form: ReadingForm, data: &[u8]) {
    let Ok(reading) = Reading::decode(form, data) else {
        let len = form.reading_len();
        assert_ne!(data.len(), len, "any {len} bytes are a reading");
        return;
    };
    assert_eq!(&reading.to_bytes()[..], data);
    let opened = Room::private(RoomKey::new([1; 32])).open(&reading);
    assert!(opened.is_err(), "sealed by chance: {reading:?}");
    let room = pool_room().id();
    let alone = reading.verify(room);
    let mut rng = ChaCha12Rng::from_seed([1; 32]);
    let batch = verify_batch(room, [&reading, &reading], &mut rng);
    assert_eq!(batch.map_err(|error| error.source), alone);
}

/// A header: it encodes to the same bytes, and validation never panics: on top of genesis, in a window that
/// contains the header, or in a tree.
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
    assert!(
        bits.target().is_ok(),
        "the difficulty rule yields valid targets"
    );
    if let Ok(target) = header.bits.target() {
        assert!(
            target.to_compact().target() == Ok(target),
            "a compact target converts without loss"
        );
        let _ = target.work();
    }
    if header.index == 1 && header.bits == bits {
        window.push(&header);
        let next = window.next_bits(header.time.saturating_add(1));
        assert!(
            next.target().is_ok(),
            "the difficulty rule yields valid targets"
        );
    }
}

/// A block of readings of either form: it encodes to the same bytes, and its body is checked within bounds.
pub fn block(data: &[u8]) {
    for block in FORMS
        .iter()
        .filter_map(|form| Block::decode(*form, data).ok())
    {
        assert_eq!(block.encode(), data);
        assert_eq!(block.encoded_len(), data.len());
        assert!(data.len() <= MAX_BLOCK_LEN && block.readings.len() <= MAX_BLOCK_READINGS);
        let mut rng = ChaCha12Rng::from_seed([2; 32]);
        let room = pool_room().id();
        let _ = check_body(room, &block.header, &block.readings, |_| false, &mut rng);
    }
}

/// A request of the sync protocol: decoding is strict, so it encodes to the same bytes.
pub fn request(data: &[u8]) {
    let decoded = FORMS.map(|form| Request::decode(form, data));
    for request in decoded.into_iter().flatten() {
        assert!(data.len() <= MAX_REQUEST_LEN);
        assert_eq!(request.encode(), data);
        assert_eq!(request.encoded_len(), data.len());
    }
}

/// A response of the sync protocol: decoding is strict, so it encodes to the same bytes.
pub fn response(data: &[u8]) {
    let decoded = FORMS.map(|form| Response::decode(form, data));
    for response in decoded.into_iter().flatten() {
        assert!(data.len() <= MAX_RESPONSE_LEN);
        assert_eq!(response.encode(), data);
        assert_eq!(response.encoded_len(), data.len());
    }
}

/// A profile of either kind of room: it encodes to the same bytes. No attacker can make one for the pool's rooms.
pub fn profile(data: &[u8]) {
    let decoded = FORMS.map(|form| Profile::decode(form, data));
    for profile in decoded.into_iter().flatten() {
        assert!(data.len() <= MAX_PROFILE_LEN);
        assert_eq!(profile.encode(), data);
        let _ = profile.verify(pool_room().id());
        let _ = Room::private(RoomKey::new([1; 32])).open_profile(&profile);
    }
}

/// The token of a private room's link: an accepted one is the token of its key.
pub fn token(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(key) = RoomKey::from_token(text)
    {
        assert_eq!(key.to_token(), text);
    }
}

/// Room parameters: an accepted name is not changed, and the room's genesis is consistent.
pub fn room(data: &[u8]) {
    let Some((numbers, name)) = data.split_first_chunk::<9>() else {
        return;
    };
    let Ok(name) = str::from_utf8(name) else {
        return;
    };
    let Ok(accepted) = RoomName::new(name) else {
        return;
    };
    assert_eq!(accepted.as_str(), name);
    assert!((1..=64).contains(&name.len()) && name.trim() == name);
    let [floor, interval @ ..] = *numbers;
    let Ok(params) = RoomParams::new(accepted, floor, u64::from_le_bytes(interval)) else {
        return;
    };
    let room = Room::new(params);
    assert_eq!(room.genesis().hash(), room.genesis_hash());
    assert_eq!(room.floor().to_compact(), room.genesis().bits);
    let next = Window::genesis(&room).next_bits(UnixMillis::new(1));
    assert_eq!(next, room.genesis().bits, "a room begins at its floor");
}

/// Frames of a data channel: however the bytes are split, the frames are the same, and none exceeds its bound.
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

/// Messages of the signalling protocol, streamed and alone: a decoded message can be encoded and decoded again to the
/// same message.
pub fn signalling(data: &[u8]) {
    if let Ok(message) = Message::decode(data.to_vec().into()) {
        let encoded = message.encode();
        let mut stream = &encoded[..];
        let decoded = futures::executor::block_on(read_message(&mut stream));
        if data.len() <= MAX_MESSAGE_LEN - 16 {
            assert_eq!(decoded.ok().flatten(), Some(message));
        }
    }
    let mut stream = data;
    while let Ok(Some(message)) = futures::executor::block_on(read_message(&mut stream)) {
        let (Message::Offer(text) | Message::Answer(text) | Message::Candidate(text)) = message;
        assert!(text.len() <= MAX_MESSAGE_LEN);
    }
}

/// A relay's rendezvous message: within its bounds, and its cookie can be sent back.
pub fn rendezvous(data: &[u8]) {
    let Ok(answer) = Answer::decode(data) else {
        return;
    };
    assert!(data.len() <= MAX_RENDEZVOUS_LEN);
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
