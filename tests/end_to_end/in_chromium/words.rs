//! Whatever is entered wrongly is told in words, and changes nothing.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

const SENTENCE: &str = "Enter a whole number from 20 to 400.";

#[tokio::test]
async fn what_is_no_heart_rate_is_refused_in_words_and_not_recorded() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        let long = "99999999999999999999";
        for text in [
            "", "abc", "19", "401", "72.5", "1e2", "-1", long, "   ", "0", "+", "e",
        ] {
            a.focus("spinbutton", "Heart rate (BPM)").await?;
            a.empty_field().await?;
            a.type_and_enter(text).await?;
            expect_refusal(&a, text).await?;
        }
        for tab in [&a, &b] {
            let status = tab.status().await?;
            ensure!(
                status["tip"]["index"] == 0 && status["mempool"] == 0,
                "something was recorded: {status}"
            );
        }

        // The bounds themselves are fine, the sentence goes, and what was refused took no number.
        a.empty_field().await?;
        a.type_and_enter("20").await?;
        a.until_hides("record-form", SENTENCE).await?;
        a.type_and_enter("400").await?;
        agreement(&[&a, &b], 2).await?;
        expect_bpms(&b, &[20, 400]).await?;
        let seqs: Vec<Value> = b
            .readings()
            .await?
            .iter()
            .map(|reading| reading["seq"].clone())
            .collect();
        ensure!(seqs == [0, 1], "found {seqs:?}");
        Ok(())
    })
    .await
}

/// A sentence beside the field, of which assistive technology knows, and the focus back in the field.
async fn expect_refusal(tab: &Tab, text: &str) -> Result<()> {
    tab.until_shows("record-form", SENTENCE).await?;
    let field = tab.accessible("spinbutton", "Heart rate (BPM)").await?;
    ensure!(
        field["description"]["value"] == SENTENCE,
        "after {text:?} the field is described by {field}"
    );
    let property = |name: &str| {
        let properties = field["properties"].as_array().into_iter().flatten();
        let mut values = properties
            .filter(|p| p["name"] == name)
            .map(|p| &p["value"]["value"]);
        values.next().cloned().unwrap_or_default()
    };
    ensure!(
        property("focused") == true,
        "after {text:?} the focus is elsewhere: {field}"
    );
    ensure!(
        property("invalid") == "true",
        "after {text:?} the field is not invalid: {field}"
    );
    Ok(())
}

#[tokio::test]
async fn a_room_or_relay_that_cannot_be_is_told_in_words() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let long = "x".repeat(65);
        let id = "12D3KooWJWEKvSFbben74C7H4YtKjhPMTDxd7gP7zxWSUEeF27st";
        let no_relay = format!("{page}?relay=/ip4/127.0.0.1/tcp/1/p2p/{id}");
        for (url, words) in [
            (format!("{page}#room={long}"), "64"),
            (format!("{page}?relay=nonsense"), "nonsense"),
            (no_relay, "/ip4/127.0.0.1/tcp/1/p2p/"),
        ] {
            let tab = stage.browser.open(&url).await?;
            tab.until_shows("[role=alert]", words).await?;
            tab.until_status_says("Not running").await?;
            tab.close().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_room_name_that_is_too_long_is_told_beside_its_field() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let tab = stage.tab().await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        tab.focus("textbox", "Room name").await?;
        // 22 letters of 3 bytes each.
        tab.type_and_enter(&"심".repeat(22)).await?;
        tab.until_shows("room-bar", "at most 64 bytes").await?;
        let room = tab.status().await?["room"].clone();

        tab.empty_field().await?;
        tab.type_and_enter(&"심".repeat(21)).await?;
        tab.until(
            "another room",
            &format!("node => node.status().room !== {room}"),
        )
        .await?;
        Ok(())
    })
    .await
}
