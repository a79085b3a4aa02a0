//! How fast a side sends over a network that delays and loses datagrams, in virtual time: a seed gives the same result on any
//! computer, however busy it is.
//!
//! SCTP's congestion control halves its window for a loss, as Reno does, so about 1.22 packets of a round trip for each root
//! of the share that is lost are the most that it sends (Mathis et al., 1997). The test is that nothing else limits a side:
//! neither what the crate hands to SCTP at once, nor time-outs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use libp2p_webrtc_direct::Certificate;
use libp2p_webrtc_direct::stack::{MessageKind, Stack};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Time that a datagram takes.
const DELAY: Duration = Duration::from_millis(25);
/// Of 1,000 datagrams, so many are lost in each direction.
const LOST: u32 = 10;
/// Bytes of data in a packet.
const PACKET: f64 = 1_120.0;
const CHANNEL: u16 = 2;
/// Bytes of a message, as of a frame.
const MESSAGE: usize = 16_384;
/// Bytes that the crate hands to SCTP at once.
const WINDOW: usize = 64 * 1024;

/// A datagram on its way: when it arrives, its number, whether the client gets it, and its bytes.
type Flying = Reverse<(Instant, u64, bool, Vec<u8>)>;

#[test]
fn only_congestion_control_limits_a_lossy_path() {
    let number = |name: &str, usual: usize| {
        std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
    };
    let seeds = number("HEARTCHAIN_SEEDS", 20);
    let bytes = number("HEARTCHAIN_MIB", 2) << 20;
    let mut rates: Vec<f64> = (0..seeds as u64)
        .map(|seed| bytes as f64 / transfer(seed, bytes).as_secs_f64())
        .collect();
    rates.sort_by(f64::total_cmp);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let expected = 1.22 * PACKET / (2.0 * DELAY.as_secs_f64()) / (f64::from(LOST) / 1_000.0).sqrt();
    println!(
        "{:.3} MiB/s ({:.3} to {:.3}); Reno's {:.3}",
        mean / 1_048_576.0,
        rates[0] / 1_048_576.0,
        rates[rates.len() - 1] / 1_048_576.0,
        expected / 1_048_576.0
    );
    assert!(mean > 0.8 * expected, "{mean} of {expected} bytes a second");
}

/// Sends bytes from the client to the server. Returns how long that took.
fn transfer(seed: u64, bytes: usize) -> Duration {
    let mut random = StdRng::seed_from_u64(seed);
    let mut now = Instant::now();
    let (mut client, mut server) = ends(now);
    let mut flying: BinaryHeap<Flying> = BinaryHeap::new();
    let mut number = 0;
    let mut began = None;
    let (mut sent, mut received) = (0, 0);
    loop {
        while client.next_event().is_some() {
            if began.is_none() {
                assert!(client.open(CHANNEL));
                began = Some(now);
            }
        }
        while began.is_some() && sent < bytes && client.unacknowledged(CHANNEL) < WINDOW {
            assert!(client.write(CHANNEL, MessageKind::Binary, &[7; MESSAGE]));
            sent += MESSAGE;
        }
        while server.next_event().is_some() {}
        while let Some(message) = server.read(CHANNEL) {
            received += message.data.len();
        }
        if let Some(began) = began
            && received >= bytes
        {
            return now - began;
        }
        for to_client in [false, true] {
            let from = if to_client { &mut server } else { &mut client };
            from.flush(now).expect("alive");
            while let Some(datagram) = from.next_datagram() {
                number += 1;
                if began.is_none() || random.random_range(0..1_000) >= LOST {
                    flying.push(Reverse((now + DELAY, number, to_client, datagram)));
                }
            }
        }
        let timeouts = [client.next_timeout(), server.next_timeout()];
        let next = flying.peek().map(|Reverse((due, ..))| *due);
        let due = timeouts.into_iter().flatten().chain(next).min();
        // What is due and was not done is due again a little later.
        now = due
            .expect("something is due")
            .max(now + Duration::from_micros(1));
        while let Some(Reverse((due, ..))) = flying.peek()
            && *due <= now
            && let Some(Reverse((_, _, to_client, datagram))) = flying.pop()
        {
            let to = if to_client { &mut client } else { &mut server };
            to.handle_datagram(now, &datagram).expect("alive");
        }
        for end in [&mut client, &mut server] {
            if end.next_timeout().is_some_and(|due| due <= now) {
                end.handle_timeout(now).expect("alive");
            }
        }
    }
}

/// Both ends of a connection; the client has the cookie.
fn ends(now: Instant) -> (Stack, Stack) {
    let certificate = || Certificate::generate().expect("a certificate");
    let cookie = [7; 32];
    let mut client = Stack::dial(&certificate(), now).expect("valid");
    assert!(client.next_datagram().is_some(), "a ClientHello");
    let mut answer = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47];
    answer.extend([3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35, 254, 255, 32]);
    answer.extend(cookie);
    client.handle_datagram(now, &answer).expect("valid");
    let server = Stack::accept(&certificate(), cookie, now).expect("valid");
    (client, server)
}
