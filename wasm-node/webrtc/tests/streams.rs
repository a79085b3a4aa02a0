//! Tests of streams and connections between two peer connections in one page.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;

use std::io::ErrorKind;

use futures::future::{join, join_all};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p_webrtc_browser::{ConnectionError, MAX_CHANNELS, StreamConfig};
use pair::{
    assert_no_uncaught_errors, now_ms, pair, pattern, receive, round_trip, send, timeout,
    wait_until,
};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const MIB: usize = 1024 * 1024;

/// Chromium 148 has numbers for so many channels of one side.
const FEWEST_CHANNELS: usize = 500;

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
        let sending = async {
            send(&mut stream, &data).await.expect("open stream");
            drop(stream);
        };
        let ((), mut stream) = join(sending, timeout("stream", right.accept())).await;
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
    while let Some(opened) = left.try_open().now_or_never() {
        streams.push(opened.expect("connection is open"));
        assert!(streams.len() <= MAX_CHANNELS, "one more than allowed");
    }
    assert!(
        streams.len() >= FEWEST_CHANNELS,
        "only {} channels",
        streams.len()
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
