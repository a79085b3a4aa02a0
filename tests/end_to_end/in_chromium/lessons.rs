//! The lessons ("See how it works"), step by step: they use the real peer, affect one tab only, and are undone by
//! leaving them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// Two tabs of a room with one reading. The lesson of the first one has disconnected it.
async fn disconnected(env: &mut TestEnv) -> Result<[Tab; 2]> {
    let [a, b] = env.tabs().await?;
    a.enter(70).await?;
    agreement(&[&a, &b], 1).await?;
    open_lessons(&a).await?;
    press(&a, "Disconnect this tab").await?;
    b.until("no peer", "node => node.status().peers === 0")
        .await?;
    Ok([a, b])
}

/// Two tabs, of which the first has the lessons open, and the tip: a block with a reading of the second.
async fn with_block(env: &mut TestEnv) -> Result<([Tab; 2], String)> {
    let [a, b] = env.tabs().await?;
    b.enter(72).await?;
    let tip = agreement(&[&a, &b], 1).await?;
    open_lessons(&a).await?;
    Ok(([a, b], tip))
}

#[tokio::test]
async fn isolated_branch_merges_and_readings_return() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = disconnected(env).await?;
        a.until_shows("lesson-branches", "This tab is disconnected")
            .await?;

        press(&a, "Go to the form").await?;
        a.until_page(
            "the field, in sight and with the focus",
            "() => {
                const { top, bottom } = document.activeElement.getBoundingClientRect();
                return document.activeElement.id === 'bpm' && top >= 0 && bottom <= innerHeight;
            }",
        )
        .await?;
        a.type_and_enter("71").await?;
        a.until_shows("lesson-branches", "1 block made alone")
            .await?;
        a.until_shows(
            "lesson-branches",
            "Your readings since then: 1. In blocks of your branch: 1.",
        )
        .await?;
        // The other tab does more work, so its branch wins.
        for bpm in [80, 81, 82] {
            b.enter(bpm).await?;
            let holds = format!("node => node.status().tip.index >= {}", bpm - 78);
            b.until("its block", &holds).await?;
        }
        ensure!(
            a.readings().await?.len() == 2 && b.readings().await?.len() == 4,
            "they were not apart"
        );

        press(&a, "Reconnect").await?;
        agreement(&[&a, &b], 5).await?;
        a.until_shows("lesson-branches", "The others' branch had more work")
            .await?;
        a.until_shows("lesson-branches", "is in the shared chain")
            .await?;
        expect_bpms(&b, &[70, 80, 81, 82, 71]).await
    })
    .await
}

#[tokio::test]
async fn tampered_block_fails_its_checks() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let ([a, b], tip) = with_block(env).await?;

        press(&a, "Tamper with the newest block").await?;
        a.until_shows("lesson-tampering", "72 BPM became 112 BPM")
            .await?;
        a.until_shows(
            "lesson-tampering",
            "The hash of its readings (Merkle root) was",
        )
        .await?;
        a.until_shows("lesson-tampering", "The header describes other readings")
            .await?;
        a.until_shows("lesson-tampering", "The author never signed this")
            .await?;
        a.until_shows("lesson-tampering", "Peers who have the real block keep it")
            .await?;

        press(&a, "Recompute the hashes").await?;
        a.until_hides("lesson-tampering", "The header describes other readings")
            .await?;
        a.until_shows("lesson-tampering", "The hash of the block was 0")
            .await?;
        a.until_shows("lesson-tampering", "All other checks pass")
            .await?;
        a.until_shows("lesson-tampering", "No work was done for this hash")
            .await?;
        a.until_shows(
            "lesson-tampering",
            "Peers reject it: its hash is above the target",
        )
        .await?;
        a.until_shows("lesson-tampering", "disconnect the peer that sent it")
            .await?;

        press(&a, "Discard the copy").await?;
        a.until_hides("lesson-tampering", "Peers reject it").await?;
        expect_unchanged(&a, &b, &tip, 72).await
    })
    .await
}

#[tokio::test]
async fn forged_reading_is_refused() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let ([a, b], tip) = with_block(env).await?;
        for (button, words) in [
            ("Change its heart rate", "The forgery says 112 BPM"),
            ("Change its author", "The forgery says it was"),
        ] {
            press(&a, button).await?;
            a.until_shows("lesson-forgery", words).await?;
            a.until_shows(
                "lesson-forgery",
                "Peers reject it: its author didn't sign it",
            )
            .await?;
            a.until_shows("lesson-forgery", "disconnect the peer that sent it")
                .await?;
        }
        expect_unchanged(&a, &b, &tip, 72).await
    })
    .await
}

