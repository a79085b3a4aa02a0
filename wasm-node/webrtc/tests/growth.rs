//! Leak tests: closed streams and connections leave no channel, no event listener, no reference to a JavaScript object
//! and no memory behind. If `WEBRTC_SOAK` is set at compile time, they run for minutes instead of seconds.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;
mod swarms;

use std::time::Duration;

use futures::future::{join, join_all};
use futures_timer::Delay;
use libp2p_webrtc_browser::{StreamConfig, live_listeners};
use pair::{assert_no_uncaught_errors, pair, pattern, round_trip, wait_until};
use swarms::{Node, wait_until_direct};
use wasm_bindgen::JsCast;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const SOAK: bool = option_env!("WEBRTC_SOAK").is_some();
/// Streams that are opened and closed on one connection.
const STREAMS: usize = if SOAK { 10_000 } else { 1_000 };
/// Streams that are open at the same time.
const CONCURRENT_STREAMS: usize = 10;
/// Connections that are opened and dropped between two swarms. Chromium allows 500 peer connections in a page. Each of
/// these connections needs two, and one still counts until it is garbage-collected.
const CONNECTIONS: usize = if SOAK { 500 } else { 40 };
/// Streams or connections before the first measurement, which fill tables and pools.
const WARM_UP: usize = if SOAK { 100 } else { 20 };
/// References to JavaScript objects that may exist at the end of a measurement but not at its beginning.
const MAX_EXTRA_REFERENCES: u32 = 100;
/// Bytes by which memory may grow after the warm-up. Leaking 52 bytes per stream or 1.3 KiB per connection exceeds
/// this.
const MAX_EXTRA_MEMORY: u32 = 512 * 1024;

/// The resources in use at one moment.
#[derive(Clone, Copy, Debug)]
struct Resources {
    listeners: usize,
    references: u32,
    memory: u32,
}

impl Resources {
    fn measure() -> Self {
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
                && self.references <= before.references + MAX_EXTRA_REFERENCES
                && self.memory <= before.memory + MAX_EXTRA_MEMORY,
            "grew from {before:?} to {self:?}"
        );
    }
}

#[wasm_bindgen_test]
async fn closed_streams_leave_nothing_behind() {
    let (left, right) = pair(StreamConfig::SPEC).await;
    right.echo();
    let data = pattern(3_000, 1);
    // The first stream creates everything that belongs to the connection itself.
    round_trip(&left, &data).await;
    wait_until("no channel", || left.channels() + right.channels() == 0).await;
    Delay::new(Duration::from_millis(200)).await;
    let idle = live_listeners();
    let mut before = None;
    for opened in (0..STREAMS).step_by(CONCURRENT_STREAMS) {
        let echoes = join_all((0..CONCURRENT_STREAMS).map(|_| round_trip(&left, &data))).await;
        assert!(echoes.iter().all(|echo| *echo == data));
        if before.is_none() && opened >= WARM_UP {
            wait_until_idle(&left, &right, idle).await;
            before = Some(Resources::measure());
        }
    }
    wait_until_idle(&left, &right, idle).await;
    Resources::measure().assert_no_more_than(before.expect("a warm-up"));
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn closed_connections_leave_nothing_behind() {
    let idle = live_listeners();
    let (left, right) = join(Node::new(|config| config), Node::new(|config| config)).await;
    let data = pattern(1_000, 2);
    let mut before = None;
    for made in 0..CONNECTIONS {
        drop(left.connect(&right));
        wait_until_direct(&left, &right).await;
        assert_eq!(left.echo(&right, data.clone()).await, data);
        for link in left.relayed().iter().chain(&left.direct()) {
            left.close(link);
        }
        wait_until("no connection", || {
            [&left, &right].map(|node| node.relayed().len() + node.direct().len()) == [0, 0]
        })
        .await;
        if made == WARM_UP {
            wait_until("no listener", || live_listeners() <= idle).await;
            before = Some(Resources::measure());
        }
    }
    wait_until("no listener", || live_listeners() <= idle).await;
    Resources::measure().assert_no_more_than(before.expect("a warm-up"));
    assert_eq!((left.failures(), right.failures()), (vec![], vec![]));
    assert_no_uncaught_errors();
}

/// Waits until all streams and their listeners are gone.
async fn wait_until_idle(left: &pair::End, right: &pair::End, idle: usize) {
    wait_until("no channel", || left.channels() + right.channels() == 0).await;
    wait_until("no listener", || live_listeners() <= idle).await;
}
