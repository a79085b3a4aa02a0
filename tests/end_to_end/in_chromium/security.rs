//! Protection of visitors: other people's text is shown as text, injected scripts do not run, the page contacts only
//! its relay, and a link leads where it says.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{Outcome, Tab, TestEnv, run_test};

/// The most that a first visit may transfer besides the wasm, in bytes: page, styles, scripts and icons, compressed,
/// with headers.
const MAX_BYTES_BESIDES_WASM: f64 = 120_000.0;

#[tokio::test]
async fn hostile_room_name_is_shown_as_text() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let long = "🫀".repeat(16);
        let markup = "<img src=x onerror=alert(1)><b>bold</b>";
        let script = "\"><script>alert(1)</script>";
        let mixed = "שלום mixed עולם";
        let emoji = "👩‍👩‍👧‍👦🏳️‍🌈 emoji";
        // Invisible characters are shown as code points; everything else is shown as it is.
        let turned = "\u{202e}moor live\u{202c}";
        let names = [
            (markup, markup),
            (script, script),
            (turned, "‹U+202E›moor live‹U+202C›"),
            (mixed, mixed),
            (emoji, emoji),
            (&long, &long),
        ];
        for (name, seen) in names {
            let url = format!("{page}#room={}", percent_encoded(name));
            let tab = env.browser.open(&url).await?;
            let room = tab.until("the node", "node => node.status().room").await?;
            ensure!(room == name, "{room} is not {name:?}");
            let shown = format!(
                "() => [...document.querySelectorAll('.room-name')].some((one) => one.checkVisibility() && one.textContent === {})",
                json!(seen)
            );
            tab.until_page("the name as text", &shown).await?;
            let made = "document.querySelectorAll('img[src=x], .room-name *, body script').length";
            ensure!(tab.evaluate(made).await? == 0, "{name:?} became markup");
            // A name that changes the writing direction must not affect the text next to it.
            let apart = "[...document.querySelectorAll('.room-name')].every((one) => getComputedStyle(one).unicodeBidi.startsWith('isolate'))";
            ensure!(tab.evaluate(apart).await? == true, "{name:?} can change the direction of the text next to it");
            let wide = "document.documentElement.scrollWidth > innerWidth";
            ensure!(tab.evaluate(wide).await? == false, "{name:?} is wider than the window");
            tab.close().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn injected_scripts_do_not_run() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        env.expect_message("Content Security Policy");
        env.expect_message("contentSecurityPolicyIssueDetails");
        let tab = env.tab().await?;
        tab.until("the node", "() => true").await?;
        let blocked = tab
            .evaluate(
                "(async () => {
                  const blocked = [];
                  addEventListener('securitypolicyviolation', ({ effectiveDirective }) => blocked.push(effectiveDirective));
                  const script = (fill) => {
                    const made = document.createElement('script');
                    fill(made);
                    document.body.append(made);
                  };
                  script((made) => (made.textContent = 'globalThis.slipped = true'));
                  script((made) => (made.src = 'data:text/javascript,globalThis.slipped = true'));
                  script((made) => (made.src = 'http://127.0.0.1:9/slipped.js'));
                  const holder = document.createElement('div');
                  holder.innerHTML = '<img src=\"x:\" onerror=\"globalThis.slipped = true\"><p style=\"color: red\">';
                  document.body.append(holder);
                  try { await fetch('http://127.0.0.1:9/told'); } catch {}
                  const frame = document.createElement('iframe');
                  frame.src = 'http://127.0.0.1:9/';
                  document.body.append(frame);
                  await new Promise((soon) => setTimeout(soon, 500));
                  return { slipped: globalThis.slipped ?? null, blocked: [...new Set(blocked)].sort() };
                })()",
            )
            .await?;
        ensure!(blocked["slipped"] == Value::Null, "it ran: {blocked}");
        let directives = blocked["blocked"].as_array().context("directives")?;
        for wanted in ["script-src-elem", "script-src-attr", "style-src-attr", "connect-src", "frame-src"] {
            ensure!(directives.iter().any(|one| one == wanted), "{wanted} blocked nothing: {blocked}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn first_visit_contacts_only_the_relay() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let (_, mut events) = env.browser.subscribe("Network");
        let tab = env.browser.open("about:blank").await?;
        tab.call("Network.enable", json!({})).await?;
        tab.go(&page).await?;
        let other = env.tab().await?;
        tab.until_peers(1).await?;
        tab.enter(72).await?;
        other
            .until("its block", "node => node.status().tip.index > 0")
            .await?;

        let mut hosts = BTreeSet::new();
        let (mut wasm, mut rest) = (0.0, 0.0);
        let mut of_wasm = Value::Null;
        while let Ok(event) = events.try_recv() {
            let params = &event.params;
            let url = match event.method.as_str() {
                "Network.requestWillBeSent" => params["request"]["url"].as_str(),
                "Network.webSocketCreated" => params["url"].as_str(),
                _ => None,
            };
            if let Some(host) = url.and_then(host_of) {
                hosts.insert(host.to_owned());
            }
            if event.method == "Network.requestWillBeSent"
                && params["request"]["url"]
                    .as_str()
                    .is_some_and(|url| url.ends_with(".wasm"))
            {
                of_wasm = params["requestId"].clone();
            }
            if event.method == "Network.loadingFinished" {
                let bytes = params["encodedDataLength"].as_f64().unwrap_or_default();
                if params["requestId"] == of_wasm {
                    wasm += bytes;
                } else {
                    rest += bytes;
                }
            }
        }
        ensure!(
            hosts == BTreeSet::from(["127.0.0.1".to_owned()]),
            "contacted {hosts:?}"
        );
        println!("first visit: {wasm} bytes of wasm and {rest} bytes besides");
        ensure!(
            wasm > 100_000.0 && rest > 10_000.0,
            "some requests were missed: {wasm}, {rest}"
        );
        ensure!(
            rest < MAX_BYTES_BESIDES_WASM,
            "{rest} bytes besides the wasm"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn shared_link_opens_the_same_room() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let name = "Class 3 & 4 #1 50% 심박";
        let url = format!("{}#room={}", env.relay.page(), percent_encoded(name));
        let tab = env.browser.open(&url).await?;
        tab.until("the node", "() => true").await?;
        let link = tab
            .until_page("a link", "() => document.querySelector('#room-link').value")
            .await?;
        let link = link.as_str().context("a link is text")?;
        let guest = env.browser.open(link).await?;
        expect_room(&guest, name).await?;
        guest.until_peers(1).await?;
        let [here, there] = [tab.status().await?, guest.status().await?];
        ensure!(
            here["genesis"] == there["genesis"],
            "two rooms: {here} and {there}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn chosen_language_is_kept() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.until_status_says("Only you are here").await?;
        tab.focus("button", "한국어").await?;
        tab.key("Enter").await?;
        tab.until_hides(".status-text", "Only you are here").await?;
        tab.until_page("Korean", "() => document.documentElement.lang === 'ko'")
            .await?;
        let latin = "[...document.querySelectorAll('[data-say]')].filter((one) => one.checkVisibility() && !/[가-힣]/u.test(one.textContent)).map((one) => one.dataset.say)";
        let latin = tab.evaluate(latin).await?;
        let untranslated = latin.as_array().map_or(0, Vec::len);
        ensure!(untranslated <= 3, "not in Korean: {latin}");

        tab.go(env.relay.page()).await?;
        tab.evaluate("location.reload()").await?;
        tab.until_page("still Korean", "() => document.documentElement?.lang === 'ko'")
            .await?;
        Ok(())
    })
    .await
}

async fn expect_room(tab: &Tab, name: &str) -> Result<()> {
    let holds = format!("node => node.status().room === {}", json!(name));
    tab.until(&format!("the room {name:?}"), &holds).await?;
    Ok(())
}

fn host_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https", "ws", "wss"].contains(&scheme) {
        return None;
    }
    rest.split(['/', ':', '?', '#']).next()
}

/// Percent-encodes every byte, as in a link's fragment.
fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
