//! The browser against stock rust-libp2p servers on `/webrtc-direct`: two running `examples/echo_server.rs`, whose
//! addresses are given at build time in `WEBRTC_ECHO_SERVER` and `WEBRTC_MORTAL_SERVER`. The second one dies here.
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
    End, assert_nothing_uncaught, now_ms, pattern, round_trip, send, soon, until,
    watch_for_uncaught_errors,
};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const ECHO_SERVER: &str = env!("WEBRTC_ECHO_SERVER");
const MORTAL_SERVER: &str = env!("WEBRTC_MORTAL_SERVER");

async fn dial_as(address: &Multiaddr, config: Config) -> Result<(PeerId, Connection), DialError> {
    watch_for_uncaught_errors();
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

/// Replaces the parts of an address.
fn with(address: &str, change: impl Fn(Protocol<'_>) -> Protocol<'_>) -> Multiaddr {
    address
        .parse::<Multiaddr>()
        .expect("valid address")
        .iter()
        .map(change)
        .collect()
}

#[wasm_bindgen_test]
async fn one_mib_goes_there_and_back() {
    let end = dial(ECHO_SERVER).await;
    let data = pattern(1024 * 1024, 1);
    for _ in 0..3 {
        let started = now_ms();
        assert!(soon("echo", round_trip(&end, &data)).await == data);
        web_sys::console::log_1(
            &format!("1 MiB there and back in {} ms", now_ms() - started).into(),
        );
    }
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn many_streams_leave_no_channel_behind() {
    let end = dial(ECHO_SERVER).await;
    let handshake = end.channels();
    for batch in 0..60_u8 {
        let sent: Vec<_> = (0..5_u8).map(|stream| vec![batch, stream]).collect();
        let echoes = join_all(sent.iter().map(|data| round_trip(&end, data)));
        assert_eq!(soon("echoes", echoes).await, sent);
    }
    until("no channel left but the handshake's", || {
        end.channels() == handshake
    })
    .await;
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn what_was_written_before_closing_and_dropping_arrives() {
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
        soon("echo", round_trip(&end, b"still fine")).await,
        b"still fine"
    );
    until("no channel left but the handshake's", || {
        end.channels() == handshake
    })
    .await;
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn server_is_found_by_name() {
    let named = with(ECHO_SERVER, |part| match part {
        Protocol::Ip4(_) | Protocol::Ip6(_) => Protocol::Dns("localhost".into()),
        other => other,
    });
    let (_, connection) = dial_as(&named, Config::new(&Keypair::generate_ed25519()))
        .await
        .expect("server answers");
    assert_eq!(
        soon("echo", round_trip(&End::of(connection), b"hello")).await,
        b"hello"
    );
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn another_peer_or_certificate_is_refused() {
    let config = Config::new(&Keypair::generate_ed25519()).with_timeout(Duration::from_secs(3));
    let expected = Keypair::generate_ed25519().public().to_peer_id();
    let peer = with(ECHO_SERVER, |part| match part {
        Protocol::P2p(_) => Protocol::P2p(expected),
        other => other,
    });
    let error = dial_as(&peer, config.clone())
        .await
        .expect_err("somebody else");
    assert!(
        matches!(error, DialError::WrongPeer { expected: named, .. } if named == expected),
        "{error}"
    );

    let other = MORTAL_SERVER.parse::<Multiaddr>().expect("valid address");
    let certificate = with(ECHO_SERVER, |part| match part {
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
        .expect_err("other certificate");
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn nobody_there_is_told_in_time() {
    let nobody = with(ECHO_SERVER, |part| match part {
        Protocol::Udp(_) => Protocol::Udp(9),
        other => other,
    });
    let config = Config::new(&Keypair::generate_ed25519()).with_timeout(Duration::from_secs(2));
    let started = now_ms();
    let error = dial_as(&nobody, config).await.expect_err("nobody there");
    assert!(now_ms() - started < 3_000.0);
    assert!(matches!(error, DialError::TimedOut(_)), "{error}");
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn dead_server_is_noticed_within_15_s() {
    let end = dial(MORTAL_SERVER).await;
    let mut last_words = end.open().await;
    let started = now_ms();
    send(&mut last_words, b"die").await.expect("open stream");
    while end.over().is_none() && now_ms() - started < 15_000.0 {
        futures_timer::Delay::new(Duration::from_millis(20)).await;
    }
    web_sys::console::log_1(
        &format!("server's death noticed after {} ms", now_ms() - started).into(),
    );
    let over = end.over().expect("noticed within 15 s");
    assert!(
        matches!(
            over,
            ConnectionError::Disconnected | ConnectionError::Failed
        ),
        "{over}"
    );
    assert_nothing_uncaught();
}
