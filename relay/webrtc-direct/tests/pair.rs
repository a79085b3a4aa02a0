//! Two native peers: handshakes, streams, limits of streams, and the end of connections.

mod support;

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, future};
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use libp2p_webrtc_direct::stack::StackError;
use libp2p_webrtc_direct::{Config, ConnectionError, Error, Limits, StreamConfig, Version};
use tokio::time::timeout;

use support::{Server, TIME_LIMIT, accept, dial, ended, exchange, open, pair, pair_with, serve};

const IP4: &str = "/ip4/127.0.0.1/udp/0/webrtc-direct";
const IP6: &str = "/ip6/::1/udp/0/webrtc-direct";

/// Changes the default limits.
fn limited_to(change: impl FnOnce(&mut Limits)) -> impl FnOnce(Config) -> Config {
    |config| {
        let mut limits = Limits::default();
        change(&mut limits);
        config.with_limits(limits)
    }
}

/// Runs a test within its time limit.
async fn limited(test: impl Future<Output = ()>) {
    timeout(TIME_LIMIT, test).await.expect("it takes too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_connect_on_one_port() {
    limited(async {
        for address in [IP4, IP6] {
            let mut server = Server::start(address, |config| config).await;
            for version in [Version::V1, Version::V2] {
                let target = server.address.clone();
                let dialled = dial(&target, |config| config.with_dial_version(version));
                let (dialled, accepted) = tokio::join!(dialled, server.accept());
                let (peer, mut connection) = dialled.expect("the handshake succeeds");
                assert_eq!(peer, server.peer);
                serve(accepted.1);
                let stream = open(&mut connection).await.expect("alive");
                exchange(stream, b"hello").await.expect("echoed");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_on_each_of_50_streams() {
    limited(async {
        let (_server, mut dialled, accepted) = pair(IP4).await;
        serve(accepted);
        let mut exchanges = Vec::new();
        for number in 0..50_u8 {
            let stream = open(&mut dialled).await.expect("alive");
            exchanges.push(tokio::spawn(async move {
                let data: Vec<u8> = (0..1 << 20)
                    .map(|at: u32| at.to_le_bytes()[0] ^ number)
                    .collect();
                exchange(stream, &data).await
            }));
        }
        for exchange in future::join_all(exchanges).await {
            exchange.expect("no panic").expect("echoed");
        }
        assert_eq!(dialled.unread(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_opens_streams_too() {
    limited(async {
        let (_server, dialled, mut accepted) = pair(IP4).await;
        serve(dialled);
        for _ in 0..3 {
            let stream = open(&mut accepted).await.expect("alive");
            exchange(stream, &[7; 100_000]).await.expect("echoed");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_channels_are_reused() {
    limited(async {
        let (_server, mut dialled, accepted) = pair(IP4).await;
        serve(accepted);
        // More streams than Chromium has numbers for.
        for _ in 0..1_100 {
            let stream = open(&mut dialled).await.expect("alive");
            exchange(stream, b"x").await.expect("echoed");
        }
        assert!(dialled.channel_count() <= 256);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_stream_is_reset() {
    limited(async {
        let (_server, mut dialled, mut accepted) = pair(IP4).await;
        let mut stream = open(&mut dialled).await.expect("alive");
        stream.write_all(b"x").await.expect("alive");
        let mut received = accept(&mut accepted).await.expect("alive");
        drop(stream);
        let mut rest = Vec::new();
        let error = received.read_to_end(&mut rest).await.expect_err("reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reader_makes_the_writer_wait() {
    limited(async {
        let (_server, mut dialled, mut accepted) = pair(IP4).await;
        let mut stream = open(&mut dialled).await.expect("alive");
        let data = vec![7_u8; 8 << 20];
        let sending = async {
            stream.write_all(&data).await?;
            stream.close().await
        };
        let receiving = async {
            let mut received = accept(&mut accepted).await.expect("alive");
            let mut buffer = vec![0; 256 * 1024];
            let (mut total, mut most) = (0, 0);
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                most = most.max(accepted.unread());
                let read = received.read(&mut buffer).await.expect("not reset");
                total += read;
                if read == 0 {
                    return (total, most);
                }
            }
        };
        let (sent, (total, most)) = tokio::join!(sending, receiving);
        sent.expect("not reset");
        assert_eq!(total, 8 << 20);
        assert!(most < (1024 + 64) * 1024, "{most} bytes unread");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_that_stops_is_reset_alone() {
    limited(async {
        let (_server, mut dialled, mut accepted) = pair(IP4).await;
        let mut stalled = open(&mut dialled).await.expect("alive");
        let writing = tokio::spawn(async move {
            let data = vec![7_u8; 64 * 1024];
            loop {
                if let Err(error) = stalled.write_all(&data).await {
                    return error;
                }
            }
        });
        let _never_read = accept(&mut accepted).await.expect("alive");
        let error = writing.await.expect("no panic");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        serve(accepted);
        let stream = open(&mut dialled).await.expect("alive");
        exchange(stream, &[1; 1_000_000]).await.expect("echoed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_other_side_at_once() {
    limited(async {
        let (_server, dialled, mut accepted) = pair(IP4).await;
        drop(dialled);
        let since = Instant::now();
        let error = ended(&mut accepted).await;
        assert_eq!(error, ConnectionError::Stack(StackError::ClosedByPeer));
        assert!(since.elapsed() < Duration::from_secs(2));
    })
    .await;
}

#[tokio::test]
async fn closed_listener_has_freed_its_port() {
    limited(async {
        let (mut server, first, accepted) = pair(IP4).await;
        let mut dialled = vec![first];
        let mut held = vec![accepted];
        let target = server.address.clone();
        for _ in 0..4 {
            let (another, accepted) = tokio::join!(dial(&target, |config| config), server.accept());
            dialled.push(another.expect("the handshake succeeds").1);
            held.push(accepted.1);
        }
        server.close().await;
        for mut connection in dialled {
            let error = ended(&mut connection).await;
            assert_eq!(error, ConnectionError::Stack(StackError::ClosedByPeer));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_peer_is_noticed() {
    limited(async {
        // The dialer's requests come each 4 s, so it is as good as gone.
        let short = limited_to(|limits| limits.silence = Duration::from_secs(2));
        let (_server, _dialled, mut accepted) = pair_with(IP4, short, |config| config).await;
        assert_eq!(ended(&mut accepted).await, ConnectionError::Silent);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificate_or_peer_is_refused() {
    limited(async {
        let server = Server::start(IP4, |config| config).await;
        let other = Server::start(IP4, |config| config).await;
        let hash = other.address.iter().last().expect("a certificate");
        let mut wrong = server.address.clone();
        wrong.pop();
        let error = dial(&wrong.with(hash), |config| config).await;
        let error = error.expect_err("another certificate");
        assert!(
            matches!(error, Error::Connection(ConnectionError::WrongCertificate)),
            "{error}"
        );
        let stranger = server.address.clone().with(Protocol::P2p(PeerId::random()));
        let error = dial(&stranger, |config| config).await;
        let error = error.expect_err("another peer");
        assert!(matches!(error, Error::WrongPeer { .. }), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_and_current_dialects_connect() {
    limited(async {
        for streams in [StreamConfig::SPEC, StreamConfig::STOCK_SERVER] {
            let other = |config: Config| config.with_streams(streams);
            let (_server, mut dialled, accepted) = pair_with(IP4, |config| config, other).await;
            serve(accepted);
            for _ in 0..20 {
                let stream = open(&mut dialled).await.expect("alive");
                exchange(stream, &[3; 50_000]).await.expect("echoed");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_beyond_the_limit_are_reset() {
    limited(async {
        // One is the handshake's.
        let three = limited_to(|limits| limits.channels = 3);
        let (_server, mut dialled, accepted) = pair_with(IP4, three, |config| config).await;
        serve(accepted);
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = open(&mut dialled).await.expect("alive");
            stream.write_all(b"x").await.expect("alive");
            stream.read_exact(&mut [0]).await.expect("echoed");
            held.push(stream);
        }
        let mut refused = open(&mut dialled).await.expect("alive");
        refused.write_all(b"x").await.expect("alive");
        let error = refused.read_exact(&mut [0]).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
        for stream in held {
            exchange(stream, b"still there").await.expect("echoed");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_waits_for_a_free_channel() {
    limited(async {
        let two = limited_to(|limits| limits.channels = 2);
        let (_server, dialled, mut accepted) = pair_with(IP4, two, |config| config).await;
        serve(dialled);
        let first = open(&mut accepted).await.expect("alive");
        let waiting = timeout(Duration::from_millis(200), open(&mut accepted)).await;
        assert!(waiting.is_err(), "there is no free channel");
        exchange(first, b"x").await.expect("echoed");
        let second = open(&mut accepted).await.expect("alive");
        exchange(second, b"y").await.expect("echoed");
    })
    .await;
}
