//! Tests of the limits of channels, and of their numbers.

use super::*;
use crate::stack::StackEvent;
use crate::stack::tests::{Pair, events};

/// Tells the channels of the server what the peer has confirmed.
fn confirm(channels: &mut Channels, pair: &mut Pair) {
    // Acknowledgements are delayed, and the end of a channel waits for them.
    for _ in 0..3 {
        pair.run(Some);
        pair.now += Duration::from_secs(1);
        pair.client.handle_timeout(pair.now).expect("alive");
        pair.server.handle_timeout(pair.now).expect("alive");
    }
    for event in events(&mut pair.server) {
        match event {
            StackEvent::Finished(id) => channels.on_finished(id),
            StackEvent::Freed(id) => channels.on_freed(id),
            StackEvent::Connected(_) | StackEvent::Opened(_) | StackEvent::Readable(_) => {}
        }
    }
}

#[test]
fn peer_that_confirms_no_end_is_disconnected() {
    let mut pair = Pair::connected();
    let shared = Shared::new(StreamConfig::SPEC, 2, false);
    let mut channels = shared.lock();
    for id in (2..=20).step_by(2) {
        assert!(pair.client.open(id));
        pair.client.write(id, MessageKind::Control, &CHANNEL_OPEN);
    }
    pair.client.flush(pair.now).expect("alive");
    while let Some(datagram) = pair.client.next_datagram() {
        let handled = pair.server.handle_datagram(pair.now, &datagram);
        handled.expect("alive");
    }
    let mut outcomes = Vec::new();
    for event in events(&mut pair.server) {
        if let StackEvent::Opened(id) = event {
            outcomes.push(channels.on_opened(&mut pair.server, id));
        }
    }
    // Two are open, and three times as many closing.
    let refused = Err(ConnectionError::TooManyChannels);
    assert_eq!(outcomes.len(), 10);
    assert!(outcomes.drain(..8).all(|outcome| outcome == Ok(())));
    assert!(outcomes.iter().all(|outcome| *outcome == refused));
    assert_eq!((channels.len(), channels.closing.len()), (2, 6));

    confirm(&mut channels, &mut pair);
    assert_eq!(channels.closing.len(), 0);
    assert_eq!(channels.on_opened(&mut pair.server, 22), Ok(()));
}

#[test]
fn opening_waits_until_closing_is_confirmed() {
    let mut pair = Pair::connected();
    let shared = Shared::new(StreamConfig::SPEC, 1, false);
    let mut channels = shared.lock();
    for id in [1, 3, 5, 7] {
        assert_eq!(channels.next_free(), Some(id));
        let key = channels.add(id);
        assert!(pair.server.open(id));
        pair.server.write(id, MessageKind::Control, &CHANNEL_OPEN);
        channels.reset(&mut pair.server, id);
        channels.remove(key);
    }
    assert_eq!((channels.len(), channels.next_free()), (0, None));
    confirm(&mut channels, &mut pair);
    assert_eq!(channels.next_free(), Some(9));
}

/// Chromium has no channels above 1,023, of which the client has the even ones.
#[test]
fn numbers_are_reused_after_511_and_512() {
    for (is_client, first, last) in [(true, 2, 1_022), (false, 1, 1_023)] {
        let shared = Shared::new(StreamConfig::SPEC, 256, is_client);
        let mut channels = shared.lock();
        for id in (first..=last).step_by(2) {
            assert_eq!(channels.next_free(), Some(id));
            let key = channels.add(id);
            channels.remove(key);
            channels.on_finished(id);
            channels.on_freed(id);
        }
        // The one that is free for the longest time comes first.
        assert_eq!(channels.next_free(), Some(first));
        assert_eq!(channels.next_free(), Some(first + 2));
        channels.on_freed(first);
        while let Some(id) = channels.free.front().copied() {
            assert_eq!(channels.next_free(), Some(id));
        }
        assert_eq!(
            channels.next_free(),
            Some(last + 2),
            "all others are in use"
        );
    }
}
