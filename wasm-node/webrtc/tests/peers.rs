//! Two swarms that are connected in memory, as two tabs are through a relay, come to be connected directly.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]

mod pair;
mod swarms;

use futures::future::join;
use libp2p_webrtc_browser::peer::{IceServer, address};
use pair::{assert_nothing_uncaught, now_ms, pattern, soon, until};
use swarms::{Node, until_direct};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const MIB: usize = 1024 * 1024;

async fn two() -> (Node, Node) {
    join(Node::new(|config| config), Node::new(|config| config)).await
}

/// Leaves nothing but the direct connection.
async fn close_relayed(left: &Node, right: &Node) {
    for link in left.relayed() {
        left.close(&link);
    }
    until("relayed connections gone", || {
        left.relayed().is_empty() && right.relayed().is_empty()
    })
    .await;
}

#[wasm_bindgen_test]
async fn a_relayed_connection_becomes_direct_and_carries_a_mebibyte_each_way() {
    let (left, right) = two().await;
    drop(left.call(&right));
    until_direct(&left, &right).await;
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
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn whoever_is_connected_first_may_close_the_relayed_connection_at_once() {
    let (left, right) = two().await;
    for _ in 0..20 {
        drop(left.call(&right));
        until("the caller is connected", || !left.direct().is_empty()).await;
        close_relayed(&left, &right).await;
        until_direct(&left, &right).await;
        let data = pattern(1_000, 3);
        assert_eq!(right.echo(&left, data.clone()).await, data);
        left.close(&left.direct()[0]);
        until("no connection", || {
            left.direct().is_empty() && right.direct().is_empty()
        })
        .await;
    }
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn closing_is_noticed_at_once_at_the_other_end() {
    let (left, right) = two().await;
    drop(left.call(&right));
    until_direct(&left, &right).await;
    close_relayed(&left, &right).await;
    let started = now_ms();
    right.close(&right.direct()[0]);
    until("no direct connection", || left.direct().is_empty()).await;
    assert!(
        now_ms() - started < 1_000.0,
        "it took {} ms",
        now_ms() - started
    );
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn two_that_call_each_other_at_once_keep_one_direct_connection() {
    for _ in 0..5 {
        let (left, right) = two().await;
        let (one, other) = join(left.call(&right), right.call(&left)).await;
        one.expect("swarm runs").expect("connects");
        other.expect("swarm runs").expect("connects");
        until_direct(&left, &right).await;
        close_relayed(&left, &right).await;
        let data = pattern(1_000, 3);
        assert_eq!(left.echo(&right, data.clone()).await, data);
        assert_eq!(right.echo(&left, data.clone()).await, data);
        until_direct(&left, &right).await;
    }
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn a_lost_direct_connection_is_made_again_over_the_relayed_one() {
    let (left, right) = two().await;
    drop(left.call(&right));
    until_direct(&left, &right).await;
    let first = left.direct()[0].id;
    right.close(&right.direct()[0]);
    until("another direct connection", || {
        left.direct().first().is_some_and(|link| link.id != first)
    })
    .await;
    until_direct(&left, &right).await;
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn what_the_policy_forbids_stays_relayed() {
    let (left, right) = join(
        Node::new(|config| config),
        Node::new(|config| config.with_policy(|_| false)),
    )
    .await;
    drop(left.call(&right));
    until("a failure", || !left.failures().is_empty()).await;
    assert!(left.direct().is_empty() && right.direct().is_empty());
    let data = pattern(1_000, 4);
    assert_eq!(left.echo(&right, data.clone()).await, data);
    let refused = soon("dial", right.dial(left.peer, address::direct(left.peer))).await;
    let error = refused.expect("swarm runs").expect_err("forbidden");
    assert!(error.contains("Forbidden"), "{error}");
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn without_automatic_upgrades_a_dial_makes_one() {
    let (left, right) = join(
        Node::new(|config| config.with_automatic_upgrades(false)),
        Node::new(|config| config.with_automatic_upgrades(false)),
    )
    .await;
    let none = soon("dial", left.dial(right.peer, address::direct(right.peer))).await;
    let error = none
        .expect("swarm runs")
        .expect_err("nothing to signal over");
    assert!(error.contains("NoCarrier"), "{error}");

    drop(right.call(&left));
    until("a relayed connection", || left.relayed().len() == 1).await;
    let dialed = soon("dial", left.dial(right.peer, address::direct(right.peer))).await;
    dialed.expect("swarm runs").expect("connects directly");
    until_direct(&left, &right).await;
    assert!(left.direct()[0].dialer);
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn a_stun_server_that_does_not_answer_delays_nothing() {
    // RFC 5737 keeps this address free of hosts.
    let deaf = || vec![IceServer::stun("stun:192.0.2.1:3478")];
    let (left, right) = join(
        Node::new(|config| config.with_ice_servers(deaf())),
        Node::new(|config| config.with_ice_servers(deaf())),
    )
    .await;
    let started = now_ms();
    drop(left.call(&right));
    until_direct(&left, &right).await;
    assert!(
        now_ms() - started < 3_000.0,
        "it took {} ms",
        now_ms() - started
    );
    assert_nothing_uncaught();
}

#[wasm_bindgen_test]
async fn a_swarm_that_goes_away_is_missed_at_once() {
    let (left, right) = two().await;
    drop(left.call(&right));
    until_direct(&left, &right).await;
    let started = now_ms();
    drop(right);
    until("no connection", || left.direct().is_empty()).await;
    assert!(
        now_ms() - started < 1_000.0,
        "it took {} ms",
        now_ms() - started
    );
    assert_nothing_uncaught();
}
