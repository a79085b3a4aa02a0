//! Which tabs find each other: tabs on another address of this machine, and tabs of other rooms.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::syncing::expect_bpms;
use crate::harness::{Build, Outcome, TestEnv, UpgradeProxy, agreement, run_test, run_test_at};

/// How long a tab tries to fetch the document of a relay.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a browser and its sockets may take of a document that the tab cancels: mostly 10 MB. Without a limit the
/// browser took 100 to 370 MB.
const MAX_DOCUMENT_BYTES: u64 = 32 * 1024 * 1024;

#[tokio::test]
async fn insecure_context_can_record_and_sync() -> Outcome {
    run_test_at(
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        async |env: &mut TestEnv| {
            let there = env
                .relay
                .pages()
                .get(1)
                .context("this machine has only its loopback address")?
                .clone();
            let [a, b] = env.tabs_at(&there).await?;
            for tab in [&a, &b] {
                ensure!(
                    tab.evaluate("isSecureContext").await? == false,
                    "{there} is a secure context"
                );
                tab.until_shows("body", "the browser blocks").await?;
                let storage = &tab.status().await?["storage"];
                ensure!(storage["kind"] == "disk", "unexpected storage: {storage}");
            }
            // There are no Web Locks here, but two tabs of one browser never share a slot, and each keeps its own.
            let second = env.browser.open_in(a.context(), &there, "").await?;
            second.until("the node", "() => true").await?;
            let slots = [a.status().await?, second.status().await?]
                .map(|status| status["storage"]["slot"].clone());
            ensure!(slots == [json!(0), json!(1)], "the slots are {slots:?}");
            let before = second.peer_id().await?;
            second.reload().await?;
            second.until("the node", "() => true").await?;
            let after = second.peer_id().await?;
            ensure!(
                before == after,
                "{before} became {after} when it was reloaded"
            );
            second.close_keeping_storage().await?;
            // A tab on the loopback address is in the same room.
            let here = env.tab().await?;
            ensure!(
                here.evaluate("isSecureContext").await? == true,
                "loopback is a secure context"
            );
            a.enter(72).await?;
            agreement(&[&a, &b, &here], 1).await?;
            b.enter(73).await?;
            agreement(&[&a, &b, &here], 2).await?;
            here.until_peers(2).await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn duplicate_relay_is_used_once() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let named = env.relay.websocket()?.to_owned();
        let (nameless, _) = named.split_once("/p2p/").context("it is named")?;
        let page = format!("{}?relay={named}&relay={nameless}", env.relay.page());
        let [a, b] = env.tabs_at(&page).await?;
        a.enter(72).await?;
        agreement(&[&a, &b], 1).await?;
        for tab in [&a, &b] {
            tab.until("its one relay", ONE_RELAY).await?;
        }
        env.relay.kill().await?;
        a.until(
            "no relay",
            "node => !node.status().relays.some(r => r.connected)",
        )
        .await?;
        env.relay.restart().await?;
        a.until("its one relay again", ONE_RELAY).await?;
        Ok(())
    })
    .await
}

/// There is exactly one relay; it is connected and holds a reservation for the tab.
const ONE_RELAY: &str = "node => { const r = node.status().relays; return r.length === 1 && r[0].connected && r[0].reserved; }";

#[tokio::test]
async fn rooms_are_isolated() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let [a, b] = env.tabs_at(&format!("{page}#room=first")).await?;
        let [c, d] = env.tabs_at(&format!("{page}#room=second")).await?;
        a.enter(61).await?;
        c.enter(62).await?;
        agreement(&[&a, &b], 1).await?;
        agreement(&[&c, &d], 1).await?;
        expect_bpms(&b, &[61]).await?;
        expect_bpms(&d, &[62]).await?;
        let mut genesis: Vec<Value> = Vec::new();
        for tab in [&a, &b, &c, &d] {
            tab.until_peers(1).await?;
            genesis.push(tab.status().await?["genesis"].clone());
        }
        let [of_a, of_b, of_c, of_d] = &genesis[..] else {
            unreachable!("four tabs")
        };
        ensure!(
            of_a == of_b && of_c == of_d && of_a != of_c,
            "found {genesis:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn full_relay_is_reported_until_it_has_room() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        for tab in [&a, &b] {
            tab.until_peers(1).await?;
        }
        env.relay.limit_tabs(2).await?;
        let page = format!("{}#room=elsewhere", env.relay.page());
        let c = env.browser.open(&page).await?;
        c.until_status_says("The relay is full. You can still record, and reach tabs you know.")
            .await?;
        c.until_shows("relay-list", "full: others can't find you")
            .await?;
        c.focus("button", "한국어").await?;
        c.key("Enter").await?;
        c.until_status_says("릴레이가 가득 찼습니다.").await?;
        c.focus("button", "English").await?;
        c.key("Enter").await?;
        c.enter(72).await?;
        agreement(&[&c], 1).await?;
        b.close().await?;
        let reserved = "node => node.status().relays.some(relay => relay.reserved && !relay.full)";
        c.until("a reservation", reserved).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn endless_relay_document_is_cancelled() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        env.expect_message("the body is longer than 65536 bytes");
        let proxy = UpgradeProxy::start(&env.relay).await?;
        proxy.serve(Build::EndlessDocument);
        let tab = env.browser.open(&proxy.page()).await?;
        tab.until(
            "a node without a relay",
            "node => node.status().relays.every(r => !r.connected)",
        )
        .await?;
        // Longer than the time limit of a fetch: until then an unlimited one would go on.
        sleep(DOCUMENT_TIMEOUT + Duration::from_secs(1)).await;
        let sent = proxy.document_bytes();
        println!("the browser took {sent} bytes");
        ensure!(sent > 0, "the tab has not fetched the document");
        // What the browser and both sockets buffer counts, too.
        ensure!(sent < MAX_DOCUMENT_BYTES, "the browser took {sent} bytes");
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        Ok(())
    })
    .await
}
