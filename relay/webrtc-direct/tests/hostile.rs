//! A listener and senders that do not follow the protocol: what it keeps, and whether honest peers connect meanwhile.

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use libp2p_webrtc_direct::stack::Stack;
use libp2p_webrtc_direct::stun::binding_request;
use libp2p_webrtc_direct::{Certificate, Limits};
use tokio::time::{sleep, timeout};

use support::{Server, TIME_LIMIT, dial, exchange, open, serve, socket_address};

const ADDRESS: &str = "/ip4/127.0.0.1/udp/0/webrtc-direct";

fn request(number: usize) -> Vec<u8> {
    let name = format!("libp2p+webrtc+v1/{number:08}");
    binding_request([0; 12], &format!("{name}:{name}"), &name, 1)
}

/// Waits until `value` returns `wanted`.
async fn until(wanted: u64, value: impl Fn() -> u64) {
    let waiting = async {
        while value() != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = timeout(Duration::from_secs(30), waiting).await;
    assert!(outcome.is_ok(), "{} instead of {wanted}", value());
}

/// Whether a new peer can connect and use a stream, within 2 s.
async fn honest_peer_connects(server: &mut Server) {
    let since = Instant::now();
    let target = server.address.clone();
    let (dialled, accepted) = tokio::join!(dial(&target, |config| config), server.accept());
    let (_, mut connection) = dialled.expect("the handshake succeeds");
    serve(accepted.1);
    let stream = open(&mut connection).await.expect("alive");
    exchange(stream, b"hello").await.expect("echoed");
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_datagrams_start_nothing() {
    timeout(TIME_LIMIT, async {
        let mut server = Server::start(ADDRESS, |config| config).await;
        let target = socket_address(&server.address);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let good = request(1);
        let mut seed = 1_u64;
        for number in 0..10_000_usize {
            let mut datagram = match number % 3 {
                0 => good.clone(),
                1 => vec![22; 100],
                _ => vec![0; number % 1_500],
            };
            for byte in datagram.iter_mut().skip(usize::from(number % 3 == 0) * 30) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let [.., random] = seed.to_le_bytes();
                *byte ^= random;
            }
            socket.send_to(&datagram, target).expect("loopback");
        }
        honest_peer_connects(&mut server).await;
        assert_eq!(server.counters.handshakes.get(), 1);
        assert_eq!(server.counters.panicked.get(), 0);
    })
    .await
    .expect("it takes too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_handshakes_stay_within_their_limit() {
    timeout(TIME_LIMIT, async {
        let mut server = Server::start(ADDRESS, |config| {
            let mut limits = Limits::default();
            limits.unproved = 50;
            config.with_limits(limits)
        })
        .await;
        let target = socket_address(&server.address);
        let certificate = Certificate::generate().expect("a certificate");
        let mut hello = Stack::dial(&certificate, Instant::now()).expect("valid");
        let hello = hello.next_datagram().expect("a hello");
        let mut sockets = Vec::new();
        for number in 0..500 {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.send_to(&request(number), target).expect("loopback");
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .expect("valid");
            let mut buffer = [0; 256];
            socket.recv_from(&mut buffer).expect("an answer");
            socket.send_to(&hello, target).expect("loopback");
            sockets.push(socket);
        }
        until(500, || server.counters.handshakes.get()).await;
        until(450, || server.counters.ended.get()).await;
        assert_eq!(server.counters.evicted.get(), 450);
        for _ in 0..5 {
            honest_peer_connects(&mut server).await;
        }
        // The rest ends with the time limit of handshakes.
        until(505, || server.counters.ended.get()).await;
        assert_eq!(server.counters.panicked.get(), 0);
    })
    .await
    .expect("it takes too long");
}

/// The tasks of evicted handshakes take time to end, and a flood does not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn flood_does_not_outrun_evicted_handshakes() {
    timeout(TIME_LIMIT, async {
        let mut server = Server::start(ADDRESS, |config| {
            let mut limits = Limits::default();
            (limits.unproved, limits.connections) = (50, 10);
            config.with_limits(limits)
        })
        .await;
        let target = socket_address(&server.address);
        let certificate = Certificate::generate().expect("a certificate");
        let mut hello = Stack::dial(&certificate, Instant::now()).expect("valid");
        let hello = hello.next_datagram().expect("a hello");
        let mut most = 0;
        for number in 0..4_000 {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.send_to(&request(number), target).expect("loopback");
            socket.send_to(&hello, target).expect("loopback");
            let ended = server.counters.ended.get();
            most = most.max(server.counters.handshakes.get().saturating_sub(ended));
        }
        // Those of the table, 256 that are ending, and a batch of datagrams.
        assert!(most <= 50 + 10 + 256 + 64, "{most} tasks");
        honest_peer_connects(&mut server).await;
    })
    .await
    .expect("it takes too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited() {
    timeout(TIME_LIMIT, async {
        let mut server = Server::start(ADDRESS, |config| {
            let mut limits = Limits::default();
            limits.connections = 2;
            config.with_limits(limits)
        })
        .await;
        let target = server.address.clone();
        let mut held = Vec::new();
        for _ in 0..2 {
            let (dialled, accepted) = tokio::join!(dial(&target, |config| config), server.accept());
            held.push((dialled.expect("there is room"), accepted));
        }
        let short = |config: libp2p_webrtc_direct::Config| {
            let mut limits = Limits::default();
            limits.handshake = Duration::from_secs(2);
            config.with_limits(limits)
        };
        assert!(dial(&target, short).await.is_err(), "there is no room");
        assert!(server.counters.refused.get() > 0);
        held.pop();
        until(server.counters.handshakes.get() - 1, || {
            server.counters.ended.get()
        })
        .await;
        honest_peer_connects(&mut server).await;
    })
    .await
    .expect("it takes too long");
}
