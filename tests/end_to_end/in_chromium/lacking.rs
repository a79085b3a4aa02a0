//! Browsers that lack something, by their age or a person's settings: one true sentence says what, nothing looks as if it worked
//! that does not, and recording goes on where it can. `tests/browsers` has more of them, in Firefox.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::damage::set_quota;
use crate::harness::{Browser, Failure, Outcome, Relay, Tab, TestEnv, agreement, run_in, run_test};

#[tokio::test]
async fn missing_web_assembly_leaves_one_sentence() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let script = "delete globalThis.WebAssembly;";
        let tab = env.browser.open_with(&page, script).await?;
        tab.until_shows("#guard", "doesn't run WebAssembly here")
            .await?;
        // The failed start would blame the page's server, or its address.
        tab.until_page(
            "the failure",
            "() => !document.querySelector('failure-notice').hidden",
        )
        .await?;
        expect_only_the_guard(&tab).await?;
        Ok(())
    })
    .await
}

/// Nothing looks as if it worked.
async fn expect_only_the_guard(tab: &Tab) -> Result<()> {
    let shown = "[...document.querySelectorAll('body > * *')]
        .filter((part) => part.checkVisibility() && part.matches('.notice, form, button, status-line'))
        .map((part) => part.id || part.outerHTML.slice(0, 80))";
    let shown = tab.evaluate(shown).await?;
    ensure!(shown == json!(["guard"]), "it shows {shown}");
    Ok(())
}

#[tokio::test]
async fn old_browser_gets_one_sentence() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        // What fails then is in the console.
        env.expect_message("toSorted");
        let page = env.relay.page().to_owned();
        for script in [
            "delete Array.prototype.toSorted;",
            "const { supports } = CSS; CSS.supports = (text) => !text.includes(':has') && supports.call(CSS, text);",
        ] {
            let tab = env.browser.open_with(&page, script).await?;
            tab.until_shows("#guard", "This browser is too old for Heartchain")
                .await?;
            expect_only_the_guard(&tab).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn wasm_is_compiled_without_streaming() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let script = "delete WebAssembly.compileStreaming;";
        let tab = env.browser.open_with(&page, script).await?;
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn page_can_be_installed() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        // Private windows cannot install anything.
        let tab = env.browser.open_as_person(&page, "").await?;
        tab.until("the node", "() => true").await?;
        let missing = tab.call("Page.getInstallabilityErrors", json!({})).await?;
        ensure!(missing["installabilityErrors"] == json!([]), "{missing}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tab_without_workers_is_mined_for_by_others() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let script = "delete globalThis.Worker;";
        let a = env.browser.open_with(&page, script).await?;
        a.enter(72).await?;
        a.until_shows("page-notices", "Your readings wait until another tab")
            .await?;
        // These tabs are in private windows, which no page can notice.
        a.until_shows("storage-line", "private window forgets")
            .await?;
        a.until_shows("own-readings", "Saved, waiting for a block")
            .await?;
        let b = env.tab().await?;
        agreement(&[&a, &b], 1).await?;
        a.until_shows("own-readings", "In block 1").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn blocked_storage_is_told_and_recording_works() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        // "Block all cookies", which blocks all other storage as well.
        let blocked = json!({ "profile": { "default_content_setting_values": { "cookies": 2 } } });
        let browser = env.another_browser_preferring(&blocked).await?;
        let a = browser.open_as_person(&page, "").await?;
        expect_unsaved(&a, "The browser doesn't let this page save anything.").await?;

        let script = "Object.defineProperty(globalThis, 'indexedDB', { value: undefined });";
        let b = env.browser.open_with(&page, script).await?;
        b.until_peers(1).await?;
        b.enter(73).await?;
        agreement(&[&a, &b], 2).await?;
        b.until_shows("storage-line", "This browser has no database here.")
            .await?;
        Ok(())
    })
    .await
}

/// A tab that is alone records, and calls nothing saved.
async fn expect_unsaved(tab: &Tab, reason: &str) -> Result<()> {
    tab.until("the node", "node => (node.limitMining(1), true)")
        .await?;
    tab.enter(72).await?;
    tab.until_shows("own-readings", "Waiting for a block")
        .await?;
    tab.until_shows("storage-line", "Not saved on this device")
        .await?;
    tab.until_shows("storage-line", reason).await?;
    tab.until_status_says("shared later, if this tab stays open")
        .await?;
    let claims = "/\\bsaved\\b/i.test(document.querySelector('main').innerText.replace('Not saved on this device', ''))";
    ensure!(
        tab.evaluate(claims).await? == false,
        "something is called saved"
    );
    tab.evaluate("heartchain.limitMining(null)").await?;
    Ok(())
}