#[tokio::test]
async fn mining_limit_ends_with_the_lessons() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let a = env.tab().await?;
        open_lessons(&a).await?;
        a.focus("radio", "200 per second").await?;
        a.key("Space").await?;
        a.until("the limit", "node => node.status().miningLimit === 200")
            .await?;
        a.until_shows("lesson-mining", "At this pace, a block takes").await?;
        a.enter(72).await?;
        a.until_shows("lesson-mining", "1 reading is waiting for a block").await?;
        a.until(
            "a slow search",
            "node => node.status().hashesPerSecond !== null && node.status().hashesPerSecond <= 400",
        )
        .await?;
        ensure!(a.status().await?["tip"]["index"] == 0, "mined at full speed");

        a.focus("switch", "See how it works").await?;
        a.key("Space").await?;
        a.until("no limit", "node => node.status().miningLimit === null")
            .await?;
        agreement(&[&a], 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn leaving_the_lessons_undoes_everything() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        for leave in [
            "document.querySelector('.lesson-switch').click()",
            "location.reload()",
        ] {
            open_lessons(&a).await?;
            press(&a, "Disconnect this tab").await?;
            a.focus("radio", "2,000 per second").await?;
            a.key("Space").await?;
            a.until(
                "both",
                "node => node.status().isolated && node.status().miningLimit === 2000",
            )
            .await?;
            a.evaluate(leave).await?;
            a.until(
                "neither",
                "node => !node.status().isolated && node.status().miningLimit === null",
            )
            .await?;
            a.until_peers(1).await?;
            b.until_peers(1).await?;
        }
        a.enter(72).await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

/// The tab that reorganised shows both branches of a real fork, block by block. No fork is shown before the tabs meet,
/// nor long after.
#[tokio::test]
async fn fork_view_shows_both_branches() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = disconnected(env).await?;
        grow_to(&a, 71, 3).await?;
        grow_to(&b, 81, 4).await?;
        // Each tab knows only its own branch.
        let hidden = "document.querySelector('fork-view').hidden";
        for tab in [&a, &b] {
            ensure!(
                tab.evaluate(hidden).await? == true,
                "{} shows a fork that it cannot know of",
                tab.name()
            );
        }
        let own = boxes(&a, 2).await?;
        let rooms = boxes(&b, 2).await?;
        ensure!(own.len() == 2 && rooms.len() == 3, "{own:?} and {rooms:?}");

        press(&a, "Reconnect").await?;
        // The readings that returned to the mempool are in one or two blocks on top of the other branch.
        a.until_page(
            "the fork, with the room's blocks followed",
            &format!(
                "() => {LANES}.ours?.slice(0, 3).join() === {}",
                json!(rooms.join(","))
            ),
        )
        .await?;
        let lanes = a.evaluate(LANES).await?;
        ensure!(lanes["root"] == "1", "the fork is elsewhere: {lanes}");
        ensure!(
            lanes["theirs"] == json!(own),
            "left is not {own:?}: {lanes}"
        );
        ensure!(lanes["labels"] == json!(["followed", "dropped"]), "{lanes}");
        a.until_shows("fork-view", "The chain split after block 1")
            .await?;
        a.until_shows("fork-view", "only in the other (2 blocks)")
            .await?;

        // However far the chain grows, the fork of the lesson stays until it is dismissed.
        agreement(&[&a, &b], 6).await?;
        grow_to(&b, 91, 12).await?;
        a.until("the same height", "node => node.status().tip.index >= 12")
            .await?;
        a.until_shows("fork-view", "only in the other (2 blocks)")
            .await?;
        ensure!(a.evaluate(hidden).await? == false, "the fork is gone");
        a.evaluate("document.querySelector('fork-view button').click()")
            .await?;
        a.until_page(
            &format!("the fork to go: {hidden}"),
            &format!("() => {hidden}"),
        )
        .await?;
        Ok(())
    })
    .await
}

/// Reads the two columns: each block's number and the end of its hash, oldest first.
const LANES: &str = "(() => {
    const boxes = (name) => [...document.querySelectorAll(`.lane-${name} .lane-block`)].map((box) => box.textContent);
    return {
        root: document.querySelector('.fork-root')?.textContent,
        labels: [...document.querySelectorAll('.lane-label')].map((label) => label.textContent),
        ours: boxes('ours'),
        theirs: boxes('theirs'),
    };
})()";

