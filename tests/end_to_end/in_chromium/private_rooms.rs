//! Private rooms: who has the link reads and records, and who has only what the relay knows reads nothing.

use anyhow::{Context as _, Result, bail, ensure};
use heartchain_chain::{
    block::check_root, content::UnreadableError, hash::BlockHash, header::Header, key::Author,
    room::Room, room_key::RoomKey,
};
use heartchain_sync::message::{Request, Response};
use serde_json::Value;

use super::{
    hostile::{connect, honest_responder, status},
    syncing::expect_bpms,
};
use crate::{
    harness::{Outcome, Tab, TestEnv, agreement, run_test},
    native::{ScriptedPeer, frame},
};

const KEY: [u8; 32] = [0x3c; 32];

fn link(page: &str, label: &str) -> String {
    let token = RoomKey::new(KEY).to_token();
    format!("{page}#private={token}&label={label}")
}

/// A native client that knows all that the relay knows, the room's ID, gets the whole chain and can verify it. It reads
/// neither heart rates nor times, and does not learn which peer is which author.
#[tokio::test]
async fn private_room_is_read_only_with_its_link() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let url = link(env.relay.page(), "Family");
        let tabs: [Tab; 2] = env.tabs_at(&url).await?;
        let [a, b] = &tabs;
        a.until_shows("room-bar", "Family").await?;
        a.enter(72).await?;
        agreement(&[a, b], 1).await?;
        b.enter(173).await?;
        agreement(&[a, b], 2).await?;
        for tab in &tabs {
            expect_bpms(tab, &[72, 173]).await?;
            tab.until_shows("chain-list", "173 BPM").await?;
        }
        let shown =
            a.evaluate("heartchain.peers().filter(p => p.path !== 'relay').map(p => p.author)");
        ensure!(
            shown.await? == Value::from(vec![author_of(b).await?]),
            "a sees b's author"
        );

        let member = Room::private(RoomKey::new(KEY));
        let outside = Room::new(member.params().clone());
        ensure!(a.status().await?["genesis"] == outside.id().to_string());
        let mut peer = connect(env, a, honest_responder(&outside)).await?;
        let answer = ask(&mut peer, &status(&outside)).await?;
        for tab in &tabs {
            let author: Author = author_of(tab).await?.parse()?;
            let shows = answer.windows(32).any(|part| part == author.as_bytes());
            ensure!(!shows, "the Status shows the author of {}", tab.name());
        }
        let headers = headers(&mut peer, &outside).await?;
        let mut read = Vec::new();
        for header in &headers {
            let hashes = vec![header.hash()];
            let answer = ask(&mut peer, &Request::Bodies { hashes }).await?;
            let Response::Bodies(bodies) = Response::decode(outside.form(), &answer)? else {
                bail!("no bodies");
            };
            let body = bodies.into_iter().flatten().next().context("a body")?;
            check_root(header, &body)?;
            for reading in body {
                reading.verify(outside.id())?;
                ensure!(outside.open(&reading) == Err(UnreadableError::NoKey));
                read.push(member.open(&reading)?.bpm.get());
            }
        }
        ensure!(read == [72, 173], "with the key it reads {read:?}");
        Ok(())
    })
    .await
}

pub(super) async fn author_of(tab: &Tab) -> Result<String> {
    let author = tab.status().await?["author"].clone();
    Ok(author.as_str().context("the author is text")?.to_owned())
}

async fn ask(peer: &mut ScriptedPeer, request: &Request) -> Result<Vec<u8>> {
    peer.send_request(frame(&request.encode()));
    peer.next_response().await
}

async fn headers(peer: &mut ScriptedPeer, room: &Room) -> Result<Vec<Header>> {
    let locator: Vec<BlockHash> = vec![room.genesis_hash()];
    let answer = ask(peer, &Request::Headers { locator }).await?;
    let response = Response::decode(room.form(), &answer)?;
    let Response::Headers(headers) = response else {
        bail!("no headers: {response:?}");
    };
    Ok(headers)
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
