//! A listener and senders that do not follow the protocol: what it keeps, and whether honest peers connect meanwhile.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use libp2p_webrtc_direct::stack::{Stack, StackEvent};
use libp2p_webrtc_direct::stun::binding_request;
use libp2p_webrtc_direct::{Certificate, Limits};
use tokio::time::{sleep, timeout};

use support::{Server, TIME_LIMIT, dial, honest_peer_connects, socket_address};

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

/// Senders that never echo their cookie.
#[tokio::test(flavor = "multi_thread")]
async fn hellos_without_echo_start_nothing() {
    timeout(TIME_LIMIT, async {
        let mut server = Server::start(ADDRESS, |config| config).await;
        let target = socket_address(&server.address);
        let (_, hello) = client();
        for number in 0..5_000 {
            say_hello(number, target, &hello);
        }
        assert_eq!(server.counters.handshakes.get(), 0);
        for _ in 0..5 {
            honest_peer_connects(&mut server).await;
        }
        assert_eq!(server.counters.handshakes.get(), 5);
        assert_eq!(server.counters.panicked.get(), 0);
    })
    .await
    .expect("it takes too long");
}

/// More others begin between a cookie and its echo than a listener could keep.
#[tokio::test(flavor = "multi_thread")]
async fn echo_is_accepted_after_a_flood() {
    timeout(TIME_LIMIT, async {
        let server = Server::start(ADDRESS, |config| config).await;
        let target = socket_address(&server.address);
        let (mut client, hello) = client();
        let socket = say_hello(0, target, &hello);
        let mut buffer = [0; 2_048];
        let length = socket.recv(&mut buffer).expect("a cookie");
        client
            .handle_datagram(Instant::now(), &buffer[..length])
            .expect("valid");
        for number in 1..=3_000 {
            say_hello(number, target, &hello);
        }
        let since = Instant::now();
        let is_connected = |event: StackEvent| matches!(event, StackEvent::Connected(_));
        while !std::iter::from_fn(|| client.next_event()).any(is_connected) {
            assert!(since.elapsed() < Duration::from_secs(2), "no answer");
            client.handle_timeout(Instant::now()).expect("alive");
            client.flush(Instant::now()).expect("alive");
            while let Some(datagram) = client.next_datagram() {
                socket.send_to(&datagram, target).expect("loopback");
            }
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .expect("valid");
            if let Ok(length) = socket.recv(&mut buffer) {
                client
                    .handle_datagram(Instant::now(), &buffer[..length])
                    .expect("alive");
            }
        }
    })
    .await
    .expect("it takes too long");
}

/// A client and its first ClientHello.
fn client() -> (Stack, Vec<u8>) {
    let certificate = Certificate::generate().expect("a certificate");
    let mut client = Stack::dial(&certificate, Instant::now()).expect("valid");
    let hello = client.next_datagram().expect("a hello");
    (client, hello)
}

/// Sends a request and, after its answer, a hello from a new address.
fn say_hello(number: usize, target: SocketAddr, hello: &[u8]) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("valid");
    socket.send_to(&request(number), target).expect("loopback");
    socket.recv(&mut [0; 256]).expect("an answer");
    socket.send_to(hello, target).expect("loopback");
    socket
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
