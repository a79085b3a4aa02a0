//! What a person sees of the chain: cards and their dialog, the picture of the network, own readings' way, the link.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

/// A node that computes a chain of any length.
const SYNTHETIC: &str = include_str!("../../www/synthetic-node.js");

#[tokio::test]
async fn who_looks_at_old_blocks_goes_on_looking_at_them() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = format!("{}?blocks=5000&rate=5", stage.relay.page());
        let tab = stage.browser.open_with_node(&page, SYNTHETIC).await?;
        tab.resize(1280, 900).await?;
        tab.until_shows("chain-list", "Block 5,0").await?;
        tab.focus("spinbutton", "Go to block").await?;
        tab.type_and_enter("2500").await?;
        tab.until_page(
            "the block, with the focus",
            "() => document.activeElement.textContent === 'Block 2,500'",
        )
        .await?;
        let place = "document.activeElement.getBoundingClientRect().top";
        let before = tab.evaluate(place).await?.as_f64().context("px")?;
        tab.until_page(
            "three more blocks",
            "() => Number(document.querySelector('.row').ariaSetSize) >= 5004",
        )
        .await?;
        let after = tab.evaluate(place).await?.as_f64().context("px")?;
        ensure!(
            (after - before).abs() < 2.0,
            "the card went from {before} to {after}"
        );

        // And by keyboard from there.
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
async fn a_block_is_checked_in_its_dialog() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [_, b] = with_first_block_open(stage).await?;
        let hash = b.tip().await?;
        b.until_shows("block-dialog dialog", &hash).await?;
        b.focus("button", "Check it yourself").await?;
        b.key("Enter").await?;
        b.until_shows(
            "block-dialog dialog",
            "Everything in this block is as it should be.",
        )
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
async fn an_own_reading_is_seen_from_its_block_to_its_confirmations() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(72).await?;
        agreement(&[&a, &b], 1).await?;
        a.until_shows("own-readings", "In block 1 · 1 confirmation")
            .await?;
        b.enter(73).await?;
        agreement(&[&a, &b], 2).await?;
        a.until_shows("own-readings", "In block 1 · 2 confirmations")
            .await?;
        // The other's own list has only its own.
        b.until_shows("own-readings", "In block 2 · 1 confirmation")
            .await?;
        ensure!(
            b.evaluate("document.querySelectorAll('own-readings li').length")
                .await?
                == 1,
            "another's reading is among one's own"
        );
        // Both are in the chart, for eyes and for ears.
        for tab in [&a, &b] {
            tab.until_page(
                "two lines in the chart",
                "() => document.querySelectorAll('.chart-legend li').length === 2",
            )
            .await?;
            tab.focus("slider", "Readings, by arrow keys").await?;
            tab.key("End").await?;
            let said = "document.querySelector('.chart-cursor').ariaValueText";
            let said = tab.evaluate(said).await?;
            ensure!(
                said.as_str().is_some_and(|said| said.starts_with("73 BPM")),
                "{said}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_picture_and_the_table_show_everybody_and_how_they_are_reached() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b, c] = stage.tabs().await?;
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
async fn a_shared_link_and_its_code_lead_to_the_same_room() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let a = stage
            .browser
            .open(&format!("{}#room=심박 <b>7</b>", stage.relay.page()))
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
        let b = stage.browser.open(&link).await?;
        b.until_peers(1).await?;
        ensure!(
            a.status().await?["genesis"] == b.status().await?["genesis"],
            "another room"
        );
        Ok(())
    })
    .await
}

/// The system's own way of sharing gets the room's name and link; giving up is no fault, and a refusal is told.
#[tokio::test]
async fn the_systems_way_of_sharing_gets_the_rooms_link() -> Outcome {
    const SYSTEM: &str = "globalThis.shared = [];
        globalThis.answers = [undefined, 'AbortError', 'NotAllowedError'];
        Object.defineProperty(navigator, 'share', { value: async (what) => {
            const name = answers[shared.length];
            shared.push(what);
            if (name) throw new DOMException('no', name);
        } });";
    on_stage(async |stage: &mut Stage| {
        let page = format!("{}#room=심박 <b>7</b>", stage.relay.page());
        let tab = stage.browser.open_with(&page, SYSTEM).await?;
        tab.until("the node", "() => true").await?;
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        let refused = "The browser could not share. Copy the link instead.";
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

        // Where the system has none, nobody is offered it.
        let other = stage.browser.open(&page).await?;
        other.until("the node", "() => true").await?;
        let offered = other
            .evaluate("'share' in navigator || !document.querySelector('.share').hidden")
            .await?;
        ensure!(offered == false, "sharing is offered where there is none");
        Ok(())
    })
    .await
}

/// Nothing is lost from sight on the narrowest phone and the widest projector: neither the page nor the longest fork that
/// is shown scrolls sideways.
#[tokio::test]
async fn the_page_fits_every_window() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = format!("{}?blocks=100000&authors=9&peers=8&readings=20&fork=30", stage.relay.page());
        let tab = stage.browser.open_with_node(&page, SYNTHETIC).await?;
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
            // Words end where the page does, and that of this tab keeps off its circle.
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

/// Two tabs: the first has recorded a reading, and the second has the dialog of its block open.
pub(super) async fn with_first_block_open(stage: &mut Stage) -> Result<[Tab; 2]> {
    let [a, b] = stage.tabs().await?;
    a.enter(72).await?;
    agreement(&[&a, &b], 1).await?;
    b.until_shows("chain-list", "Block 1").await?;
    b.focus("button", "Block 1").await?;
    b.key("Enter").await?;
    Ok([a, b])
}
