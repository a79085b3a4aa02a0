//! Nothing grows: streams and connections that are over leave no channel, no event listener, no reference to anything of
//! the page and no memory behind. With `WEBRTC_SOAK` set when this is compiled, it takes minutes instead of seconds.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;
mod swarms;

use std::time::Duration;

use futures::future::{join, join_all};
use futures_timer::Delay;
use libp2p_webrtc_browser::{StreamConfig, live_listeners};
use pair::{assert_nothing_uncaught, pair, pattern, round_trip, until};
use swarms::{Node, until_direct};
use wasm_bindgen::JsCast;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const LONG: bool = option_env!("WEBRTC_SOAK").is_some();
/// Streams of one connection, opened and closed.
const STREAMS: usize = if LONG { 10_000 } else { 1_000 };
/// Streams at one time.
const AT_ONCE: usize = 10;
/// Connections between two swarms, made and dropped. Chromium bears 500 in a page, each of these counts twice, and only
/// one that nothing refers to any more is taken off.
const CONNECTIONS: usize = if LONG { 500 } else { 40 };
/// How many of them may fill tables and pools first.
const WARM_UP: usize = if LONG { 100 } else { 20 };
/// References to things of the page that may be under way at the end, and not at the beginning, of a measurement.
const REFERENCES: u32 = 100;
/// Bytes of memory that may be added after the warm-up: a leak of 52 bytes a stream, or of 1.3 KiB a connection, is more.
const MEMORY: u32 = 512 * 1024;

/// What there is.
#[derive(Clone, Copy, Debug)]
struct Census {
    listeners: usize,
    references: u32,
    memory: u32,
}

impl Census {
    fn take() -> Self {
        let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
        let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
        Self {
            listeners: live_listeners(),
            references: wasm_bindgen::externref_heap_live_count(),
            memory: buffer.byte_length(),
        }
    }

    fn assert_no_more_than(self, before: Self) {
        console_log!("before {before:?}, after {self:?}");
        assert!(
            self.listeners <= before.listeners
                && self.references <= before.references + REFERENCES
                && self.memory <= before.memory + MEMORY,
            "there was {before:?}, and is {self:?}"
        );
    }
}

#[wasm_bindgen_test]
async fn streams_that_are_over_leave_nothing_behind() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    right.echo();
    let data = pattern(3_000, 1);
    // All that belongs to the connection itself is there after its first stream.
    round_trip(&left, &data).await;
    until("no channel", || left.channels() + right.channels() == 0).await;
    Delay::new(Duration::from_millis(200)).await;
    let idle = live_listeners();
    let mut before = None;
    for opened in (0..STREAMS).step_by(AT_ONCE) {
        let echoes = join_all((0..AT_ONCE).map(|_| round_trip(&left, &data))).await;
        assert!(echoes.iter().all(|echo| *echo == data));
        if before.is_none() && opened >= WARM_UP {
            over(&left, &right, idle).await;
            before = Some(Census::take());
        }
    }
    over(&left, &right, idle).await;
    Census::take().assert_no_more_than(before.expect("a warm-up"));
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn connections_that_are_over_leave_nothing_behind() {
    let idle = live_listeners();
    let (left, right) = join(Node::new(|config| config), Node::new(|config| config)).await;
    let data = pattern(1_000, 2);
    let mut before = None;
    for made in 0..CONNECTIONS {
        drop(left.call(&right));
        until_direct(&left, &right).await;
        assert_eq!(left.echo(&right, data.clone()).await, data);
        for link in left.relayed().iter().chain(&left.direct()) {
            left.close(link);
        }
        until("no connection", || {
            [&left, &right].map(|node| node.relayed().len() + node.direct().len()) == [0, 0]
        })
        .await;
        if made == WARM_UP {
            until("no listener", || live_listeners() <= idle).await;
            before = Some(Census::take());
        }
    }
    until("no listener", || live_listeners() <= idle).await;
    Census::take().assert_no_more_than(before.expect("a warm-up"));
    assert_eq!((left.failures(), right.failures()), (vec![], vec![]));
    assert_nothing_uncaught();
}

/// Waits until no stream is left, and nothing of it.
async fn over(left: &pair::End, right: &pair::End, idle: usize) {
    until("no channel", || left.channels() + right.channels() == 0).await;
    until("no listener", || live_listeners() <= idle).await;
}
