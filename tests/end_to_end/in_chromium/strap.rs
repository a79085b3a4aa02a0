//! Heart-rate straps over Web Bluetooth: paired, subscribed to, lost, found again and disconnected.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::harness::{Operation, Outcome, PATIENCE, Strap, Tab, TestEnv, agreement, run_test};

/// Time between two notifications, about that of a real strap.
const NOTIFICATION_INTERVAL: Duration = Duration::from_millis(500);
/// Notifications: 88 BPM with skin contact; 90 BPM in 16 bits with energy and two RR intervals; 92 BPM without contact;
/// 7 BPM.
pub(super) const SKIN_CONTACT: [u8; 2] = [0b0_0110, 88];
const ALL_FIELDS: [u8; 9] = [0b1_1111, 90, 0, 1, 0, 0, 4, 0, 2];
const NO_CONTACT: [u8; 2] = [0b0_0100, 92];
const IMPOSSIBLE_RATE: [u8; 2] = [0b0_0000, 7];

#[tokio::test]
async fn strap_button_needs_web_bluetooth() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
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
async fn strap_records_and_reconnects() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let other = env.tab().await?;
        let browser = env.another_browser_with(&[Strap::FLAG]).await?;
        let (strap, tab) = Strap::open_with_page(browser, &page, "Strap <7>").await?;
        tab.until_peers(1).await?;
        // Counts how often the page asks the browser to persist its storage.
        tab.evaluate("globalThis.persistCalls = 0; void (navigator.storage.persist = () => { persistCalls += 1; return StorageManager.prototype.persist.call(navigator.storage); })")
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

        measure_until_shared(&strap, &tab, &other, &SKIN_CONTACT, 88).await?;
        tab.until_shows("strap-control", "88 BPM").await?;
        tab.until("a request for persistent storage", "() => persistCalls > 0").await?;
        measure_until_shared(&strap, &tab, &other, &ALL_FIELDS, 90).await?;

        // A loose strap and an impossible value are both reported and not recorded.
        let before = recorded(&tab).await?;
        for (bytes, words) in [
            (NO_CONTACT, "No skin contact reported"),
            (IMPOSSIBLE_RATE, "value can't be right"),
        ] {
            for _ in 0..6 {
                strap.measure(&tab, &bytes).await?;
                sleep(NOTIFICATION_INTERVAL).await;
            }
            tab.until_shows("strap-control", words).await?;
        }
        ensure!(recorded(&tab).await? == before, "recorded an invalid measurement");

        strap.move_out_of_range().await?;
        tab.until_shows("strap-control", "Can't reach Strap").await?;
        strap.move_into_range().await?;
        tab.until_shows("strap-control", "Connected to Strap <7>")
            .await?;
        measure_until_shared(&strap, &tab, &other, &SKIN_CONTACT, 88).await?;

        ensure!(tab.evaluate("persistCalls").await? == 1, "it asks more than once");
        tab.focus("button", "Disconnect strap").await?;
        tab.type_and_enter("").await?;
        tab.until_hides("strap-control", "Connected").await?;
        let before = recorded(&tab).await?;
        for _ in 0..6 {
            strap.measure(&tab, &SKIN_CONTACT).await?;
            sleep(NOTIFICATION_INTERVAL).await;
        }
        ensure!(recorded(&tab).await? == before, "measured after the end");
        agreement(&[&tab, &other], before).await?;
        Ok(())
    })
    .await
}

/// Sends notifications until the tab has recorded two readings, then waits until one with this heart rate is in the
/// other tab's chain. The first reading may be a mean that includes earlier measurements.
pub(super) async fn measure_until_shared(
    strap: &Strap,
    tab: &Tab,
    other: &Tab,
    bytes: &[u8],
    bpm: u16,
) -> Result<()> {
    let before = recorded(tab).await?;
    let limit = Instant::now() + PATIENCE;
    // Two averaging windows: the last one contains only the new value.
    while recorded(tab).await? < before + 2 {
        ensure!(
            Instant::now() < limit,
            "{} records no reading of {bpm}",
            tab.name()
        );
        strap.measure(tab, bytes).await?;
        sleep(NOTIFICATION_INTERVAL).await;
    }
    let holds =
        format!("async () => (await heartchainTest.readings()).some((one) => one.bpm === {bpm})");
    other
        .until(&format!("a reading of {bpm} BPM in its chain"), &holds)
        .await?;
    Ok(())
}

/// The number of readings that this tab has, in the chain and waiting.
async fn recorded(tab: &Tab) -> Result<usize> {
    let count = "heartchainTest.readings().then((all) => all.length + heartchain.status().mempool)";
    let count = tab.evaluate(count).await?;
    Ok(count
        .as_u64()
        .map(usize::try_from)
        .transpose()?
        .unwrap_or(0))
}
