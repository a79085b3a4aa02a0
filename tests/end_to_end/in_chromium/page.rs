//! What a person sees: the chain's cards and their dialog, the network picture, the state of own readings, and the
//! room's link.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// A simulated node that computes a chain of any length.
const SYNTHETIC: &str = include_str!("../../www/synthetic-node.js");

#[tokio::test]
async fn new_blocks_do_not_move_the_view() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = format!("{}?blocks=5000&rate=5", env.relay.page());
        let tab = env.browser.open_with_node(&page, SYNTHETIC).await?;
        tab.resize(1280, 900).await?;
        tab.until_shows("chain-list", "Block 5,0").await?;
        tab.focus("spinbutton", "Go to block").await?;
        tab.type_and_enter("2500").await?;
        tab.until_page(
            "the block, with the focus",
            "() => document.activeElement.textContent === 'Block 2,500'",
        )
        .await?;
        let position = "document.activeElement.getBoundingClientRect().top";
        let before = tab.evaluate(position).await?.as_f64().context("px")?;
        tab.until_page(
            "three more blocks",
            "() => Number(document.querySelector('.row').ariaSetSize) >= 5004",
        )
        .await?;
        let after = tab.evaluate(position).await?.as_f64().context("px")?;
        ensure!(
            (after - before).abs() < 2.0,
            "the card went from {before} to {after}"
        );

        // The keyboard moves on from there.
        for (key, block) in [
            ("ArrowDown", "Block 2,499"),
            ("End", "Block 0"),
            ("Home", "Block 5,0"),
        ] {
            tab.key(key).await?;
            let holds = format!(
                "() => document.activeElement.textContent.startsWith({})",
                json!(block)
            );
            tab.until_page(block, &holds).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn block_dialog_checks_the_block() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [_, b] = with_first_block_open(env).await?;
        let hash = b.tip().await?;
        b.until_shows("block-dialog dialog", &hash).await?;
        b.focus("button", "Check it yourself").await?;
        b.key("Enter").await?;
        b.until_shows("block-dialog dialog", "This block is valid.")
            .await?;
        b.until_shows(
            "block-dialog dialog",
            "The reading is signed by its author.",
        )
        .await?;
        b.key("Escape").await?;
        b.until_hides("block-dialog dialog", &hash).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn own_readings_show_their_confirmations() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        a.enter(72).await?;
        agreement(&[&a, &b], 1).await?;
        a.until_shows("own-readings", "In block 1 · 1 confirmation")
            .await?;
        b.enter(73).await?;
        agreement(&[&a, &b], 2).await?;
        a.until_shows("own-readings", "In block 1 · 2 confirmations")
            .await?;
        // The other tab lists only its own reading.
        b.until_shows("own-readings", "In block 2 · 1 confirmation")
            .await?;
        ensure!(
            b.evaluate("document.querySelectorAll('own-readings li').length")
                .await?
                == 1,
            "another author's reading is listed as own"
        );
        // Both readings are in the chart, visually and for assistive technology.
        for tab in [&a, &b] {
            tab.until_page(
                "two lines in the chart",
                "() => document.querySelectorAll('.chart-legend li').length === 2",
            )
            .await?;
            tab.focus("slider", "Browse readings with the arrow keys")
                .await?;
            tab.key("End").await?;
            let label = "document.querySelector('.chart-cursor').ariaValueText";
            let label = tab.evaluate(label).await?;
            ensure!(
                label
                    .as_str()
                    .is_some_and(|label| label.starts_with("73 BPM")),
                "{label}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn network_view_shows_all_peers_and_paths() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b, c] = env.tabs().await?;
        for tab in [&a, &b, &c] {
            tab.until_shows("peer-list", "direct").await?;
            tab.until_page(
                "two peers and a relay in the picture",
                "() => document.querySelectorAll('.node-peer').length === 2 && document.querySelectorAll('.node-relay').length === 1
                    && document.querySelectorAll('.link-direct').length === 2",
            )
            .await?;
        }
        c.close().await?;
        a.until_page(
            "one peer in the picture",
            "() => document.querySelectorAll('.node-peer').length === 1",
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn shared_link_with_qr_code_opens_the_room() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let a = env
            .browser
            .open(&format!("{}#room=심박 <b>7</b>", env.relay.page()))
            .await?;
        a.until("the node", "() => true").await?;
        a.evaluate("document.querySelector('.room-open').click()")
            .await?;
        a.until_shows("room-bar dialog", "심박 <b>7</b>").await?;
        a.until_page(
            "a code",
            "() => document.querySelector('.qr path')?.getAttribute('d').length > 1000",
        )
        .await?;
        let link = a
            .evaluate("document.querySelector('#room-link').value")
            .await?;
        let link = link.as_str().context("a link")?.to_owned();
        let b = env.browser.open(&link).await?;
        b.until_peers(1).await?;
        ensure!(
            a.status().await?["genesis"] == b.status().await?["genesis"],
            "another room"
        );
        Ok(())
    })
    .await
}

/// The system's share dialog gets the room's name and link. Cancelling is not an error, and a refusal is shown.
#[tokio::test]
async fn system_share_gets_the_rooms_link() -> Outcome {
    const SYSTEM: &str = "globalThis.shared = [];
        globalThis.answers = [undefined, 'AbortError', 'NotAllowedError'];
        Object.defineProperty(navigator, 'share', { value: async (what) => {
            const name = answers[shared.length];
            shared.push(what);
            if (name) throw new DOMException('no', name);
        } });";
    run_test(async |env: &mut TestEnv| {
        let page = format!("{}#room=심박 <b>7</b>", env.relay.page());
        let tab = env.browser.open_with(&page, SYSTEM).await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        let refused = "Couldn't share. Copy the link instead.";
        for count in 1..=3 {
            tab.until_hides("room-bar dialog", refused).await?;
            tab.focus("button", "Share …").await?;
            tab.key("Enter").await?;
            tab.until_page(
                "it to be shared",
                &format!("() => shared.length === {count}"),
            )
            .await?;
        }
        tab.until_shows("room-bar dialog", refused).await?;
        let link = tab
            .evaluate("document.querySelector('#room-link').value")
            .await?;
        let shared = tab.evaluate("shared[0]").await?;
        let wanted = json!({ "title": "Heartchain · 심박 <b>7</b>", "url": link });
        ensure!(shared == wanted, "{shared} was shared");
        let room = link.as_str().and_then(|link| link.split("#room=").nth(1));
        ensure!(
            room.is_some_and(|room| room.starts_with("%EC%8B%AC")),
            "{link} is of another room"
        );

        // Without a system share dialog the button is hidden.
        let other = env.browser.open(&page).await?;
        other.until("the node", "() => true").await?;
        let offered = other
            .evaluate("'share' in navigator || !document.querySelector('.share').hidden")
            .await?;
        ensure!(
            offered == false,
            "sharing is offered where the system has no share dialog"
        );
        Ok(())
    })
    .await
}

/// From the narrowest phone to the widest projector, neither the page nor the longest fork view scrolls sideways.
#[tokio::test]
async fn page_fits_every_window() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = format!("{}?blocks=100000&authors=9&peers=8&readings=20&fork=30", env.relay.page());
        let tab = env.browser.open_with_node(&page, SYNTHETIC).await?;
        tab.until_shows("chain-list", "Block 100,000").await?;
        tab.until_shows("fork-view", "99,970").await?;
        for language in ["English", "한국어"] {
            for width in [360, 480, 640, 768, 960, 1024, 1280, 1920] {
                tab.resize(width, 900).await?;
                tab.until_page(
                    &format!("a page of {width} px"),
                    "() => [document.documentElement, document.querySelector('.fork-picture')].every((one) => one.clientWidth > 0 && one.scrollWidth <= one.clientWidth)
                        && [...document.querySelectorAll('.life')].every((life) => life.querySelector('time').offsetTop === life.querySelector('.life-words').offsetTop)",
                )
                .await?;
            }
            // The text ends at the page's edge, and this tab's label does not touch its circle.
            let edges = tab
                .evaluate(
                    "(() => {
                        const words = new Range();
                        words.selectNodeContents(document.querySelector('language-switch button'));
                        const label = document.querySelector('.node-self text');
                        const circle = document.querySelector('.node-self circle');
                        return {
                            beyond: words.getBoundingClientRect().right - document.querySelector('main').getBoundingClientRect().right,
                            gap: label.getBBox().y - circle.r.baseVal.value,
                        };
                    })()",
                )
                .await?;
            ensure!(
                edges["beyond"].as_f64().is_some_and(|px| px.abs() < 2.0) && edges["gap"].as_f64().is_some_and(|gap| gap > 4.0),
                "{edges} in {language}"
            );
            if language == "English" {
                tab.evaluate("document.querySelector('language-switch button').click()").await?;
            }
        }
        let lang: Value = tab.evaluate("document.documentElement.lang").await?;
        ensure!(lang == "ko", "the language is {lang}");
        Ok(())
    })
    .await
}

