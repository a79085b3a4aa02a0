//! "See how it works", step by step: made of the real peer, confined to one tab, undone by leaving.

use anyhow::{Result, ensure};

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
