//! Upgrades to direct connections between two swarms of one page. An in-memory connection stands in for a relayed one.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;
mod swarms;

use futures::future::join;
use libp2p_webrtc_browser::peer::{IceServer, address};
use pair::{assert_no_uncaught_errors, now_ms, pattern, timeout, wait_until};
use swarms::{Node, wait_until_direct};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const MIB: usize = 1024 * 1024;

async fn two_nodes() -> (Node, Node) {
    join(Node::new(|config| config), Node::new(|config| config)).await
}

/// Closes all connections except the direct one.
async fn close_relayed(left: &Node, right: &Node) {
    for link in left.relayed() {
        left.close(&link);
    }
    wait_until("relayed connections gone", || {
        left.relayed().is_empty() && right.relayed().is_empty()
    })
    .await;
}

#[wasm_bindgen_test]
async fn relayed_connection_is_upgraded_and_carries_data() {
    let (left, right) = two_nodes().await;
    drop(left.connect(&right));
    wait_until_direct(&left, &right).await;
    assert!(
        left.direct()[0].dialer,
        "the dialler of the relayed connection offers"
    );
    assert!(!right.direct()[0].dialer);
    assert_eq!(left.direct()[0].peer, right.peer);

    close_relayed(&left, &right).await;
    let (one, two) = (pattern(MIB, 1), pattern(MIB, 2));
    let (from_right, from_left) = join(
        left.echo(&right, one.clone()),
        right.echo(&left, two.clone()),
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
    assert_eq!((left.failures(), right.failures()), (vec![], vec![]));
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn relayed_connection_may_close_right_after_upgrade() {
    let (left, right) = two_nodes().await;
    for _ in 0..20 {
        drop(left.connect(&right));
        wait_until("the dialler is connected directly", || {
            !left.direct().is_empty()
        })
        .await;
        close_relayed(&left, &right).await;
        wait_until_direct(&left, &right).await;
        let data = pattern(1_000, 3);
        assert_eq!(right.echo(&left, data.clone()).await, data);
        left.close(&left.direct()[0]);
        wait_until("no connection", || {
            left.direct().is_empty() && right.direct().is_empty()
        })
        .await;
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn closing_is_noticed_immediately() {
    let (left, right) = two_nodes().await;
    drop(left.connect(&right));
    wait_until_direct(&left, &right).await;
    close_relayed(&left, &right).await;
    let started = now_ms();
    right.close(&right.direct()[0]);
    wait_until("no direct connection", || left.direct().is_empty()).await;
    assert!(
        now_ms() - started < 1_000.0,
        "it took {} ms",
        now_ms() - started
    );
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn simultaneous_dials_keep_one_direct_connection() {
    for _ in 0..5 {
        let (left, right) = two_nodes().await;
        let (one, other) = join(left.connect(&right), right.connect(&left)).await;
        one.expect("swarm runs").expect("connects");
        other.expect("swarm runs").expect("connects");
        wait_until_direct(&left, &right).await;
        close_relayed(&left, &right).await;
        let data = pattern(1_000, 3);
        assert_eq!(left.echo(&right, data.clone()).await, data);
        assert_eq!(right.echo(&left, data.clone()).await, data);
        wait_until_direct(&left, &right).await;
    }
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn lost_direct_connection_is_restored() {
    let (left, right) = two_nodes().await;
    drop(left.connect(&right));
    wait_until_direct(&left, &right).await;
    let first = left.direct()[0].id;
    right.close(&right.direct()[0]);
    wait_until("another direct connection", || {
        left.direct().first().is_some_and(|link| link.id != first)
    })
    .await;
    wait_until_direct(&left, &right).await;
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn forbidden_peer_stays_relayed() {
    let (left, right) = join(
        Node::new(|config| config),
        Node::new(|config| config.with_policy(|_| false)),
    )
    .await;
    drop(left.connect(&right));
    wait_until("a failure", || !left.failures().is_empty()).await;
    assert!(left.direct().is_empty() && right.direct().is_empty());
    let data = pattern(1_000, 4);
    assert_eq!(left.echo(&right, data.clone()).await, data);
    let refused = timeout("dial", right.dial(left.peer, address::direct(left.peer))).await;
    let error = refused.expect("swarm runs").expect_err("forbidden");
    assert!(error.contains("Forbidden"), "{error}");
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn without_automatic_upgrades_a_dial_upgrades() {
    let (left, right) = join(
        Node::new(|config| config.with_automatic_upgrades(false)),
        Node::new(|config| config.with_automatic_upgrades(false)),
    )
    .await;
    let none = timeout("dial", left.dial(right.peer, address::direct(right.peer))).await;
    let error = none
        .expect("swarm runs")
        .expect_err("nothing to signal over");
    assert!(error.contains("NoCarrier"), "{error}");

    drop(right.connect(&left));
    wait_until("a relayed connection", || left.relayed().len() == 1).await;
    let dialed = timeout("dial", left.dial(right.peer, address::direct(right.peer))).await;
    dialed.expect("swarm runs").expect("connects directly");
    wait_until_direct(&left, &right).await;
    assert!(left.direct()[0].dialer);
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn unreachable_stun_server_causes_no_delay() {
    // RFC 5737 reserves this address for documentation, so no host answers.
    let unreachable = || vec![IceServer::stun("stun:192.0.2.1:3478")];
    let (left, right) = join(
        Node::new(|config| config.with_ice_servers(unreachable())),
        Node::new(|config| config.with_ice_servers(unreachable())),
    )
    .await;
    let started = now_ms();
    drop(left.connect(&right));
    wait_until_direct(&left, &right).await;
    assert!(
        now_ms() - started < 3_000.0,
        "it took {} ms",
        now_ms() - started
    );
    assert_no_uncaught_errors();
}

#[wasm_bindgen_test]
async fn dropped_swarm_is_noticed_immediately() {
    let (left, right) = two_nodes().await;
    drop(left.connect(&right));
    wait_until_direct(&left, &right).await;
    let started = now_ms();
    drop(right);
    wait_until("no connection", || left.direct().is_empty()).await;
    assert!(
        now_ms() - started < 1_000.0,
        "it took {} ms",
        now_ms() - started
    );
    assert_no_uncaught_errors();
}
