//! A keeper beside tabs: it keeps a room while no tab is open, tabs reach it at its own addresses, and the terminals of the
//! tutorial agree with a tab.

use std::{env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartchain_chain::room_key::RoomKey;
use tokio::time::{Instant, sleep};

use super::private_rooms::{KEY, link};
use crate::harness::{Keeper, Outcome, PATIENCE, Relay, Tab, TestEnv, run_test};

/// Waits until the tab's chain has exactly these heart rates, in any order.
async fn until_bpms(tab: &Tab, expected: &[u64]) -> Result<()> {
    tab.until("a running node", "node => true").await?;
    let since = Instant::now();
    loop {
        let readings = tab.readings().await?;
        let found = readings
            .iter()
            .filter_map(|reading| reading["bpm"].as_u64());
        let mut found: Vec<u64> = found.collect();
        found.sort_unstable();
        if found == expected {
            return Ok(());
        }
        let name = tab.name();
        ensure!(
            since.elapsed() < PATIENCE,
            "{name} has {found:?}, not {expected:?}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the tab has a direct connection to the keeper.
async fn until_direct(tab: &Tab, keeper: &mut Keeper) -> Result<()> {
    let address = keeper.address("/ws/").await?;
    let peer = address.rsplit('/').next().context("a peer ID")?;
    let condition = format!(
        "node => node.peers().some((peer) => peer.peerId === '{peer}' && peer.path === 'direct')"
    );
    tab.until("a direct connection to the keeper", &condition)
        .await?;
    Ok(())
}

/// How long no tab is open: `HEARTCHAIN_ABSENCE` seconds.
fn absence() -> Result<Duration> {
    let seconds = env::var("HEARTCHAIN_ABSENCE").map_or(Ok(0), |seconds| seconds.parse())?;
    Ok(Duration::from_secs(seconds))
}

#[tokio::test]
async fn keeper_keeps_the_room_without_tabs() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let mut keeper = Keeper::start(&["--relay", &page]).await?;
        let tab = env.tab().await?;
        tab.enter(71).await?;
        keeper.until_bpm(71).await?;
        keeper.enter("82").await?;
        keeper.until_bpm(82).await?;
        until_bpms(&tab, &[71, 82]).await?;
        until_direct(&tab, &mut keeper).await?;
        tab.close().await?;
        keeper
            .until("peers", |event| event["connected"] == 0)
            .await?;
        sleep(absence()?).await;

        // It is there after a power cut, too. The tab that comes has a storage of its own.
        let data = keeper.kill().await?;
        let mut keeper = Keeper::start_in(data, &["--relay", &page]).await?;
        let late = env.another_browser().await?.open(&page).await?;
        until_bpms(&late, &[71, 82]).await?;

        // They go on without the relay.
        until_direct(&late, &mut keeper).await?;
        env.relay.kill().await?;
        late.enter(93).await?;
        keeper.until_bpm(93).await?;
        keeper.stop().await?;
        Ok(())
    })
    .await
}

/// The tutorial's session: two terminals and a tab. The second terminal and the tab know only what the first one prints.
#[tokio::test]
async fn two_terminals_and_a_tab_agree() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let mut first = Keeper::start(&["--no-relay"]).await?;
        let address = first.address("/ws/").await?;
        let mut second = Keeper::start(&["--no-relay", "--peer", &address]).await?;
        let page = env.relay.page();
        // This tab uses no relay: it reaches the first terminal, and the second one through it.
        let nowhere = "relay=/ip4/127.0.0.1/tcp/9/ws";
        let url = format!("{page}?{nowhere}&peer={address}");
        env.expect_message("ERR_");
        let tab = env.browser.open(&url).await?;
        tab.until("a peer", "node => node.status().peers >= 1")
            .await?;
        first.enter("61").await?;
        second.enter("62").await?;
        tab.enter(63).await?;
        for keeper in [&mut first, &mut second] {
            for bpm in [61, 62, 63] {
                keeper.until_bpm(bpm).await?;
            }
        }
        until_bpms(&tab, &[61, 62, 63]).await?;
        first.stop().await?;
        second.stop().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn keeper_keeps_a_private_room_sealed() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let commitment = RoomKey::new(KEY).commitment().to_string();
        let flags = ["--relay", &page, "--commitment", &commitment];
        let mut sealed = Keeper::start(&flags).await?;
        let url = link(&page, "Family");
        let mut member = Keeper::start(&["--relay", &page, "--link", &url]).await?;
        let tab = env.browser.open(&url).await?;
        tab.enter(74).await?;
        member.until_bpm(74).await?;
        let block = sealed.until("block", |_| true).await?;
        ensure!(block["readings"][0]["bpm"].is_null(), "{block}");
        sealed.enter("80").await?;
        let refused = sealed.until("error", |_| true).await?;
        let message = refused["message"].as_str().unwrap_or_default();
        ensure!(message.contains("does not have the key"), "{message}");

        // What it keeps is enough for a member that comes when no one else is there.
        member.stop().await?;
        tab.close().await?;
        let late = env.another_browser().await?.open(&url).await?;
        until_bpms(&late, &[74]).await?;
        sealed.stop().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn relay_keeps_a_room() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        // The harness builds the keeper beside the relay.
        env.more_relays
            .push(Relay::start_with(&["--keep", "lobby"]).await?);
        let page = env.more_relays[0].page().to_owned();
        let tab = env.browser.open(&page).await?;
        tab.until_peers(1).await?;
        tab.enter(77).await?;
        until_bpms(&tab, &[77]).await?;
        tab.close().await?;
        let late = env.another_browser().await?.open(&page).await?;
        until_bpms(&late, &[77]).await?;
        late.close().await?;
        // The relay ends once its keeper has, with everything on disk.
        env.more_relays[0].stop().await?;
        env.more_relays[0].restart().await?;
        let again = env.another_browser().await?.open(&page).await?;
        until_bpms(&again, &[77]).await?;
        Ok(())
    })
    .await
}
