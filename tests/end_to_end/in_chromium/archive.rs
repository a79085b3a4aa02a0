//! Export and import between real tabs, checked by the independent Python verifier: an export matches the documented
//! format, and the verifier finds every change in it.

use std::{path::Path, process::Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

#[tokio::test]
async fn exports_can_be_verified_and_imported() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        for (tab, bpm, count) in [(&a, 70, 1), (&b, 71, 2), (&a, 72, 3)] {
            tab.enter(bpm).await?;
            agreement(&[&a, &b], count).await?;
        }
        // One reading keeps waiting, because the tab mines too slowly to find a block.
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
        let output = verify(text).await?;
        ensure!(
            output.status.success(),
            "the verifier refuses it: {output:?}"
        );
        let output = String::from_utf8(output.stdout)?;
        ensure!(output.contains("3 readings, 1 waiting"), "{output}");
        expect_tampering_is_found(text).await?;

        let csv = a
            .evaluate("heartchain.exportCsv().then(blob => blob.text())")
            .await?;
        let rows = csv.as_str().context("the CSV is text")?.lines().count();
        ensure!(rows == 5, "a head and four readings: {csv}");

        // A tab of this room without peers.
        let isolated = env.tab().await?;
        isolated.until("the node", "() => true").await?;
        isolated.evaluate("heartchain.isolate(true)").await?;
        for (change, altered) in [
            ("no file", text.split_at(text.len() - 10).0.to_owned()),
            ("altered", text.replacen("\"bpm\":70", "\"bpm\":180", 1)),
            (
                "no file",
                text.replacen("{\"index\":1,", "{\"index\":1,7", 1),
            ),
        ] {
            let refused = import(&isolated, &altered).await;
            let refused = refused.map_err(|error| error.to_string());
            ensure!(
                refused.as_ref().is_err_and(|words| words.contains(change)),
                "{change}: {refused:?}"
            );
        }
        let imported = import(&isolated, text).await?;
        ensure!(
            imported["blocks"] == 3 && imported["readings"] == 4,
            "what the file has: {imported}"
        );
        ensure!(isolated.tip().await? == a.tip().await?, "the same tip");
        let relaid = serde_json::to_string_pretty(&serde_json::from_str::<Value>(text)?)?;
        let again = import(&isolated, &relaid).await?;
        ensure!(
            again["blocks"] == 3 && again["newBlocks"] == 0,
            "with another layout: {again}"
        );

        let elsewhere = format!("{}#room=elsewhere", env.relay.page());
        let elsewhere = env.browser.open(&elsewhere).await?;
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
    let changes: [(&str, Value); 5] = [
        ("/blocks/1/readings/0/bpm", json!(180)),
        ("/blocks/0/time", json!(1)),
        ("/blocks/2/nonce", json!("7")),
        ("/waiting/0/bpm", json!(180)),
        ("/totalWork", json!("1")),
    ];
    for (pointer, value) in changes {
        let mut tampered = honest.clone();
        *tampered.pointer_mut(pointer).context(pointer)? = value;
        let output = verify(&tampered.to_string()).await?;
        ensure!(
            output.status.code() == Some(1) && output.stdout.starts_with(b"not valid: "),
            "{pointer} was changed, and the verifier says {output:?}"
        );
    }
    Ok(())
}

/// Runs the Python verifier on a document.
async fn verify(text: &str) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("export.json");
    std::fs::write(&file, text)?;
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_export/verify.py");
    let output = Command::new("python3")
        .arg(verifier)
        .arg(file)
        .output()
        .await;
    output.context("python3 is needed to verify an export independently")
}
