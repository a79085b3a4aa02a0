//! Uses the whole page with the keyboard only.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

/// More key presses than the page has focusable elements.
const MAX_PRESSES: usize = 80;

#[tokio::test]
async fn keyboard_alone_is_enough() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        tab_to(&a, "spinbutton", "Heart rate (BPM)").await?;
        a.type_and_enter("72").await?;
        agreement(&[&a, &b], 1).await?;

        // A block's dialog: opened, checked and closed; the focus returns to where it was.
        let card = tab_to_within(&a, ".block").await?;
        a.key("Enter").await?;
        a.until_page(
            "the block's dialog",
            "() => document.querySelector('dialog[open]')",
        )
        .await?;
        tab_to(&a, "button", "Check it yourself").await?;
        a.key("Enter").await?;
        a.until_page("findings", "() => document.querySelector('.findings > li')")
            .await?;
        // The list draws its cards again, as when an author gets another colour.
        a.evaluate(
            "document.querySelectorAll('.blocks > *').forEach(row => row.replaceWith(row.cloneNode(true))), 0",
        )
        .await?;
        a.key("Escape").await?;
        a.until_page("it closed", "() => !document.querySelector('dialog[open]')")
            .await?;
        a.until_page("the focus on a block", "() => document.activeElement.closest('.block')")
            .await?;
        let after = a.focused().await?;
        ensure!(
            after["name"]["value"] == card["name"]["value"],
            "the focus went from {card} to {after}"
        );

        // The lessons, and out of them.
        tab_to(&a, "switch", "See how it works").await?;
        a.key("Space").await?;
        a.until_page(
            "the lessons",
            "() => document.querySelector('lesson-branches button')",
        )
        .await?;
        tab_to(&a, "button", "Disconnect this tab").await?;
        a.key("Enter").await?;
        a.until("to be cut off", "node => node.status().isolated")
            .await?;
        expect_focus(&a, "button", "Reconnect").await?;
        a.key("Enter").await?;
        a.until("to be back", "node => !node.status().isolated")
            .await?;
        tab_to(&a, "switch", "See how it works").await?;
        a.key("Space").await?;
        a.until_page(
            "no lessons",
            "() => !document.querySelector('lesson-branches')",
        )
        .await?;

        // The other language, and back.
        tab_to(&a, "button", "한국어").await?;
        a.key("Enter").await?;
        a.until_page("Korean", "() => document.documentElement.lang === 'ko'")
            .await?;
        tab_to(&a, "spinbutton", "심박수 (BPM)").await?;
        tab_to(&a, "button", "English").await?;
        a.key("Enter").await?;
        a.until_page("English", "() => document.documentElement.lang === 'en'")
            .await?;

        // Another room.
        tab_to(&a, "button", "Room lobby open Share").await?;
        a.key("Enter").await?;
        tab_to(&a, "textbox", "Room name").await?;
        a.empty_field().await?;
        a.type_and_enter("elsewhere").await?;
        a.until(
            "the other room",
            "node => node.status().room === 'elsewhere'",
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn focus_follows_the_page_order() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let tab = env.tab().await?;
        tab.enter(72).await?;
        agreement(&[&tab], 1).await?;
        tab.evaluate("document.querySelector('.lesson-switch').click()")
            .await?;
        tab.until_page("the lessons", "() => document.querySelector('lesson-mining input')")
            .await?;
        tab.evaluate("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex'); globalThis.visited = []")
            .await?;
        let positive = "document.querySelectorAll('[tabindex]:not([tabindex=\"0\"], [tabindex=\"-1\"])').length";
        ensure!(
            tab.evaluate(positive).await? == 0,
            "a tabindex changes the order"
        );
        let mut names = Vec::new();
        for _ in 0..MAX_PRESSES {
            tab.key("Tab").await?;
            let step = "(() => {
              const at = document.activeElement;
              if (at === document.body || visited.includes(at)) return 'end';
              const before = visited.at(-1);
              visited.push(at);
              if (!at.checkVisibility()) return 'hidden';
              const rect = at.getBoundingClientRect();
              const shown = rect.bottom > 0 && rect.top < innerHeight;
              if (!shown) return 'out of sight';
              const follows = !before || before.compareDocumentPosition(at) & Node.DOCUMENT_POSITION_FOLLOWING;
              return follows ? 'fine' : 'out of order';
            })()";
            let step = tab.evaluate(step).await?;
            if step == "end" {
                break;
            }
            let focused = tab.focused().await?;
            ensure!(step == "fine", "after {names:?} the focus is {step}: {focused}");
            let name = focused["name"]["value"].as_str().unwrap_or_default().trim().to_owned();
            ensure!(!name.is_empty(), "after {names:?} the focus has no name: {focused}");
            names.push(name);
        }
        ensure!(
            names.len() < MAX_PRESSES && names.len() > 8,
            "the focus does not come to an end: {names:?}"
        );
        for wanted in ["한국어", "See how it works", "Disconnect this tab", "Heart rate (BPM)", "Record"] {
            ensure!(names.iter().any(|name| name == wanted), "no {wanted:?} in {names:?}");
        }
        Ok(())
    })
    .await
}

/// Presses Tab until the element of this role and name has the focus.
async fn tab_to(tab: &Tab, role: &str, name: &str) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..MAX_PRESSES {
        tab.key("Tab").await?;
        let focused = tab.focused().await?;
        let found = (
            focused["role"]["value"].as_str().unwrap_or_default(),
            focused["name"]["value"].as_str().unwrap_or_default(),
        );
        if found == (role, name) {
            return Ok(());
        }
        seen.push(format!("{} {:?}", found.0, found.1));
    }
    bail!(
        "{}: no {role} named {name:?} is reached by Tab: {seen:#?}",
        tab.name()
    )
}

/// Presses Tab until the focus is inside an element that matches the selector; returns the focused element's
/// accessibility node.
async fn tab_to_within(tab: &Tab, selector: &str) -> Result<Value> {
    let within = format!("document.activeElement.closest('{selector}') !== null");
    for _ in 0..MAX_PRESSES {
        tab.key("Tab").await?;
        if tab.evaluate(&within).await? == true {
            return tab.focused().await;
        }
    }
    bail!("{}: nothing in {selector} is reached by Tab", tab.name())
}

async fn expect_focus(tab: &Tab, role: &str, name: &str) -> Result<()> {
    let node = tab.accessible(role, name).await?;
    let properties = node["properties"].as_array().into_iter().flatten();
    let mut focused = properties.filter(|property| property["name"] == "focused");
    ensure!(
        focused
            .next()
            .is_some_and(|property| property["value"]["value"] == true),
        "the focus is not at the {role} {name:?}: {node}"
    );
    Ok(())
}
