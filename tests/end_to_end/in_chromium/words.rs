//! Whatever is entered wrongly is told in words, and changes nothing.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    lessons::{open_lessons, press},
    syncing::expect_bpms,
};
use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

/// A node that computes a chain of any length.
const SYNTHETIC: &str = include_str!("../../www/synthetic-node.js");

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

/// Whatever failed while one language was chosen is told in the other one, too, and in the first one again.
#[tokio::test]
async fn what_went_wrong_is_told_in_the_language_that_is_chosen_later() -> Outcome {
    /// A file that nobody exported, chosen as a person does.
    const CHOOSE_FILE: &str = "(() => {
        const chosen = new DataTransfer();
        chosen.items.add(new File(['{}'], 'chain.json'));
        const field = document.querySelector('data-panel input');
        field.files = chosen.files;
        field.dispatchEvent(new Event('change'));
    })()";
    on_stage(async |stage: &mut Stage| {
        let tab = stage.tab().await?;
        open_lessons(&tab).await?;
        tab.evaluate(CHOOSE_FILE).await?;
        tab.until_shows(".data-result", "no file that Heartchain exported")
            .await?;
        tab.evaluate("document.querySelector('.block-open').click()")
            .await?;
        tab.until_shows("block-dialog dialog", "Check it yourself")
            .await?;

        // What is wished of a node that has stopped fails; checking, which needs nothing that runs, is made to.
        tab.evaluate(
            "heartchain.check = () => { throw new Error('this node has stopped'); }; heartchain.stop()",
        )
        .await?;
        press(&tab, "Check it yourself").await?;
        tab.until_shows(".verdict", "stopped").await?;
        tab.key("Escape").await?;
        tab.enter(72).await?;
        tab.until_shows(".failures li", "stopped").await?;
        press(&tab, "Cut this tab off").await?;
        tab.until_shows(".lesson-body > [role=alert]", "stopped")
            .await?;
        expect_told_in_both_languages(
            &tab,
            &[
                ".data-result",
                ".verdict",
                ".failures li",
                ".lesson-body > [role=alert]",
            ],
        )
        .await?;

        let page = format!("{}?blocks=5000", stage.relay.page());
        let tab = stage.browser.open_with_node(&page, SYNTHETIC).await?;
        tab.until_shows("chain-list", "Block 5,000").await?;
        tab.focus("spinbutton", "Go to block").await?;
        tab.type_and_enter("5001").await?;
        tab.until_shows("#jump-error", "5,000").await?;
        expect_told_in_both_languages(&tab, &["#jump-error"]).await
    })
    .await
}

/// What these elements say in English they say in Korean after the switch, and as before after another.
async fn expect_told_in_both_languages(tab: &Tab, selectors: &[&str]) -> Result<()> {
    let said = async || {
        let text = format!(
            "{}.map((selector) => document.querySelector(selector).firstChild?.textContent ?? '')",
            json!(selectors)
        );
        tab.evaluate(&text).await
    };
    let switched_to = async |code: &str| {
        tab.evaluate("document.querySelector('language-switch button').click()")
            .await?;
        let holds = format!("() => document.documentElement.lang === '{code}'");
        tab.until_page(code, &holds).await?;
        said().await
    };
    let english = said().await?;
    let korean = switched_to("ko").await?;
    for (selector, (before, after)) in selectors.iter().zip(pairs(&english, &korean)?) {
        ensure!(
            before.is_ascii() && !before.is_empty(),
            "{selector} says {before:?} in English"
        );
        // A word of the first sentence that is still there; names and numbers may be.
        let foreign = after.split(' ').filter(|word| {
            word.len() > 3 && before.contains(word) && word.chars().all(|c| c.is_ascii_lowercase())
        });
        let foreign: Vec<_> = foreign.collect();
        ensure!(
            !after.is_ascii() && foreign.is_empty(),
            "{selector} says {after:?} in Korean, of which {foreign:?} is English"
        );
    }
    let again = switched_to("en").await?;
    ensure!(again == english, "it was {english:#}, and is {again:#}");
    Ok(())
}

fn pairs<'a>(one: &'a Value, other: &'a Value) -> Result<Vec<(&'a str, &'a str)>> {
    let texts = |list: &'a Value| list.as_array().into_iter().flatten().map(Value::as_str);
    let both = texts(one).zip(texts(other)).map(|(a, b)| a.zip(b));
    both.collect::<Option<_>>().context("texts")
}
