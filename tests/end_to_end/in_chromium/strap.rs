//! Heart-rate straps by Web Bluetooth: paired, subscribed to, lost, found again and left.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::harness::{Operation, Outcome, PATIENCE, Stage, Strap, Tab, agreement, on_stage};

/// About as often as a strap measures.
const PACE: Duration = Duration::from_millis(500);
/// 88 BPM with the skin touched; 90 BPM in 16 bits with energy and two RR intervals; 92 BPM without contact; 7 BPM.
const TOUCHING: [u8; 2] = [0b0_0110, 88];
const FULL: [u8; 9] = [0b1_1111, 90, 0, 1, 0, 0, 4, 0, 2];
const LOOSE: [u8; 2] = [0b0_0100, 92];
const NO_HEART: [u8; 2] = [0b0_0000, 7];

#[tokio::test]
async fn without_web_bluetooth_there_is_no_strap_button() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let tab = stage.tab().await?;
        tab.until("the node", "() => true").await?;
        ensure!(
            tab.evaluate("navigator.bluetooth === undefined").await? == true,
            "this browser has Web Bluetooth"
        );
        ensure!(
            tab.evaluate("document.querySelector('strap-control').checkVisibility()")
                .await?
                == false,
            "a button that does nothing"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_strap_records_until_it_is_left_and_is_found_again_when_lost() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = stage.relay.page().to_owned();
        let other = stage.tab().await?;
        let browser = stage.another_browser_with(&[Strap::FLAG]).await?;
        let (strap, tab) = Strap::beside_page(browser, &page, "Strap <7>").await?;
        tab.until_peers(1).await?;
        // Counts how often the browser is asked to keep what is recorded, and passes it on.
        tab.evaluate("globalThis.asked = 0; void (navigator.storage.persist = () => { asked += 1; return StorageManager.prototype.persist.call(navigator.storage); })")
            .await?;

        tab.focus("button", "Connect heart-rate strap").await?;
        tab.type_and_enter("").await?;
        tab.until_shows("strap-control", "Connected to Strap <7>")
            .await?;
        tab.until_shows("strap-control", "Battery 87 %").await?;
        ensure!(
            strap.operations() == [Operation::Connected, Operation::Subscribed],
            "found {:?}",
            strap.operations()
        );
        tab.focus("spinbutton", "Seconds between readings").await?;
        tab.empty_field().await?;
        tab.type_and_enter("1").await?;

        measure_until_shared(&strap, &tab, &other, &TOUCHING, 88).await?;
        tab.until_shows("strap-control", "88 BPM").await?;
        tab.until("the browser to be asked", "() => asked > 0").await?;
        measure_until_shared(&strap, &tab, &other, &FULL, 90).await?;

        // Neither a loose strap nor a value that no heart has is recorded, and both are told.
        let before = recorded(&tab).await?;
        for (bytes, words) in [
            (LOOSE, "does not feel your skin"),
            (NO_HEART, "what no heart does"),
        ] {
            for _ in 0..6 {
                strap.measure(&tab, &bytes).await?;
                sleep(PACE).await;
            }
            tab.until_shows("strap-control", words).await?;
        }
        ensure!(recorded(&tab).await? == before, "recorded all the same");

        strap.go_away().await?;
        tab.until_shows("strap-control", "is out of reach").await?;
        strap.come_back().await?;
        tab.until_shows("strap-control", "Connected to Strap <7>")
            .await?;
        measure_until_shared(&strap, &tab, &other, &TOUCHING, 88).await?;

        ensure!(tab.evaluate("asked").await? == 1, "it asks again and again");
        tab.focus("button", "Disconnect strap").await?;
        tab.type_and_enter("").await?;
        tab.until_hides("strap-control", "Connected").await?;
        let before = recorded(&tab).await?;
        for _ in 0..6 {
            strap.measure(&tab, &TOUCHING).await?;
            sleep(PACE).await;
        }
        ensure!(recorded(&tab).await? == before, "measured after the end");
        agreement(&[&tab, &other], before).await?;
        Ok(())
    })
    .await
}

/// Lets the strap measure at its pace until a reading with this heart rate is known to the tab, and then in the
/// other's chain. One reading may be a mean of what was measured before and now, so the first ones may have others.
async fn measure_until_shared(
    strap: &Strap,
    tab: &Tab,
    other: &Tab,
    bytes: &[u8],
    bpm: u16,
) -> Result<()> {
    let before = recorded(tab).await?;
    let limit = Instant::now() + PATIENCE;
    // Two windows: the last of them has nothing else in it.
    while recorded(tab).await? < before + 2 {
        ensure!(
            Instant::now() < limit,
            "{} records no reading of {bpm}",
            tab.name()
        );
        strap.measure(tab, bytes).await?;
        sleep(PACE).await;
    }
    let holds =
        format!("async () => (await heartchainTest.readings()).some((one) => one.bpm === {bpm})");
    other
        .until(&format!("a reading of {bpm} BPM in its chain"), &holds)
        .await?;
    Ok(())
}

/// Readings that this tab knows, in the chain and waiting.
async fn recorded(tab: &Tab) -> Result<usize> {
    let count = "heartchainTest.readings().then((all) => all.length + heartchain.status().mempool)";
    let count = tab.evaluate(count).await?;
    Ok(count
        .as_u64()
        .map(usize::try_from)
        .transpose()?
        .unwrap_or(0))
}
