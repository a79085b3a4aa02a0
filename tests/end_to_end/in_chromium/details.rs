//! Small things that a person minds: what a dialog does while the chain goes on and while text is selected in it, what is
//! asked of whoever leaves, and names that are too long for their place.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::page::with_first_block_open;
use crate::harness::{Outcome, Stage, Tab, on_stage};

#[tokio::test]
async fn a_blocks_dialog_goes_on_with_the_chain_and_stays_while_text_is_selected() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = with_first_block_open(stage).await?;
        b.until_shows("block-dialog dialog", "the newest block")
            .await?;
        let after = "!document.querySelector('.block-after').disabled";
        ensure!(
            b.evaluate(after).await? == false,
            "a block after the newest"
        );
        a.enter(73).await?;
        b.until_shows("block-dialog dialog", "1 block on top of it")
            .await?;
        ensure!(b.evaluate(after).await? == true, "no block after it");

        // A block that cannot be read just now has not been left.
        b.evaluate("{ heartchain.blocks = async () => { throw new Error('changing'); }; }")
            .await?;
        a.enter(74).await?;
        b.until("a third block", "(node) => node.status().tip.index === 3")
            .await?;
        let said = b
            .evaluate("document.querySelector('.block-facts').textContent")
            .await?;
        ensure!(
            said.as_str().is_some_and(|said| !said.contains("left")),
            "{said}"
        );

        let inside = centre(&b, ".block-facts dd").await?;
        let beside = (5.0, 5.0);
        let open = "document.querySelector('block-dialog dialog').open";
        drag(&b, inside, beside).await?;
        ensure!(
            b.evaluate(open).await? == true,
            "selecting a hash closed the dialog"
        );
        drag(&b, beside, beside).await?;
        ensure!(
            b.evaluate(open).await? == false,
            "a press beside the dialog left it open"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn whoever_leaves_before_a_reading_is_kept_is_asked() -> Outcome {
    const LEAVE: &str = "const leaving = new Event('beforeunload', { cancelable: true });
        dispatchEvent(leaving);
        leaving.defaultPrevented";
    const TYPE_AND_LEAVE: &str = "for (const bpm of [70, 71, 72]) {
            document.querySelector('#bpm').value = bpm;
            document.querySelector('record-form form').requestSubmit();
        }";
    on_stage(async |stage: &mut Stage| {
        let [tab] = stage.tabs().await?;
        ensure!(
            tab.evaluate(&format!("{{ {LEAVE} }}")).await? == false,
            "asked with nothing to lose"
        );
        ensure!(
            tab.evaluate(&format!("{{ {TYPE_AND_LEAVE} {LEAVE} }}"))
                .await?
                == true,
            "let go with three readings that nobody had kept"
        );
        tab.until(
            "three readings",
            "(node) => node.ownReadings(10).length === 3",
        )
        .await?;
        tab.until_page(
            "that one may leave",
            &format!(
                "() => {{ {} }}",
                LEAVE.replace("leaving.def", "return !leaving.def")
            ),
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rooms_long_name_is_cut_where_it_has_no_room_and_told_whole() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let name = "W".repeat(64);
        let page = format!("{}#room={name}", stage.relay.page());
        let tab = stage.browser.open(&page).await?;
        tab.until("the node", "() => true").await?;
        for width in [360, 1_440] {
            tab.resize(width, 800).await?;
            let height = "document.querySelector('.room-open').getBoundingClientRect().height";
            let height = tab.evaluate(height).await?.as_f64().context("px")?;
            ensure!(height < 70.0, "{height} px high in a window of {width}");
            let status = "document.querySelector('.status').getBoundingClientRect().height";
            let status = tab.evaluate(status).await?.as_f64().context("px")?;
            ensure!(
                status < 90.0,
                "the status is {status} px high in a window of {width}"
            );
        }
        let title = tab.evaluate("document.querySelector('.room-name').title");
        ensure!(title.await? == json!(name), "its title is another");
        // This computer's own address is no address for a phone.
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        tab.until_shows("room-bar dialog", "works on this computer only")
            .await?;
        // What is to be typed stands in one line, however wide that is.
        let broken = tab.evaluate(
            "(() => {
                const option = document.querySelector('.room-only-here code');
                const widths = Array.from({ length: 40 }, (_, i) => 150 + 5 * i);
                return option.textContent + widths.filter((width) => {
                    option.parentElement.style.inlineSize = `${width}px`;
                    return option.getClientRects().length !== 1;
                });
            })()",
        );
        let broken = broken.await?;
        ensure!(broken == "--listen-ip 0.0.0.0", "broken at px: {broken}");
        Ok(())
    })
    .await
}

/// A name may turn text around, or hide something: then it is shown with that, and is still the room's name.
#[tokio::test]
async fn marks_in_a_rooms_name_are_seen_and_turn_nothing_around() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        for (name, shown) in [
            ("a\u{202e}b\u{200b}c", "a‹U+202E›b‹U+200B›c"),
            ("two  spaces", "two  spaces"),
            ("שלום 7", "שלום 7"),
        ] {
            let room: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let tab = stage.browser.open(&format!("{page}#room={room}")).await?;
            tab.until("the node", "() => true").await?;
            ensure!(tab.status().await?["room"] == name, "another room");
            tab.evaluate("document.querySelector('.room-open').click()")
                .await?;
            let seen = tab
                .evaluate(
                    "[...document.querySelectorAll('.room-name')].map((one) =>
                        [one.innerText, one.title, getComputedStyle(one).unicodeBidi])",
                )
                .await?;
            let wanted = json!([shown, shown, "isolate"]);
            ensure!(seen == json!([wanted, wanted]), "{seen}");
            // What others get leads to the same room.
            let led = tab
                .evaluate("new URLSearchParams(new URL(document.querySelector('#room-link').value).hash.slice(1)).get('room')")
                .await?;
            ensure!(led == name, "its link leads to {led}");
            tab.close().await?;
        }
        Ok(())
    })
    .await
}

/// Where the middle of the first such element is.
async fn centre(tab: &Tab, selector: &str) -> anyhow::Result<(f64, f64)> {
    let place = tab
        .evaluate(&format!(
            "(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])(document.querySelector({}).getBoundingClientRect())",
            json!(selector)
        ))
        .await?;
    let at = |i: usize| place.get(i).and_then(Value::as_f64).context("px");
    Ok((at(0)?, at(1)?))
}

/// Presses the mouse's button at one place, and lets it go at the other.
async fn drag(tab: &Tab, from: (f64, f64), to: (f64, f64)) -> anyhow::Result<()> {
    let steps = [
        ("mousePressed", from),
        ("mouseMoved", to),
        ("mouseReleased", to),
    ];
    for (kind, (x, y)) in steps {
        let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1 });
        tab.call("Input.dispatchMouseEvent", event).await?;
    }
    Ok(())
}
