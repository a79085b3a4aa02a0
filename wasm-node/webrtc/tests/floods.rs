//! Floods: a peer that sends more than is read makes the other side hold no more than the limits, and honest streams
//! are not affected.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;

use std::io::{Error, ErrorKind};
use std::time::Duration;

use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt};
use futures_timer::Delay;
use libp2p_webrtc_browser::frame::{Flag, encode_flag, encode_payload};
use libp2p_webrtc_browser::{
    ConnectionError, MAX_OVERFLOWS, MAX_PENDING_INBOUND, MAX_UNREAD, MAX_UNREAD_PER_CONNECTION,
    MAX_UNREAD_UNACCEPTED, StreamConfig,
};
use pair::{End, assert_no_uncaught_errors, pair, pattern, receive, send, timeout, wait_until};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{RtcDataChannel, RtcDataChannelState};

wasm_bindgen_test_configure!(run_in_browser);

const MIB: usize = 1024 * 1024;

#[wasm_bindgen_test]
fn reason_is_found_in_wrapped_errors() {
    let mut error = Error::other(ConnectionError::UnreadOverflow);
    for _ in 0..3 {
        let found = ConnectionError::find_in(&error);
        assert_eq!(found, Some(&ConnectionError::UnreadOverflow));
        error = Error::other(error);
    }
    for other in [ErrorKind::ConnectionReset.into(), Error::other("a text")] {
        assert_eq!(ConnectionError::find_in(&other), None);
    }
}

#[wasm_bindgen_test]
async fn stream_is_reset_beyond_the_unread_limit() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let full = pattern(MAX_UNREAD, 4);
    let mut fits = left.open().await;
    let accepted = timeout("stream", right.accept());
    let (sent, mut unread) = join(send(&mut fits, &full), accepted).await;
    sent.expect("open stream");

    let mut floods = left.open().await;
    let mut flooded = timeout("stream", right.accept()).await;
    let flooding = async {
        loop {
            floods.write_all(&full).await?;
        }
    };
    let error: std::io::Result<()> = timeout("reset of the flood", flooding).await;
    assert_eq!(
        error.expect_err("the flood is stopped").kind(),
        ErrorKind::ConnectionReset
    );
    let error = receive(&mut flooded).await.expect_err("data is missing");
    assert!(
        error
            .to_string()
            .contains(&format!("more than {MAX_UNREAD} bytes unread")),
        "{error}"
    );

    assert!(
        timeout("the stream beside it", receive(&mut unread))
            .await
            .expect("whole")
            == full
    );
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn malformed_stream_keeps_no_memory() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let raw = raw_channel(&left).await;
    let _held = timeout("stream", right.accept()).await;
    raw.send_with_u8_array(&[0xFF; 11]).expect("open channel");
    let before = memory();
    send_raw(&raw, &[0xFF; 65_536], 512).await;
    let grown = memory() - before;
    assert!(grown < 8 * MIB, "grown by {grown} bytes for 32 MiB");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn dropped_streams_keep_no_memory() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let (frame, times) = mib_of_frames();
    let mut raw = Vec::new();
    let before = memory();
    for _ in 0..32 {
        let channel = raw_channel(&left).await;
        let mut stream = timeout("stream", right.accept()).await;
        send_raw(&channel, &frame, times).await;
        channel
            .send_with_u8_array(&encode_flag(Flag::Fin))
            .expect("open channel");
        // All of it has arrived once FIN has.
        timeout("first byte", stream.read_exact(&mut [0; 1]))
            .await
            .expect("open stream");
        stream.close().await.expect("open stream");
        Delay::new(Duration::from_millis(20)).await;
        drop(stream);
        // Never acknowledge FIN, so that the other side keeps waiting.
        raw.push(channel);
    }
    let grown = memory() - before;
    assert!(grown < 16 * MIB, "grown by {grown} bytes for 32 MiB");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn flood_over_many_streams_closes_the_connection() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let before = memory();
    let mut unread = Vec::new();
    for _ in 0..48 {
        if right.end_reason().is_some() {
            break;
        }
        let accepted = right.clone();
        let (stream, ()) = join(
            async move { timeout("stream", accepted.accept()).await },
            flood_new_channel(&left, &right),
        )
        .await;
        unread.push(stream);
        assert!(right.unread() <= MAX_UNREAD_PER_CONNECTION);
    }
    wait_until("end", || right.end_reason().is_some()).await;
    assert_eq!(right.end_reason(), Some(ConnectionError::UnreadOverflow));
    let grown = memory() - before;
    assert!(grown < 16 * MIB, "grown by {grown} bytes for 48 MiB");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn unaccepted_stream_is_reset_at_its_limit() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let fits = pattern(MAX_UNREAD_UNACCEPTED, 6);
    let mut kept = left.open().await;
    send(&mut kept, &fits).await.expect("open stream");
    let mut reset = left.open().await;
    reset.write_all(&fits).await.expect("open stream");
    wait_until("both full", || right.unread() == 2 * MAX_UNREAD_UNACCEPTED).await;
    reset.write_all(b"!").await.expect("open stream");
    let error = timeout("reset", receive(&mut reset))
        .await
        .expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");

    let mut kept = timeout("stream", right.accept()).await;
    assert!(timeout("data", receive(&mut kept)).await.expect("whole") == fits);
    let mut reset = timeout("stream", right.accept()).await;
    let error = receive(&mut reset).await.expect_err("data is missing");
    let expected = format!("more than {MAX_UNREAD_UNACCEPTED} bytes unread");
    assert!(error.to_string().contains(&expected), "{error}");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn flood_of_unaccepted_streams_is_stopped() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let before = memory();
    for flooded in 0.. {
        if right.end_reason().is_some() {
            assert!(
                flooded >= MAX_OVERFLOWS,
                "only {flooded} streams overflowed"
            );
            break;
        }
        assert!(flooded <= MAX_PENDING_INBOUND, "still connected");
        flood_new_channel(&left, &right).await;
        assert!(
            right.unread() <= MAX_UNREAD_UNACCEPTED,
            "{} unread",
            right.unread()
        );
    }
    assert_eq!(right.end_reason(), Some(ConnectionError::UnreadOverflow));
    let grown = memory() - before;
    assert!(grown < 4 * MIB, "grown by {grown} bytes for 17 MiB");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn filled_unaccepted_streams_stay_small() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let (mut frame, mut raw) = (Vec::new(), Vec::new());
    encode_payload(&[7; 8_192], &mut frame);
    let before = memory();
    for _ in 0..MAX_PENDING_INBOUND {
        if right.end_reason().is_some() {
            break;
        }
        let channel = left.peer_connection().create_data_channel("");
        wait_until("open or over", || {
            channel.ready_state() != RtcDataChannelState::Connecting || right.end_reason().is_some()
        })
        .await;
        // Exactly the limit, so that no stream is reset.
        send_raw(&channel, &frame, MAX_UNREAD_UNACCEPTED / 8_192).await;
        raw.push(channel);
        assert!(right.unread() <= MAX_UNREAD_PER_CONNECTION);
    }
    wait_until("end", || right.end_reason().is_some()).await;
    assert_eq!(right.end_reason(), Some(ConnectionError::UnreadOverflow));
    let grown = memory() - before;
    assert!(grown < 12 * MIB, "grown by {grown} bytes for 16 MiB");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn large_answer_may_be_read_slowly() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let answer = pattern(MIB + 1_000, 8);
    let mut asking = left.open().await;
    send(&mut asking, b"question").await.expect("open stream");
    let mut answering = timeout("stream", right.accept()).await;
    timeout("question", receive(&mut answering))
        .await
        .expect("whole");
    send(&mut answering, &answer).await.expect("open stream");
    wait_until("all of it unread", || left.unread() == answer.len()).await;
    let (mut read, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let length = timeout("more", asking.read(&mut part))
            .await
            .expect("whole");
        if length == 0 {
            break;
        }
        read.extend_from_slice(part.split_at(length).0);
        Delay::new(Duration::from_millis(20)).await;
    }
    assert!(read == answer);
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn unaccepted_streams_are_refused_at_the_limit() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let mut streams = Vec::new();
    for _ in 0..=MAX_PENDING_INBOUND {
        streams.push(left.open().await);
    }
    wait_until("refusal", || right.channels() == MAX_PENDING_INBOUND).await;
    let mut refused = streams.pop().expect("opened above");
    timeout("refusal", receive(&mut refused))
        .await
        .expect_err("refused");
    let mut kept = timeout("stream", right.accept()).await;
    kept.write_all(b"taken").await.expect("open stream");
    assert_no_uncaught_errors();
}

