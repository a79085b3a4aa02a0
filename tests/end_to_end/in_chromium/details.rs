//! Details of the page: a dialog while the chain grows and while text is selected in it, leaving with unsaved readings,
//! and long or confusing room names.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::page::with_first_block_open;
use crate::harness::{Outcome, Tab, TestEnv, run_test};

#[tokio::test]
async fn block_dialog_follows_the_chain() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = with_first_block_open(env).await?;
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

        // A block that cannot be read at the moment has not been dropped from the chain.
        b.evaluate("{ heartchain.blocks = async () => { throw new Error('changing'); }; }")
            .await?;
        a.enter(74).await?;
        b.until("a third block", "(node) => node.status().tip.index === 3")
            .await?;
        let facts = b
            .evaluate("document.querySelector('.block-facts').textContent")
            .await?;
        ensure!(
            facts
                .as_str()
                .is_some_and(|facts| !facts.contains("dropped")),
            "{facts}"
        );

        let inside = centre(&b, ".block-facts dd").await?;
        let outside = (5.0, 5.0);
        let open = "document.querySelector('block-dialog dialog').open";
        drag(&b, inside, outside).await?;
        ensure!(
            b.evaluate(open).await? == true,
            "selecting a hash closed the dialog"
        );
        drag(&b, outside, outside).await?;
        ensure!(
            b.evaluate(open).await? == false,
            "a press outside the dialog left it open"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn leaving_with_unsaved_readings_asks_first() -> Outcome {
    const LEAVE: &str = "const leaving = new Event('beforeunload', { cancelable: true });
        dispatchEvent(leaving);
        leaving.defaultPrevented";
    const TYPE_AND_LEAVE: &str = "for (const bpm of [70, 71, 72]) {
            document.querySelector('#bpm').value = bpm;
            document.querySelector('record-form form').requestSubmit();
        }";
    run_test(async |env: &mut TestEnv| {
        let [tab] = env.tabs().await?;
        ensure!(
            tab.evaluate(&format!("{{ {LEAVE} }}")).await? == false,
            "asked although nothing is unsaved"
        );
        ensure!(
            tab.evaluate(&format!("{{ {TYPE_AND_LEAVE} {LEAVE} }}"))
                .await?
                == true,
            "let go with three unsaved readings"
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
async fn long_room_name_is_truncated_with_a_title() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let name = "W".repeat(64);
        let page = format!("{}#room={name}", env.relay.page());
        let tab = env.browser.open(&page).await?;
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
        // A loopback URL is of no use on a phone, so the dialog says so.
        tab.evaluate("document.querySelector('.room-open').click()")
            .await?;
        tab.until_shows("room-bar dialog", "works only on this computer")
            .await?;
        // The command-line option never breaks across lines, whatever the width.
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

/// A room name may contain invisible or direction-changing characters. The page shows these as code points, and the
/// room keeps its name.
#[tokio::test]
async fn control_characters_in_room_names_are_visible() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        for (name, shown) in [
            ("a\u{202e}b\u{200b}c", "a‹U+202E›b‹U+200B›c"),
            ("two  spaces", "two  spaces"),
            ("שלום 7", "שלום 7"),
        ] {
            let room: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let tab = env.browser.open(&format!("{page}#room={room}")).await?;
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
            // The shared link leads to the same room.
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

/// The centre of the first element that matches the selector, in px.
async fn centre(tab: &Tab, selector: &str) -> anyhow::Result<(f64, f64)> {
    let point = tab
        .evaluate(&format!(
            "(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])(document.querySelector({}).getBoundingClientRect())",
            json!(selector)
        ))
        .await?;
    let at = |i: usize| point.get(i).and_then(Value::as_f64).context("px");
    Ok((at(0)?, at(1)?))
}

/// Presses the mouse button at one point and releases it at another.
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
