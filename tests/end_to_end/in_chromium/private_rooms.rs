//! Private rooms are opened by their links, and by nothing else. What others learn of them is in `secrecy`.

use anyhow::{Context as _, Result, ensure};
use heartchain_chain::{room::Room, room_key::RoomKey};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Tab, TestEnv, run_test};

pub(super) const KEY: [u8; 32] = [0x3c; 32];

pub(super) fn link(page: &str, label: &str) -> String {
    let token = RoomKey::new(KEY).to_token();
    format!("{page}#private={token}&label={label}")
}

pub(super) async fn author_of(tab: &Tab) -> Result<String> {
    let author = tab.status().await?["author"].clone();
    Ok(author.as_str().context("the author is text")?.to_owned())
}

/// A link that a messenger cut off or altered says so, and opens no room at all.
#[tokio::test]
async fn damaged_link_opens_no_room() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let whole = link(&page, "Family");
        let token = RoomKey::new(KEY).to_token();
        let other = if token.starts_with('A') { 'B' } else { 'A' };
        let typo = format!("{page}#private={other}{}&label=Family", &token[1..]);
        for (url, words) in [
            (
                format!("{page}#private={}", &token[..30]),
                "incomplete or was altered",
            ),
            (typo, "incomplete or was altered"),
            (format!("{page}#label=Family"), "no key of a private room"),
            (format!("{page}#private="), "incomplete or was altered"),
            (
                format!("{page}#private={token}&amp;label=Family"),
                "the part “amp;label”",
            ),
            (format!("{whole}&room=lobby"), "the part “room”"),
            (
                format!("{page}#room=lobby&private={token}"),
                "the key of a private room",
            ),
        ] {
            let tab = env.browser.open(&url).await?;
            tab.until_shows("[role=alert]", words).await.context(url)?;
            tab.until_shows("[role=alert]", "Ask for the whole link")
                .await?;
            tab.until_status_says("Not running").await?;
            let opened = tab.evaluate("typeof globalThis.heartchain").await?;
            ensure!(opened == "undefined", "a room was opened: {opened}");
            tab.close().await?;
        }
        let tab = env.browser.open(&format!("{page}#room=100%")).await?;
        tab.until_shows("[role=alert]", "is damaged").await?;
        tab.until_status_says("Not running").await?;

        // The person who has the whole link goes on from here.
        tab.go(&format!("{page}#private={}", &token[..47])).await?;
        tab.until_shows("[role=alert] .primary", "Open a link")
            .await?;
        tab.evaluate("document.querySelector('[role=alert] .primary').click()")
            .await?;
        tab.focus("textbox", "Open a link").await?;
        tab.type_and_enter(&whole).await?;
        tab.until("the private room", "node => node.status().private")
            .await?;
        Ok(())
    })
    .await
}

/// A key that is pasted as the name of an open room would be on the screens of strangers, and in their exports.
#[tokio::test]
async fn pasted_link_never_names_an_open_room() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let whole = link(env.relay.page(), "Family");
        let token = RoomKey::new(KEY).to_token();
        let genesis = Room::private(RoomKey::new(KEY)).id().to_string();
        for pasted in [whole, format!("private={token}"), token.clone()] {
            let tab = env.tab().await?;
            tab.until("the lobby", "node => node.status().room === 'lobby'")
                .await?;
            tab.evaluate("document.querySelector('.room-open').click()")
                .await?;
            tab.focus("textbox", "Room name").await?;
            tab.type_and_enter(&format!("lobby: {token} ")).await?;
            tab.until_shows("room-bar", "the key of a private room")
                .await?;
            tab.empty_field().await?;
            tab.type_and_enter(&pasted).await?;
            tab.until("the private room", "node => node.status().private")
                .await?;
            ensure!(tab.status().await?["genesis"] == genesis, "another room");
            tab.until_shows(".room-open", "private").await?;
            tab.close().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn new_private_room_is_shared_by_its_link() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.until_shows("record-form", "Anyone who knows this room's name")
            .await?;
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        tab.focus("textbox", "Label of a new private room (optional)")
            .await?;
        tab.type_and_enter("Us two").await?;
        tab.until("a private room", "node => node.status().private")
            .await?;
        // The link is the only key, so that it is shown before anything is recorded.
        tab.until_shows("room-bar dialog", "Your private room is ready")
            .await?;
        tab.until_shows("room-bar dialog", "the only key").await?;
        let shared = tab
            .evaluate("document.querySelector('#room-link').value")
            .await?;
        let shared = shared.as_str().context("the link is text")?.to_owned();
        tab.key("Escape").await?;
        tab.until_page("it closed", "() => !document.querySelector('dialog[open]')")
            .await?;
        tab.until_shows(".room-open", "Us two").await?;
        tab.until_shows(".room-open", "private").await?;
        tab.until_hides("record-form", "Anyone who knows this room's name")
            .await?;
        tab.enter(91).await?;
        tab.until("a block", "node => node.status().tip.index === 1")
            .await?;
        let other = env.another_browser().await?;
        let other = other.open(&shared).await?;
        other
            .until("the block", "node => node.status().tip.index === 1")
            .await?;
        expect_bpms(&other, &[91]).await
    })
    .await
}
