//! Export and import between real tabs, and the verifier that shares no code with them: what a tab exports is what the
//! documentation says, and whatever is changed in it is found.

use std::{path::Path, process::Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

#[tokio::test]
async fn what_a_tab_exports_is_verified_by_others_and_imported_by_others() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        for (tab, bpm, count) in [(&a, 70, 1), (&b, 71, 2), (&a, 72, 3)] {
            tab.enter(bpm).await?;
            agreement(&[&a, &b], count).await?;
        }
        // One waits: mined so slowly, it stays so.
        a.evaluate("heartchain.isolate(true)").await?;
        a.evaluate("heartchain.limitMining(1)").await?;
        a.until(
            "to be alone",
            "node => node.status().isolated && node.status().peers === 0",
        )
        .await?;
        a.enter(73).await?;
        a.until(
            "a reading that waits",
            "node => node.pending().length === 1",
        )
        .await?;

        let text = a
            .evaluate("heartchain.exportJson().then(blob => blob.text())")
            .await?;
        let text = text.as_str().context("the export is text")?;
        let said = verify(text).await?;
        ensure!(said.status.success(), "the verifier refuses it: {said:?}");
        let said = String::from_utf8(said.stdout)?;
        ensure!(said.contains("3 readings, 1 waiting"), "{said}");
        expect_tampering_is_found(text).await?;

        let csv = a
            .evaluate("heartchain.exportCsv().then(blob => blob.text())")
            .await?;
        let rows = csv.as_str().context("the CSV is text")?.lines().count();
        ensure!(rows == 5, "a head and four readings: {csv}");

        // A tab of this room that meets nobody.
        let lonely = stage.tab().await?;
        lonely.until("the node", "() => true").await?;
        lonely.evaluate("heartchain.isolate(true)").await?;
        let imported = import(&lonely, text).await?;
        ensure!(
            imported["blocks"] == 3 && imported["readings"] == 4,
            "what the file has: {imported}"
        );
        ensure!(lonely.tip().await? == a.tip().await?, "the same tip");

        let elsewhere = format!("{}#room=elsewhere", stage.relay.page());
        let elsewhere = stage.browser.open(&elsewhere).await?;
        elsewhere.until("the node", "() => true").await?;
        let refused = import(&elsewhere, text)
            .await
            .map_err(|error| error.to_string());
        ensure!(
            refused
                .as_ref()
                .is_err_and(|words| words.contains("open that room")),
            "a file of another room: {refused:?}"
        );
        Ok(())
    })
    .await
}

async fn import(tab: &Tab, text: &str) -> Result<Value> {
    tab.evaluate(&format!("heartchain.importJson({})", json!(text)))
        .await
}

async fn expect_tampering_is_found(text: &str) -> Result<()> {
    let honest: Value = serde_json::from_str(text)?;
    let ways: [(&str, Value); 5] = [
        ("/blocks/1/readings/0/bpm", json!(180)),
        ("/blocks/0/time", json!(1)),
        ("/blocks/2/nonce", json!("7")),
        ("/waiting/0/bpm", json!(180)),
        ("/totalWork", json!("1")),
    ];
    for (place, value) in ways {
        let mut tampered = honest.clone();
        *tampered.pointer_mut(place).context(place)? = value;
        let said = verify(&tampered.to_string()).await?;
        ensure!(
            said.status.code() == Some(1) && said.stdout.starts_with(b"not valid: "),
            "{place} was changed, and the verifier says {said:?}"
        );
    }
    Ok(())
}

/// Runs the verifier on a document.
async fn verify(text: &str) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("export.json");
    std::fs::write(&file, text)?;
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_export/verify.py");
    let said = Command::new("python3")
        .arg(verifier)
        .arg(file)
        .output()
        .await;
    said.context("python3 is needed to verify an export independently")
}
