//! "See how it works", step by step: made of the real peer, confined to one tab, undone by leaving.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::syncing::expect_bpms;
use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

#[tokio::test]
async fn a_branch_made_alone_meets_the_others_and_its_readings_return() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        open_lessons(&a).await?;
        press(&a, "Cut this tab off").await?;
        a.until_shows("lesson-branches", "talks to nobody any more")
            .await?;
        b.until("nobody else", "node => node.status().peers === 0")
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
            "Your readings since then: 1, of which 1 are in blocks of your own branch",
        )
        .await?;
        // The others do more work, so that their branch is the one that stays.
        for bpm in [80, 81, 82] {
            b.enter(bpm).await?;
            let holds = format!("node => node.status().tip.index >= {}", bpm - 78);
            b.until("its block", &holds).await?;
        }
        ensure!(
            a.readings().await?.len() == 2 && b.readings().await?.len() == 4,
            "they were not apart"
        );

        press(&a, "Join again").await?;
        agreement(&[&a, &b], 5).await?;
        a.until_shows("lesson-branches", "The others' branch had more work")
            .await?;
        a.until_shows("lesson-branches", "is in the chain that all share")
            .await?;
        expect_bpms(&b, &[70, 80, 81, 82, 71]).await
    })
    .await
}

#[tokio::test]
async fn a_block_that_was_tampered_with_fails_its_sums_and_peers_refuse_it() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        b.enter(72).await?;
        let tip = agreement(&[&a, &b], 1).await?;
        open_lessons(&a).await?;

        press(&a, "Tamper with the newest block").await?;
        a.until_shows("lesson-tampering", "72 BPM became 112 BPM")
            .await?;
        a.until_shows("lesson-tampering", "The header is about other readings")
            .await?;
        a.until_shows("lesson-tampering", "An author never signed this")
            .await?;
        a.until_shows(
            "lesson-tampering",
            "Peers leave it aside: it is known already",
        )
        .await?;

        press(&a, "Make the sums fit again").await?;
        a.until_hides("lesson-tampering", "The header is about other readings")
            .await?;
        a.until_shows("lesson-tampering", "All its other sums fit")
            .await?;
        a.until_shows("lesson-tampering", "No work was done for this hash")
            .await?;
        a.until_shows(
            "lesson-tampering",
            "Peers refuse it: its hash is above the target",
        )
        .await?;
        a.until_shows("lesson-tampering", "hang up on whoever sent it")
            .await?;

        press(&a, "Throw the copy away").await?;
        a.until_hides("lesson-tampering", "Peers refuse it").await?;
        expect_nothing_happened(&a, &b, &tip, 72).await
    })
    .await
}

#[tokio::test]
async fn a_forged_reading_is_refused_and_reaches_nobody() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        b.enter(72).await?;
        let tip = agreement(&[&a, &b], 1).await?;
        open_lessons(&a).await?;
        for (button, words) in [
            ("Change its heart rate", "The forgery says 112 BPM"),
            ("Put another name under it", "The forgery says that it was"),
        ] {
            press(&a, button).await?;
            a.until_shows("lesson-forgery", words).await?;
            a.until_shows(
                "lesson-forgery",
                "Peers refuse it: the signature is not its author's",
            )
            .await?;
            a.until_shows("lesson-forgery", "hang up on whoever sent it")
                .await?;
        }
        expect_nothing_happened(&a, &b, &tip, 72).await
    })
    .await
}