#[tokio::test]
async fn browser_without_udp_uses_the_relay() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let a = env.tab().await?;
        // As administrators set it, so that no address leaks past a proxy.
        let proxied = json!({ "webrtc": { "ip_handling_policy": "disable_non_proxied_udp" } });
        let browser = env.another_browser_preferring(&proxied).await?;
        let b = browser.open_as_person(&page, "").await?;
        tokio::try_join!(a.until_peers(1), b.until_peers(1))?;
        b.enter(72).await?;
        a.enter(73).await?;
        agreement(&[&a, &b], 2).await?;
        for tab in [&a, &b] {
            tab.until_status_says("1 peer (through the relay)").await?;
        }
        Ok(())
    })
    .await
}

/// A quota in which some thousand readings fit, but not the page itself.
const MEGABYTE: u64 = 1_000_000;

/// Records until the node refuses, and returns how many readings it kept.
const RECORD_UNTIL_FULL: &str = r#"
    (async () => {
        const record = () => Promise.allSettled(Array.from({ length: 100 }, () => heartchain.record(72)));
        for (let kept = 0; ; ) {
            const results = await record();
            kept += results.filter(({ status }) => status === "fulfilled").length;
            const refused = results.find(({ status }) => status === "rejected");
            if (refused && !refused.reason.message.includes("make room")) throw refused.reason;
            if (refused) return kept;
        }
    })()
"#;

#[tokio::test]
async fn quota_of_a_megabyte_is_used_and_told() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        // The service worker cannot cache the page.
        env.expect_message("QuotaExceededError");
        let page = env.relay.page().to_owned();
        // A document of the same origin that saves nothing.
        let document = format!("{page}relay.json");
        let tab = env.browser.open_as_person(&document, "").await?;
        set_quota(&tab, &page, Some(MEGABYTE)).await?;
        tab.go(&page).await?;
        tab.until("the node", "() => true").await?;
        let kept = tab.evaluate(RECORD_UNTIL_FULL).await?;
        ensure!(
            kept.as_u64().context("a number")? > 1_000,
            "only {kept} fit"
        );
        tab.until_shows("storage-line", "No space left for this page")
            .await?;
        tab.enter(73).await?;
        tab.until_shows("record-form", "73 BPM was not recorded")
            .await?;
        let own = tab
            .evaluate("heartchain.ownReadings(10_000).length")
            .await?;
        ensure!(
            own == Value::from(kept.as_u64()),
            "{kept} were kept, and it has {own}"
        );
        Ok(())
    })
    .await
}

/// A permission of Chromium that headless Chromium neither asks for nor knows.
const PERMISSION: &str = r#"
    const { query } = Permissions.prototype;
    Permissions.prototype.query = async function (wanted) {
        if (wanted.name !== "local-network-access") return query.call(this, wanted);
        return Object.assign(new EventTarget(), { state: STATE });
    };
"#;

#[tokio::test]
async fn question_about_the_local_network_is_explained() -> Outcome {
    let set_up = async || {
        let flags = ["--tls-self-signed", "--announce", "https://heart.example"];
        let relay = Relay::start_with(&flags).await?;
        let names = format!(
            "--host-resolver-rules=MAP heart.example:443 127.0.0.1:{}",
            relay.http_port()?
        );
        Ok(TestEnv {
            relay,
            more_relays: Vec::new(),
            browser: Browser::launch_with(&[&names, "--ignore-certificate-errors"]).await?,
            others: Vec::new(),
            expected_messages: Vec::new(),
        })
    };
    let test = async |env: &mut TestEnv| {
        // A page from the internet, whose relay is on this computer.
        let address = env.relay.address_with("/ip4/127.0.0.1/tcp/")?.to_owned();
        let page = format!("https://heart.example/?relay={address}");
        for (state, words) in [
            (
                "prompt",
                "Your browser will ask whether this page may reach your local network",
            ),
            (
                "denied",
                "Allow “Local network access” in the page's settings, then reload",
            ),
        ] {
            let script = PERMISSION.replace("STATE", &json!(state).to_string());
            let tab = env.browser.open_with(&page, &script).await?;
            tab.until_shows("page-notices", words).await?;
        }
        let script = PERMISSION.replace("STATE", "'granted'");
        let tab = env.browser.open_with(&page, &script).await?;
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        ensure!(
            tab.evaluate("document.querySelector('.noticed').childElementCount")
                .await?
                == 0,
            "it explains what was granted"
        );
        Ok(())
    };
    let result = run_in(set_up, test).await;
    result.map_err(|error| Failure(format!("{error:#}")))
}