/// The size of the wasm memory in bytes; it never shrinks.
fn memory() -> usize {
    core::arch::wasm32::memory_size::<0>() * 65_536
}

/// Opens a data channel on `end` that is not wrapped in a stream.
async fn raw_channel(end: &End) -> RtcDataChannel {
    let channel = end.peer_connection().create_data_channel("");
    wait_until("open", || {
        channel.ready_state() == RtcDataChannelState::Open
    })
    .await;
    channel
}

/// Sends `message` this many times, as fast as the channel accepts it, until everything is sent or the channel closes.
async fn send_raw(channel: &RtcDataChannel, message: &[u8], times: usize) {
    let is_closed = || channel.ready_state() != RtcDataChannelState::Open;
    let unsent = |most| move || channel.buffered_amount() <= most || is_closed();
    for _ in 0..times {
        wait_until("room to send", unsent(4 * 1024 * 1024)).await;
        if channel.send_with_u8_array(message).is_err() {
            return;
        }
    }
    wait_until("sent", unsent(0)).await;
}

/// A frame, and how many times it must be sent for 1 MiB of payload.
fn mib_of_frames() -> (Vec<u8>, usize) {
    let mut frame = Vec::new();
    encode_payload(&[7; 8_192], &mut frame);
    (frame, MIB / 8_192)
}

/// Sends 1 MiB on a new channel, or as much as fits before either side gives up.
async fn flood_new_channel(from: &End, to: &End) {
    let (frame, times) = mib_of_frames();
    let channel = from.peer_connection().create_data_channel("");
    wait_until("open or over", || {
        channel.ready_state() != RtcDataChannelState::Connecting || to.end_reason().is_some()
    })
    .await;
    send_raw(&channel, &frame, times).await;
}