#[tokio::test]
async fn mining_is_slowed_down_until_the_lessons_are_left() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let a = stage.tab().await?;
        open_lessons(&a).await?;
        a.focus("radio", "200 a second").await?;
        a.key("Space").await?;
        a.until("the limit", "node => node.status().miningLimit === 200")
            .await?;
        a.until_shows("lesson-mining", "At this pace a block takes").await?;
        a.enter(72).await?;
        a.until_shows("lesson-mining", "1 reading waits for a block").await?;
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
async fn leaving_the_lessons_or_loading_the_page_again_undoes_all() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        for leave in [
            "document.querySelector('.lesson-switch').click()",
            "location.reload()",
        ] {
            open_lessons(&a).await?;
            press(&a, "Cut this tab off").await?;
            a.focus("radio", "2,000 a second").await?;
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

/// Both branches of a real fork, block by block, in the tab that changed over; and no fork before they met, nor long after.
#[tokio::test]
async fn the_two_branches_of_a_fork_stand_side_by_side_until_it_is_old() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        open_lessons(&a).await?;
        press(&a, "Cut this tab off").await?;
        b.until("nobody else", "node => node.status().peers === 0")
            .await?;
        go_on_to(&a, 71, 3).await?;
        go_on_to(&b, 81, 4).await?;
        // Each knows its own way only.
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

        press(&a, "Join again").await?;
        // Whatever returned to the queue is in one block or two on top of the room's.
        a.until_page(
            "the fork, with the room's blocks followed",
            &format!(
                "() => {LANES}.ours?.slice(0, 3).join() === {}",
                json!(rooms.join(","))
            ),
        )
        .await?;
        let lanes = a.evaluate(LANES).await?;
        ensure!(lanes["root"] == "1", "they part elsewhere: {lanes}");
        ensure!(
            lanes["theirs"] == json!(own),
            "left is not {own:?}: {lanes}"
        );
        ensure!(lanes["labels"] == json!(["followed", "left"]), "{lanes}");
        a.until_shows("fork-view", "after block 1 the chain goes on in two ways")
            .await?;
        a.until_shows("fork-view", "the other (2 long) is left")
            .await?;

        // The room goes on until nobody minds any more.
        agreement(&[&a, &b], 6).await?;
        go_on_to(&b, 91, 9).await?;
        a.until_page(
            &format!("the fork to go: {hidden}"),
            &format!("() => {hidden}"),
        )
        .await?;
        Ok(())
    })
    .await
}

/// What the two columns list: each block's number and the end of its hash, oldest first.
const LANES: &str = "(() => {
    const boxes = (name) => [...document.querySelectorAll(`.lane-${name} .lane-block`)].map((box) => box.textContent);
    return {
        root: document.querySelector('.fork-root')?.textContent,
        labels: [...document.querySelectorAll('.lane-label')].map((label) => label.textContent),
        ours: boxes('ours'),
        theirs: boxes('theirs'),
    };
})()";

/// Records one heart rate after the other, each in a block of its own, until the tip is that high.
async fn go_on_to(tab: &Tab, first_bpm: u16, height: u64) -> Result<()> {
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

/// The tab's blocks from that one on, as a column lists them.
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

/// The lessons ask for the page's own form. Where both do not fit into the window, the step at hand goes along.
#[tokio::test]
async fn the_step_at_hand_stays_in_sight_where_the_lesson_does_not() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        for (width, height) in [(360, 640), (800, 600)] {
            a.resize(width, height).await?;
            open_lessons(&a).await?;
            expect_step(&a, None).await?;
            press(&a, "Cut this tab off").await?;
            press(&a, "Go to the form").await?;
            expect_step(&a, Some("now record a reading")).await?;
            a.type_and_enter("71").await?;
            expect_step(&a, Some("Your reading is in a block of your own branch.")).await?;

            // Its buttons come right before the form, and do what those of the lesson do.
            a.key("Shift+Tab").await?;
            ensure!(
                focused_text(&a).await? == "Back to the lesson",
                "not before the form"
            );
            a.key("Shift+Tab").await?;
            ensure!(focused_text(&a).await? == "Rejoin", "not before that");
            a.key("Enter").await?;
            expect_step(&a, Some("in the chain that all share")).await?;
            ensure!(
                focused_text(&a).await? == "Back to the lesson",
                "the focus was lost"
            );
            a.key("Enter").await?;
            ensure!(
                focused_text(&a).await? == "Cut this tab off",
                "the focus is elsewhere"
            );
            expect_step(&a, None).await?;

            // Who has seen what came of it is told no more.
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

/// The step is there with these words, within the window, and hides neither the form's field nor what has the focus; or it is not there.
async fn expect_step(tab: &Tab, words: Option<&str>) -> Result<()> {
    let Some(words) = words else {
        // Two frames: what has just come into sight has been looked at.
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

/// The room is as it was: one reading, one tip, and the two still know each other.
async fn expect_nothing_happened(a: &Tab, b: &Tab, tip: &str, bpm: u16) -> Result<()> {
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

#[tokio::test]
async fn lessons_that_cannot_be_loaded_say_what_to_do_and_come_when_it_is_done() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let tab = stage.tab().await?;
        tab.until("the node", "() => true").await?;
        stage.relay.kill().await?;
        tab.focus("switch", "See how it works").await?;
        tab.key("Space").await?;
        tab.until_shows(".lesson-failure", "Turn them on again when it does.")
            .await?;
        stage.relay.start_again().await?;
        open_lessons(&tab).await?;
        tab.until_hides(".lesson-failure", "could not be loaded")
            .await?;
        Ok(())
    })
    .await
}
