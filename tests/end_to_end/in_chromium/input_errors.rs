//! Invalid input produces an error message and changes nothing.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    lessons::{open_lessons, press},
    syncing::expect_bpms,
};
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// A simulated node that computes a chain of any length.
const SYNTHETIC: &str = include_str!("../../www/synthetic-node.js");

const SENTENCE: &str = "Enter a whole number from 20 to 400.";

#[tokio::test]
async fn invalid_heart_rate_is_refused() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
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

        // The bounds are valid, the message disappears, and refused input took no sequence number.
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

/// The message is next to the field, assistive technology associates it with the field, and the field has the focus.
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
async fn invalid_room_or_relay_shows_an_error() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let long = "x".repeat(65);
        let id = "12D3KooWJWEKvSFbben74C7H4YtKjhPMTDxd7gP7zxWSUEeF27st";
        let no_relay = format!("{page}?relay=/ip4/127.0.0.1/tcp/1/p2p/{id}");
        for (url, words) in [
            (format!("{page}#room={long}"), "64"),
            (format!("{page}?relay=nonsense"), "nonsense"),
            (no_relay, "/ip4/127.0.0.1/tcp/1/p2p/"),
        ] {
            let tab = env.browser.open(&url).await?;
            tab.until_shows("[role=alert]", words).await?;
            tab.until_status_says("Not running").await?;
            tab.close().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn long_room_name_shows_an_error_at_its_field() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        tab.focus("textbox", "Room name").await?;
        // 22 letters of 3 bytes each: 66 bytes.
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

/// An error message follows the chosen language: switching translates it, and switching back restores it.
#[tokio::test]
async fn errors_follow_the_chosen_language() -> Outcome {
    /// Chooses a file that is not an export.
    const CHOOSE_FILE: &str = "(() => {
        const chosen = new DataTransfer();
        chosen.items.add(new File(['{}'], 'chain.json'));
        const field = document.querySelector('data-panel input');
        field.files = chosen.files;
        field.dispatchEvent(new Event('change'));
    })()";
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        open_lessons(&tab).await?;
        tab.evaluate(CHOOSE_FILE).await?;
        tab.until_shows(".data-result", "a file exported by Heartchain")
            .await?;
        tab.evaluate("document.querySelector('.block-open').click()")
            .await?;
        tab.until_shows("block-dialog dialog", "Check it yourself")
            .await?;

        // Commands to a stopped node fail. Checking a block works without a running node, so it is made to fail.
        tab.evaluate(
            "heartchain.check = () => { throw new Error('this node has stopped'); }; heartchain.stop()",
        )
        .await?;
        press(&tab, "Check it yourself").await?;
        tab.until_shows(".verdict", "stopped").await?;
        tab.key("Escape").await?;
        tab.enter(72).await?;
        tab.until_shows(".failures li", "stopped").await?;
        press(&tab, "Disconnect this tab").await?;
        tab.until_shows(".lesson-body > [role=alert]", "stopped")
            .await?;
        expect_both_languages(
            &tab,
            &[
                ".data-result",
                ".verdict",
                ".failures li",
                ".lesson-body > [role=alert]",
            ],
        )
        .await?;

        let page = format!("{}?blocks=5000", env.relay.page());
        let tab = env.browser.open_with_node(&page, SYNTHETIC).await?;
        tab.until_shows("chain-list", "Block 5,000").await?;
        tab.focus("spinbutton", "Go to block").await?;
        tab.type_and_enter("5001").await?;
        tab.until_shows("#jump-error", "5,000").await?;
        expect_both_languages(&tab, &["#jump-error"]).await
    })
    .await
}

/// These elements are in Korean after the switch, and as before after switching back.
async fn expect_both_languages(tab: &Tab, selectors: &[&str]) -> Result<()> {
    let texts = async || {
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
        texts().await
    };
    let english = texts().await?;
    let korean = switched_to("ko").await?;
    for (selector, (before, after)) in selectors.iter().zip(pairs(&english, &korean)?) {
        ensure!(
            before.is_ascii() && !before.is_empty(),
            "{selector} says {before:?} in English"
        );
        // English words that remain; names and numbers may remain.
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