/// Records heart rates one after the other, each in its own block, until the tip has this height.
async fn grow_to(tab: &Tab, first_bpm: u16, height: u64) -> Result<()> {
    let mut tip = tab.status().await?["tip"]["index"]
        .as_u64()
        .context("tip")?;
    let mut bpm = first_bpm;
    while tip < height {
        tab.enter(bpm).await?;
        let holds =
            format!("node => node.status().tip.index > {tip} && node.status().mempool === 0");
        tab.until("its block", &holds).await?;
        tip = tab.status().await?["tip"]["index"]
            .as_u64()
            .context("tip")?;
        bpm += 1;
    }
    Ok(())
}

/// The tab's blocks from this height on, as a column lists them.
async fn boxes(tab: &Tab, from: usize) -> Result<Vec<String>> {
    let blocks = tab.blocks().await?;
    let named = blocks.iter().skip(from).map(|block| {
        let hash = block["hash"].as_str()?;
        Some(format!(
            "{}…{}",
            block["index"],
            hash.get(hash.len() - 6..)?
        ))
    });
    named.collect::<Option<_>>().context("blocks with hashes")
}

/// The lessons use the page's own form. Where lesson and form do not both fit into the window, the current step stays
/// visible next to the form.
#[tokio::test]
async fn current_step_stays_in_view() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        for (width, height) in [(360, 640), (800, 600)] {
            a.resize(width, height).await?;
            open_lessons(&a).await?;
            expect_step(&a, None).await?;
            press(&a, "Disconnect this tab").await?;
            press(&a, "Go to the form").await?;
            expect_step(&a, Some("Now record a reading")).await?;
            a.type_and_enter("71").await?;
            expect_step(&a, Some("Your reading is in a block of your branch.")).await?;

            // The step's buttons precede the form in the tab order and do the same as the lesson's.
            a.key("Shift+Tab").await?;
            ensure!(
                focused_text(&a).await? == "Back to the lesson",
                "not before the form"
            );
            a.key("Shift+Tab").await?;
            ensure!(
                focused_text(&a).await? == "Reconnect now",
                "not before that"
            );
            a.key("Enter").await?;
            expect_step(&a, Some("in the shared chain")).await?;
            ensure!(
                focused_text(&a).await? == "Back to the lesson",
                "the focus was lost"
            );
            a.key("Enter").await?;
            ensure!(
                focused_text(&a).await? == "Disconnect this tab",
                "the focus is elsewhere"
            );
            expect_step(&a, None).await?;

            // A person who has seen the outcome is not shown the step again.
            a.evaluate("document.querySelector('#bpm').scrollIntoView({ block: 'start' })")
                .await?;
            a.until_page(
                "the lesson out of sight",
                &format!("() => !({SENTENCES_IN_SIGHT})"),
            )
            .await?;
            expect_step(&a, None).await?;
            a.evaluate("document.querySelector('.lesson-switch').click()")
                .await?;
            a.until_page("no lessons", "() => !document.querySelector('lesson-step')")
                .await?;
            a.until_peers(1).await?;
        }
        Ok(())
    })
    .await
}

const SENTENCES_IN_SIGHT: &str = "(() => {
    const { top, bottom } = document.querySelector('lesson-branches .lesson-sentences').getBoundingClientRect();
    return top < innerHeight && bottom > 0;
})()";

/// The step is visible with this text, within the window, and covers neither the form's field nor the focused element.
/// With `None`, the step is hidden.
async fn expect_step(tab: &Tab, words: Option<&str>) -> Result<()> {
    let Some(words) = words else {
        // Waits two frames, so that the page has handled the scrolling.
        tab.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))")
            .await?;
        tab.until_page(
            "no step",
            "() => document.querySelector('lesson-step').hidden",
        )
        .await?;
        return Ok(());
    };
    tab.until_page(
        &format!("the step {words:?}"),
        &format!(
            "() => {{
                const step = document.querySelector('lesson-step');
                const {{ top, bottom, left, right }} = step.getBoundingClientRect();
                const free = [document.querySelector('#bpm'), document.activeElement]
                    .every((one) => step.contains(one) || one === document.body || one.getBoundingClientRect().top >= bottom);
                return !step.hidden && step.textContent.includes({}) && free
                    && top === 0 && left >= 0 && right <= innerWidth && bottom < innerHeight / 4;
            }}",
            json!(words)
        ),
    )
    .await?;
    Ok(())
}

async fn focused_text(tab: &Tab) -> Result<Value> {
    tab.evaluate("document.activeElement.textContent").await
}

pub(super) async fn open_lessons(tab: &Tab) -> Result<()> {
    tab.until("the node", "() => true").await?;
    tab.until_shows(".lesson-switch", "See how it works")
        .await?;
    tab.focus("switch", "See how it works").await?;
    tab.key("Space").await?;
    tab.until_shows("lesson-panel", "Try to break the chain")
        .await?;
    Ok(())
}

