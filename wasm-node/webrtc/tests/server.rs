//! Tests of the browser against stock rust-libp2p servers on `/webrtc-direct`. Two instances of
//! `examples/echo_server.rs` must be running, with their addresses in `WEBRTC_ECHO_SERVER` and `WEBRTC_MORTAL_SERVER`
//! at compile time. The tests kill the second one.
#![cfg(target_arch = "wasm32")]

mod pair;

use std::time::Duration;

use futures::future::join_all;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{DialOpts, PortUse, Transport as _};
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::{Keypair, PeerId};
use libp2p_webrtc_browser::direct::{Config, DialError, Transport};
use libp2p_webrtc_browser::{Connection, ConnectionError};
use pair::{
    End, assert_no_uncaught_errors, now_ms, pattern, record_uncaught_errors, round_trip, send,
    timeout, wait_until,
};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const ECHO_SERVER: &str = env!("WEBRTC_ECHO_SERVER");
const MORTAL_SERVER: &str = env!("WEBRTC_MORTAL_SERVER");

async fn dial_as(address: &Multiaddr, config: Config) -> Result<(PeerId, Connection), DialError> {
    record_uncaught_errors();
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    Transport::new(config)
        .dial(address.clone(), options)
        .expect("dialable address")
        .await
}

async fn dial(address: &str) -> End {
    let config = Config::new(&Keypair::generate_ed25519());
    let address: Multiaddr = address.parse().expect("valid address");
    let (peer, connection) = dial_as(&address, config).await.expect("server answers");
    assert_eq!(address.iter().last(), Some(Protocol::P2p(peer)));
    End::of(connection)
}

/// Maps each component of an address.
fn map_address(address: &str, change: impl Fn(Protocol<'_>) -> Protocol<'_>) -> Multiaddr {
    address
        .parse::<Multiaddr>()
        .expect("valid address")
        .iter()
        .map(change)
        .collect()
}

#[wasm_bindgen_test]
async fn one_mib_is_echoed() {
    let end = dial(ECHO_SERVER).await;
    let data = pattern(1024 * 1024, 1);
    for _ in 0..3 {
        let started = now_ms();
        assert!(timeout("echo", round_trip(&end, &data)).await == data);
        web_sys::console::log_1(&format!("1 MiB echoed in {} ms", now_ms() - started).into());
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn many_streams_leave_no_channel_behind() {
    let end = dial(ECHO_SERVER).await;
    let handshake = end.channels();
    for batch in 0..60_u8 {
        let sent: Vec<_> = (0..5_u8).map(|stream| vec![batch, stream]).collect();
        let echoes = join_all(sent.iter().map(|data| round_trip(&end, data)));
        assert_eq!(timeout("echoes", echoes).await, sent);
    }
    wait_until("no channel left but the handshake's", || {
        end.channels() == handshake
    })
    .await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn data_arrives_after_close_and_drop() {
    let end = dial(ECHO_SERVER).await;
    let handshake = end.channels();
    for _ in 0..10 {
        let mut stream = end.open().await;
        send(&mut stream, &pattern(100_000, 2))
            .await
            .expect("open stream");
        drop(stream);
    }
    assert_eq!(
        timeout("echo", round_trip(&end, b"still fine")).await,
        b"still fine"
    );
    wait_until("no channel left but the handshake's", || {
        end.channels() == handshake
    })
    .await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn server_is_dialled_by_host_name() {
    let named = map_address(ECHO_SERVER, |part| match part {
        Protocol::Ip4(_) | Protocol::Ip6(_) => Protocol::Dns("localhost".into()),
        other => other,
    });
    let (_, connection) = dial_as(&named, Config::new(&Keypair::generate_ed25519()))
        .await
        .expect("server answers");
    assert_eq!(
        timeout("echo", round_trip(&End::of(connection), b"hello")).await,
        b"hello"
    );
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn wrong_peer_or_certificate_is_refused() {
    let config = Config::new(&Keypair::generate_ed25519()).with_timeout(Duration::from_secs(3));
    let expected = Keypair::generate_ed25519().public().to_peer_id();
    let peer = map_address(ECHO_SERVER, |part| match part {
        Protocol::P2p(_) => Protocol::P2p(expected),
        other => other,
    });
    let error = dial_as(&peer, config.clone())
        .await
        .expect_err("wrong peer ID");
    assert!(
        matches!(error, DialError::WrongPeer { expected: named, .. } if named == expected),
        "{error}"
    );

    let other = MORTAL_SERVER.parse::<Multiaddr>().expect("valid address");
    let certificate = map_address(ECHO_SERVER, |part| match part {
        Protocol::Certhash(_) => {
            let hash = other.iter().find_map(|part| match part {
                Protocol::Certhash(hash) => Some(hash),
                _ => None,
            });
            Protocol::Certhash(hash.expect("has a certificate hash"))
        }
        other => other,
    });
    dial_as(&certificate, config)
        .await
        .expect_err("wrong certificate");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn dial_of_an_unreachable_server_times_out() {
    let unreachable = map_address(ECHO_SERVER, |part| match part {
        Protocol::Udp(_) => Protocol::Udp(9),
        other => other,
    });
    let config = Config::new(&Keypair::generate_ed25519()).with_timeout(Duration::from_secs(2));
    let started = now_ms();
    let error = dial_as(&unreachable, config).await.expect_err("no server");
    assert!(now_ms() - started < 3_000.0);
    assert!(matches!(error, DialError::TimedOut(_)), "{error}");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn dead_server_is_noticed_within_15_s() {
    let end = dial(MORTAL_SERVER).await;
    let mut stream = end.open().await;
    let started = now_ms();
    send(&mut stream, b"die").await.expect("open stream");
    while end.end_reason().is_none() && now_ms() - started < 15_000.0 {
        futures_timer::Delay::new(Duration::from_millis(20)).await;
    }
    web_sys::console::log_1(&format!("dead server noticed after {} ms", now_ms() - started).into());
    let reason = end.end_reason().expect("noticed within 15 s");
    assert!(
        matches!(
            reason,
            ConnectionError::Disconnected | ConnectionError::Failed
        ),
        "{reason}"
    );
    assert_no_uncaught_errors();
}