/// Opens two tabs: the first records a reading, and the second opens the dialog of its block.
pub(super) async fn with_first_block_open(env: &mut TestEnv) -> Result<[Tab; 2]> {
    let [a, b] = env.tabs().await?;
    a.enter(72).await?;
    agreement(&[&a, &b], 1).await?;
    b.until_shows("chain-list", "Block 1").await?;
    b.focus("button", "Block 1").await?;
    b.key("Enter").await?;
    Ok([a, b])
}

/// The range of the chart is the same at the next visit.
#[tokio::test]
async fn chart_range_is_remembered() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        let chosen = "() => document.querySelector('input[name=chart-range]:checked')?.value";
        tab.until("the node", "() => true").await?;
        tab.until_page(
            "the shortest range",
            &format!("() => ({chosen})() === '300000'"),
        )
        .await?;
        // It loads while the node starts.
        tab.until_page("the chart", "() => customElements.get('heart-chart')")
            .await?;
        tab.evaluate(
            "document.querySelector('input[name=chart-range][value=\"86400000\"]').click()",
        )
        .await?;
        tab.reload().await?;
        tab.until("the node", "() => true").await?;
        tab.until_page(
            "the same range",
            &format!("() => ({chosen})() === '86400000'"),
        )
        .await?;
        Ok(())
    })
    .await
}