pub(super) async fn press(tab: &Tab, name: &str) -> Result<()> {
    tab.focus("button", name).await?;
    tab.key("Enter").await
}

/// The room is unchanged: one reading, one tip, and the two tabs are still connected.
async fn expect_unchanged(a: &Tab, b: &Tab, tip: &str, bpm: u16) -> Result<()> {
    for tab in [a, b] {
        tab.until_peers(1).await?;
        ensure!(tab.tip().await? == tip, "{} has another tip", tab.name());
        expect_bpms(tab, &[bpm]).await?;
        let waiting = tab.status().await?["mempool"].clone();
        ensure!(
            waiting == 0,
            "{} has {waiting} readings waiting",
            tab.name()
        );
    }
    Ok(())
}

/// A learner who reconnects while the relay is down is told why nothing happens, and what will end it.
#[tokio::test]
async fn lesson_goes_on_when_the_relay_is_back() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = disconnected(env).await?;
        a.enter(71).await?;
        a.until_shows("lesson-branches", "1 block made alone")
            .await?;
        env.relay.kill().await?;
        press(&a, "Reconnect").await?;
        a.until_shows("lesson-branches", "Looking for the others")
            .await?;
        a.until_shows("lesson-branches", "the relay can't be reached")
            .await?;
        a.until_shows("lesson-branches", "This tab keeps its branch")
            .await?;
        a.until_status_says("Can't reach the relay. You can keep recording")
            .await?;
        // The other lessons need only this tab.
        press(&a, "Tamper with the newest block").await?;
        a.until_shows("lesson-tampering", "71 BPM became 111 BPM")
            .await?;
        press(&a, "Change its heart rate").await?;
        a.until_shows("lesson-forgery", "its author didn't sign it")
            .await?;

        env.relay.restart().await?;
        a.until_shows("lesson-branches", "is in the shared chain")
            .await?;
        a.until_hides("lesson-branches", "the relay can't be reached")
            .await?;
        agreement(&[&a, &b], 2).await?;

        // The result stays when the relay stops again.
        env.relay.kill().await?;
        a.until_status_says("Can't reach the relay").await?;
        a.until_shows("lesson-branches", "is in the shared chain")
            .await?;
        a.until_hides("lesson-branches", "Looking for the others")
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn lone_learner_is_told_that_no_one_is_here() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let a = env.tab().await?;
        open_lessons(&a).await?;
        press(&a, "Disconnect this tab").await?;
        a.enter(71).await?;
        a.until_shows("lesson-branches", "1 block made alone")
            .await?;
        press(&a, "Reconnect").await?;
        a.until_shows("lesson-branches", "no one else is here")
            .await?;
        let b = env.tab().await?;
        a.until_shows("lesson-branches", "is in the shared chain")
            .await?;
        agreement(&[&a, &b], 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failed_lessons_can_be_loaded_later() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.until_page(
            "the switch of the lessons",
            "() => document.querySelector('lesson-panel')?.hidden === false",
        )
        .await?;
        env.relay.kill().await?;
        tab.focus("switch", "See how it works").await?;
        tab.key("Space").await?;
        tab.until_shows(".lesson-failure", "Turn them on again later.")
            .await?;
        env.relay.restart().await?;
        open_lessons(&tab).await?;
        tab.until_hides(".lesson-failure", "Couldn't load the lessons")
            .await?;
        Ok(())
    })
    .await
}

/// With a palette of the system's, on and off must not look the same.
#[tokio::test]
async fn switch_is_visible_in_forced_colours() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.until_shows("lesson-panel", "See how it works").await?;
        let forced = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
        tab.call("Emulation.setEmulatedMedia", forced).await?;
        let off = picture_of_switch(&tab).await?;
        tab.evaluate("document.querySelector('.lesson-switch').click()")
            .await?;
        tab.until_page(
            "the lessons",
            "() => document.querySelector('.lesson-switch[aria-checked=true]')",
        )
        .await?;
        ensure!(picture_of_switch(&tab).await? != off, "on looks like off");
        Ok(())
    })
    .await
}

/// A picture of the switch, without its words.
async fn picture_of_switch(tab: &Tab) -> Result<Value> {
    let place = "(() => {
        const { x, y, height } = document.querySelector('.lesson-switch').getBoundingClientRect();
        return { x: x + scrollX, y: y + scrollY, width: 1.5 * height, height, scale: 1 };
    })()";
    let clip = tab.evaluate(place).await?;
    let picture = json!({ "format": "png", "clip": clip });
    let mut picture = tab.call("Page.captureScreenshot", picture).await?;
    Ok(picture["data"].take())
}
