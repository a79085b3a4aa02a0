//! Inspects the page in each of its states with axe-core, which finds problems for people who use a screen reader, need
//! contrast, or zoom. Two languages, two colour schemes and two widths are combined so that each pair of values occurs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell};

use super::names::press;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// Language, colour scheme and width in CSS pixels.
const LOOKS: [(&str, &str, u32); 4] = [
    ("en", "light", 1280),
    ("en", "dark", 360),
    ("ko", "light", 360),
    ("ko", "dark", 1280),
];

/// Checks everything of WCAG 2.2 AA that a program can find, and axe-core's best practices.
const INSPECT: &str = "(async () => {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const options = { preload: false, resultTypes: ['violations'], runOnly: { type: 'tag', values: tags } };
  const { violations, passes } = await axe.run(document, options);
  return {
    passes: passes.length,
    wide: document.documentElement.scrollWidth > innerWidth,
    violations: violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' ')}`),
  };
})()";

#[tokio::test]
async fn empty_and_recorded_pages_are_accessible() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = open_for_inspection(env, &page).await?;
        tab.until("the node", "() => true").await?;
        inspect(&tab, "empty").await?;

        let other = env.tab().await?;
        tab.until_peers(1).await?;
        tab.enter(72).await?;
        other.enter(95).await?;
        agreement(&[&tab, &other], 2).await?;
        inspect(&tab, "with blocks").await?;

        tab.enter(7).await?;
        tab.until_shows("record-form", "Enter a whole number")
            .await?;
        inspect(&tab, "with an error next to the field").await?;

        env.relay.kill().await?;
        tab.until_status_says("Can't reach the relay").await?;
        inspect(&tab, "without the relay").await?;
        other.close().await?;
        tab.until_status_says("You can keep recording").await?;
        inspect(&tab, "alone").await
    })
    .await
}

#[tokio::test]
async fn dialogs_are_accessible() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = open_for_inspection(env, &page).await?;
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        for (what, open) in [
            ("the room's dialog", ".room-open"),
            ("a block's dialog", ".block button"),
        ] {
            tab.evaluate(&format!("document.querySelector({}).click()", json!(open)))
                .await?;
            tab.until_page(what, "() => document.querySelector('dialog[open]')")
                .await?;
            inspect(&tab, what).await?;
            if what.starts_with("a block") {
                tab.evaluate("document.querySelector('.block-check').click()")
                    .await?;
                tab.until_page(
                    "what the check found",
                    "() => document.querySelector('.findings > li')",
                )
                .await?;
                inspect(&tab, "a checked block").await?;
            }
            tab.key("Escape").await?;
            tab.until_page("it closed", "() => !document.querySelector('dialog[open]')")
                .await?;
        }
        tab.evaluate(
            "document.querySelectorAll('main details').forEach((one) => (one.open = true))",
        )
        .await?;
        inspect(&tab, "with everything unfolded").await
    })
    .await
}

#[tokio::test]
async fn lessons_and_forks_are_accessible() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = open_for_inspection(env, &page).await?;
        let other = env.tab().await?;
        tab.until_peers(1).await?;
        tab.enter(72).await?;
        agreement(&[&tab, &other], 1).await?;
        tab.evaluate("document.querySelector('.lesson-switch').click()")
            .await?;
        tab.until_page(
            "the lessons",
            "() => document.querySelector('lesson-mining input')",
        )
        .await?;
        inspect(&tab, "the lessons").await?;
        for button in ["lesson-tampering", "lesson-forgery", "lesson-branches"] {
            tab.evaluate(&format!(
                "document.querySelector('{button} button').click()"
            ))
            .await?;
        }
        tab.until("to be cut off", "node => node.status().isolated")
            .await?;
        tab.until_page(
            "what peers say",
            "() => document.querySelector('lesson-forgery li[data-tone]')",
        )
        .await?;
        inspect(&tab, "the lessons at work").await?;
        tab.evaluate("document.querySelector('#bpm').scrollIntoView()")
            .await?;
        tab.until_page(
            "the current step",
            "() => document.querySelector('lesson-step:not([hidden])')",
        )
        .await?;
        inspect(&tab, "with the current step").await?;

        // Both branches grow, and the others' gets more work, so this tab reorganises when they meet.
        tab.enter(73).await?;
        tab.until("its own block", "node => node.status().tip.index === 2")
            .await?;
        for bpm in [74, 75] {
            other.enter(bpm).await?;
            let holds = format!("node => node.status().tip.index >= {}", bpm - 72);
            other.until("its block", &holds).await?;
        }
        tab.evaluate("document.querySelector('.lesson-switch').click()")
            .await?;
        agreement(&[&tab, &other], 4).await?;
        tab.until("the other branch", "node => node.branches().length > 0")
            .await?;
        inspect(&tab, "with a fork").await
    })
    .await
}

#[tokio::test]
async fn names_and_rooms_are_accessible() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = open_for_inspection(env, &page).await?;
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        tab.until_shows("your-name", "What should others call you?")
            .await?;
        inspect(&tab, "asked for a name").await?;
        tab.focus("textbox", "What should others call you?").await?;
        tab.type_and_enter(&"x".repeat(41)).await?;
        tab.until_shows("your-name", "This name is too long")
            .await?;
        inspect(&tab, "with a name that is too long").await?;
        tab.focus("textbox", "What should others call you?").await?;
        tab.empty_field().await?;
        tab.type_and_enter("Anna").await?;
        tab.until_shows("your-name", "Others see you as").await?;
        inspect(&tab, "with a name").await?;

        press(&tab, ".room-open").await?;
        tab.focus("textbox", "Open a link").await?;
        tab.type_and_enter("lobby").await?;
        tab.until_shows("room-bar dialog", "isn't a complete link")
            .await?;
        inspect(&tab, "with an incomplete link").await?;
        press(&tab, ".rooms-stored").await?;
        tab.until_page(
            "the rooms on this device",
            "() => document.querySelector('.stored-room')",
        )
        .await?;
        inspect(&tab, "the rooms on this device").await?;
        // The labels are in the language of the first look.
        for (what, button) in [
            ("a room before it is deleted", "Delete lobby"),
            ("the form of a move", "Move to another device"),
        ] {
            press(&tab, &format!("[aria-label='{button}']")).await?;
            tab.until_page(what, "() => document.querySelector('.room-task')")
                .await?;
            inspect(&tab, what).await?;
        }
        press(&tab, ".room-task [type=submit]").await?;
        tab.until_shows("rooms-dialog", "Use at least").await?;
        inspect(&tab, "with a short passphrase").await?;
        tab.key("Escape").await?;

        press(&tab, ".room-open").await?;
        tab.focus("textbox", "Label of a new private room (optional)")
            .await?;
        tab.type_and_enter("Family").await?;
        tab.until_shows("room-bar dialog", "Your private room is ready")
            .await?;
        inspect(&tab, "the link of a new private room").await
    })
    .await
}

#[tokio::test]
async fn failure_pages_are_accessible() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = format!("{}?relay=nonsense", env.relay.page());
        let tab = open_for_inspection(env, &page).await?;
        tab.until_shows("[role=alert]", "nonsense").await?;
        inspect(&tab, "with a failure").await?;

        let page = format!("{}#private=damaged", env.relay.page());
        let tab = open_for_inspection(env, &page).await?;
        tab.until_shows("[role=alert]", "Open a link").await?;
        inspect(&tab, "with a damaged link").await
    })
    .await
}

/// Opens a tab that bypasses the page's CSP, because axe-core tries out inline styles.
async fn open_for_inspection(env: &mut TestEnv, url: &str) -> Result<Tab> {
    let tab = env.browser.open("about:blank").await?;
    tab.call("Page.setBypassCSP", json!({ "enabled": true }))
        .await?;
    tab.go(url).await?;
    Ok(tab)
}

/// Inspects the page in all looks, and leaves it in the first one.
async fn inspect(tab: &Tab, state: &str) -> Result<()> {
    tab.evaluate(axe().await?).await?;
    for (language, scheme, width) in LOOKS {
        apply_look(tab, language, scheme, width).await?;
        let found = tab.evaluate(INSPECT).await?;
        let look = format!("{state}, {language}, {scheme}, {width} px: {found:#}");
        ensure!(found["violations"] == json!([]), "{look}");
        ensure!(found["wide"] == false, "wider than its window: {look}");
        // An empty inspection would find nothing, too.
        ensure!(
            found["passes"].as_u64() > Some(5),
            "hardly anything was inspected: {look}"
        );
    }
    let (language, scheme, width) = LOOKS[0];
    apply_look(tab, language, scheme, width).await
}

async fn apply_look(tab: &Tab, language: &str, scheme: &str, width: u32) -> Result<()> {
    let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
    tab.call("Emulation.setDeviceMetricsOverride", size).await?;
    // Disables transitions, so that no colour is inspected half-way.
    let features = json!([
        { "name": "prefers-color-scheme", "value": scheme },
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ]);
    tab.call(
        "Emulation.setEmulatedMedia",
        json!({ "features": features }),
    )
    .await?;
    let choose = format!(
        "document.documentElement.lang === {0} || document.querySelector('language-switch button').click()",
        json!(language)
    );
    tab.evaluate(&choose).await?;
    let is_chosen = format!(
        "() => document.documentElement.lang === {}",
        json!(language)
    );
    tab.until_page(language, &is_chosen).await?;
    // Waits two frames, so that everything scheduled for the next one is drawn.
    tab.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))")
        .await?;
    Ok(())
}

/// axe-core's source; installs the locked version if it is missing.
async fn axe() -> Result<&'static str> {
    static AXE: OnceCell<String> = OnceCell::const_new();
    AXE.get_or_try_init(load_axe).await.map(String::as_str)
}

async fn load_axe() -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accessibility");
    let file = folder.join("node_modules/axe-core/axe.min.js");
    if !file.exists() {
        let installed = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .status()
            .await
            .context("axe-core is not installed, and npm cannot be run to install it")?;
        ensure!(installed.success(), "npm could not install axe-core");
    }
    let source = fs::read_to_string(&file).context("axe-core has no axe.min.js")?;
    // Ends with a small value, because the expression's value is transferred.
    Ok(format!("{source}\n;{}", Value::Null))
}
