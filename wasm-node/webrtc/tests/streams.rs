//! Tests of streams and connections between two peer connections in one page.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::{join, join_all};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_timer::Delay;
use libp2p_webrtc_browser::frame::{Flag, encode_flag, encode_payload};
use libp2p_webrtc_browser::{
    ConnectionError, MAX_CHANNELS, MAX_PENDING_INBOUND, MAX_UNREAD, MAX_UNREAD_PER_CONNECTION,
    StreamConfig,
};
use pair::{
    End, assert_no_uncaught_errors, now_ms, pair, pattern, receive, round_trip, send, timeout,
    wait_until,
};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{RtcDataChannel, RtcDataChannelState};

wasm_bindgen_test_configure!(run_in_browser);

const MIB: usize = 1024 * 1024;

#[wasm_bindgen_test]
async fn large_transfers_work_in_both_directions_at_once() {
    for config in [StreamConfig::SPEC, StreamConfig::STOCK_SERVER] {
        let (left, right) = pair(config).await;
        left.echo();
        right.echo();
        let (one, two) = (pattern(MIB, 1), pattern(MIB, 2));
        let (from_right, from_left) = timeout(
            "echoes",
            join(round_trip(&left, &one), round_trip(&right, &two)),
        )
        .await;
        assert!(
            from_right == one,
            "echo of the right side is not what was sent"
        );
        assert!(
            from_left == two,
            "echo of the left side is not what was sent"
        );
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn half_closed_stream_is_still_readable() {
    for config in [StreamConfig::SPEC, StreamConfig::STOCK_SERVER] {
        let (left, right) = pair(config).await;
        let mut asking = left.open().await;
        send(&mut asking, b"question").await.expect("open stream");
        let mut answering = timeout("stream", right.accept()).await;
        assert_eq!(
            timeout("question", receive(&mut answering))
                .await
                .expect("whole"),
            b"question"
        );
        send(&mut answering, b"answer")
            .await
            .expect("still writable");
        assert_eq!(
            timeout("answer", receive(&mut asking))
                .await
                .expect("whole"),
            b"answer"
        );
        let error = asking.write(b"more").await.expect_err("closed for writing");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn data_arrives_after_close_and_drop() {
    for config in [StreamConfig::SPEC, StreamConfig::STOCK_SERVER] {
        let (left, right) = pair(config).await;
        let data = pattern(MIB / 2, 3);
        let mut stream = left.open().await;
        send(&mut stream, &data).await.expect("open stream");
        drop(stream);
        let mut stream = timeout("stream", right.accept()).await;
        assert!(timeout("data", receive(&mut stream)).await.expect("whole") == data);
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn dropping_an_open_stream_is_an_error_for_the_peer() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let mut stream = left.open().await;
    stream.write_all(b"half a mess").await.expect("open stream");
    let mut other = timeout("stream", right.accept()).await;
    drop(stream);
    let error = timeout("reset", receive(&mut other))
        .await
        .expect_err("not an orderly end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    let error = other
        .write(b"hello?")
        .await
        .expect_err("there is no reader");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    drop(other);
    wait_until("no channel left", || {
        left.channels() + right.channels() == 0
    })
    .await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn stream_dropped_before_open_leaves_no_channel() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    drop(left.open().await);
    let mut stream = timeout("stream", right.accept()).await;
    timeout("reset", receive(&mut stream))
        .await
        .expect_err("not an orderly end");
    drop(stream);
    wait_until("no channel left", || {
        left.channels() + right.channels() == 0
    })
    .await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn stream_is_reset_beyond_the_unread_limit() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let full = pattern(MAX_UNREAD, 4);
    let mut fits = left.open().await;
    send(&mut fits, &full).await.expect("open stream");
    let mut unread = timeout("stream", right.accept()).await;

    let mut floods = left.open().await;
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
    let mut flooded = timeout("stream", right.accept()).await;
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
    let (frame, times) = mib_of_frames();
    let before = memory();
    for _ in 0..48 {
        if right.end_reason().is_some() {
            break;
        }
        let channel = left.peer_connection().create_data_channel("");
        wait_until("open or over", || {
            channel.ready_state() != RtcDataChannelState::Connecting || right.end_reason().is_some()
        })
        .await;
        send_raw(&channel, &frame, times).await;
        assert!(right.unread() <= MAX_UNREAD_PER_CONNECTION);
    }
    wait_until("end", || right.end_reason().is_some()).await;
    assert_eq!(right.end_reason(), Some(ConnectionError::UnreadOverflow));
    let grown = memory() - before;
    assert!(grown < 16 * MIB, "grown by {grown} bytes for 48 MiB");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn five_hundred_streams_leave_no_channel_behind() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    right.echo();
    for batch in 0..25_u8 {
        let echoes = join_all((0..20_u8).map(|stream| {
            let left = &left;
            async move { (round_trip(left, &[batch, stream]).await, [batch, stream]) }
        }));
        for (echo, sent) in timeout("batch", echoes).await {
            assert_eq!(echo, sent);
        }
        let (here, there) = (left.channels(), right.channels());
        assert!(
            here <= 40 && there <= 40,
            "batch {batch}: {here} and {there} channels"
        );
    }
    wait_until("no channel left", || {
        left.channels() + right.channels() == 0
    })
    .await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn streams_to_a_stock_peer_are_closed_too() {
    let (left, right) = pair(StreamConfig::STOCK_SERVER).await;
    right.echo();
    let echoes = join_all((0..50_u8).map(|stream| {
        let left = &left;
        async move { round_trip(left, &[stream]).await }
    }));
    assert_eq!(
        timeout("echoes", echoes).await.concat(),
        (0..50).collect::<Vec<u8>>()
    );
    wait_until("no channel left", || {
        left.channels() + right.channels() == 0
    })
    .await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn closing_peer_is_noticed_immediately() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let mut stream = left.open().await;
    stream.write_all(b"hi").await.expect("open stream");
    let mut other = timeout("stream", right.accept()).await;
    let mut data = [0; 1];
    timeout("first byte", other.read_exact(&mut data))
        .await
        .expect("open stream");

    let started = now_ms();
    left.close().await;
    wait_until("end", || right.end_reason().is_some()).await;
    let took = now_ms() - started;
    assert!(took < 500.0, "took {took} ms");
    assert_eq!(left.end_reason(), Some(ConnectionError::Closed));
    assert_eq!(right.end_reason(), Some(ConnectionError::ClosedByPeer));
    other
        .read_exact(&mut data)
        .await
        .expect("data from before the close is still readable");
    assert_eq!(&data, b"i");
    for stream in [&mut stream, &mut other] {
        let error = timeout("end of the streams", receive(stream))
            .await
            .expect_err("not an orderly end");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
    }
    assert_eq!(
        right.try_open().await.expect_err("over"),
        ConnectionError::ClosedByPeer
    );
    drop((stream, other));
    assert_eq!((left.channels(), right.channels()), (0, 0));
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn opening_waits_at_the_channel_limit() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    right.echo();
    let mut streams = Vec::new();
    for _ in 0..MAX_CHANNELS {
        streams.push(left.open().await);
    }
    assert!(
        left.try_open().now_or_never().is_none(),
        "one more than allowed"
    );
    drop(streams.pop());
    timeout("room", left.open()).await;
    drop(streams);
    wait_until("no channel left", || {
        left.channels() + right.channels() == 0
    })
    .await;
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

#[wasm_bindgen_test]
async fn invalid_messages_reset_only_their_stream() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    let text = left.peer_connection().create_data_channel("");
    let malformed = left.peer_connection().create_data_channel("");
    let mut first = timeout("stream", right.accept()).await;
    let mut second = timeout("stream", right.accept()).await;
    wait_until("open", || {
        malformed.ready_state() == web_sys::RtcDataChannelState::Open
    })
    .await;
    text.send_with_str("hello").expect("open channel");
    malformed
        .send_with_u8_array(&[0xFF; 11])
        .expect("open channel");
    for stream in [&mut first, &mut second] {
        let error = timeout("reset", receive(stream))
            .await
            .expect_err("no frames");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    }
    left.echo();
    assert_eq!(
        timeout("another stream", round_trip(&right, b"fine")).await,
        b"fine"
    );
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn sent_frames_respect_the_limit() {
    use wasm_bindgen::JsCast;
    use wasm_bindgen::prelude::Closure;
    for config in [StreamConfig::SPEC, StreamConfig::STOCK_SERVER] {
        let (left, right) = pair(config).await;
        let longest = std::rc::Rc::new(std::cell::Cell::new(0));
        let raw = left.peer_connection().create_data_channel("");
        raw.set_binary_type(web_sys::RtcDataChannelType::Arraybuffer);
        let measure = {
            let longest = std::rc::Rc::clone(&longest);
            Closure::<dyn FnMut(web_sys::MessageEvent)>::new(move |event: web_sys::MessageEvent| {
                let data = js_sys::Uint8Array::new(&event.data());
                longest.set(longest.get().max(data.length() as usize));
            })
        };
        raw.set_onmessage(Some(measure.as_ref().unchecked_ref()));
        let mut stream = timeout("stream", right.accept()).await;
        stream
            .write_all(&pattern(100_000, 5))
            .await
            .expect("open stream");
        wait_until("longest frame", || {
            longest.get() == config.frame_limit.bytes()
        })
        .await;
        raw.set_onmessage(None);
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn dropping_a_busy_connection_causes_no_errors() {
    for round in 0..5 {
        let (left, right) = pair(StreamConfig::SPEC).await;
        let mut floods = left.open().await;
        let flood = pattern(MIB, round);
        wasm_bindgen_futures::spawn_local(async move {
            while floods.write_all(&flood).await.is_ok() {}
        });
        let mut flooded = timeout("stream", right.accept()).await;
        timeout("some of the flood", flooded.read_exact(&mut [0; 100_000]))
            .await
            .expect("flows");
        right.close().await;
        drop((right, flooded));
        wait_until("end", || left.end_reason().is_some()).await;
    }
    // After this many browser tasks, all events queued for the listeners have been delivered.
    for _ in 0..20 {
        futures_timer::Delay::new(std::time::Duration::from_millis(5)).await;
    }
    assert_no_uncaught_errors();
}
