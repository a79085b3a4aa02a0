//! One tab: what a person does with it (open, type, press a key, close), what a script on the page can read, and
//! waiting, always with a limit and a description of what was awaited.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    devtools::{DevTools, Session},
    patience::PATIENCE,
};

/// Pause after a failed evaluation while the page reloads.
const NAVIGATION_PAUSE: Duration = Duration::from_millis(50);

/// A tab of a browser. Dropping it leaves it open until its browser ends.
#[derive(Debug)]
pub(crate) struct Tab {
    name: String,
    devtools: DevTools,
    session: Session,
    context: Value,
}

impl Tab {
    pub(super) fn new(name: String, devtools: DevTools, session: Session, context: Value) -> Self {
        Self {
            name,
            devtools,
            session,
            context,
        }
    }

    /// Enables all console events, then navigates to `url`, where `script` runs before all other scripts.
    pub(super) async fn open(&self, url: &str, script: &str) -> Result<()> {
        for domain in ["Runtime", "Log", "Audits", "Page", "DOM", "Accessibility"] {
            self.call(&format!("{domain}.enable"), json!({})).await?;
        }
        for source in [script, include_str!("probe.js")] {
            let source = json!({ "source": source });
            self.call("Page.addScriptToEvaluateOnNewDocument", source)
                .await?;
        }
        let workers =
            json!({ "autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true });
        self.call("Target.setAutoAttach", workers).await?;
        // Makes the page behave as in a focused window.
        self.call(
            "Emulation.setFocusEmulationEnabled",
            json!({ "enabled": true }),
        )
        .await?;
        self.go(url).await
    }

    /// Pauses requests that match the pattern until the harness responds.
    pub(super) async fn intercept(&self, pattern: &str) -> Result<()> {
        let patterns = json!({ "patterns": [{ "urlPattern": pattern }] });
        self.call("Fetch.enable", patterns).await?;
        Ok(())
    }

    /// The tab's DevTools session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// CPU time of the page's main thread, in seconds: other load on the machine does not count.
    pub(crate) async fn busy_seconds(&self) -> Result<f64> {
        self.call("Performance.enable", json!({ "timeDomain": "threadTicks" }))
            .await?;
        let answer = self.call("Performance.getMetrics", json!({})).await?;
        let metrics = array(answer["metrics"].clone())?;
        let busy = metrics.iter().find(|m| m["name"] == "TaskDuration");
        busy.and_then(|m| m["value"].as_f64())
            .context("Chromium measures tasks")
    }

    /// Resizes the viewport, in CSS px.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size)
            .await?;
        Ok(())
    }

    /// Navigates to a URL, as if a person had typed it.
    pub(crate) async fn go(&self, url: &str) -> Result<()> {
        let response = self.call("Page.navigate", json!({ "url": url })).await?;
        match response["errorText"].as_str() {
            Some(error) => bail!("{} cannot open {url}: {error}", self.name),
            None => Ok(()),
        }
    }

    /// Reloads the page, and waits until the old document is gone.
    pub(crate) async fn reload(&self) -> Result<()> {
        self.evaluate("globalThis.heartchainTest.old = true")
            .await?;
        self.call("Page.reload", json!({})).await?;
        self.until_page("a new page", "() => !heartchainTest.old")
            .await?;
        Ok(())
    }

    /// The browser context, which determines the tab's storage.
    pub(crate) fn context(&self) -> Value {
        self.context.clone()
    }

    /// Closes the tab as a person does, so the page is notified. Its storage stays.
    pub(crate) async fn close_keeping_storage(self) -> Result<()> {
        self.call("Page.close", json!({})).await?;
        Ok(())
    }

    /// Closes the tab as a person does, so the page is notified. Discards its storage.
    pub(crate) async fn close(self) -> Result<()> {
        let context = json!({ "browserContextId": self.context });
        self.call("Page.close", json!({})).await?;
        self.devtools
            .call(None, "Target.disposeBrowserContext", context)
            .await?;
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Evaluates an expression and returns its value. Awaits a promise.
    pub(crate) async fn evaluate(&self, expression: &str) -> Result<Value> {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut answer = self.call("Runtime.evaluate", params).await?;
        if let Some(details) = answer.get("exceptionDetails") {
            let error = details["exception"]["description"]
                .as_str()
                .unwrap_or_default();
            bail!("{}: {expression}: {error}", self.name);
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until a function of the node returns a truthy value, and returns that. It is called after each of the
    /// node's events.
    pub(crate) async fn until(&self, what: &str, condition: &str) -> Result<Value> {
        self.until_within(PATIENCE, what, condition).await
    }

    /// Like [`until`](Self::until), with a time limit that is part of the test.
    pub(crate) async fn until_within(
        &self,
        limit: Duration,
        what: &str,
        condition: &str,
    ) -> Result<Value> {
        self.wait("untilNode", limit, what, condition).await
    }

    /// Waits until a function returns a truthy value. It is called after each change of the document.
    pub(crate) async fn until_page(&self, what: &str, condition: &str) -> Result<Value> {
        self.wait("untilPage", PATIENCE, what, condition).await
    }

    /// Waits until this text is visible in an element that matches the selector.
    pub(crate) async fn until_shows(&self, selector: &str, words: &str) -> Result<Value> {
        let what = format!("{words:?} in {selector}");
        let condition = format!(
            "() => heartchainTest.shows({}, {})",
            json!(selector),
            json!(words)
        );
        self.until_page(&what, &condition).await
    }

    /// Waits until this text is no longer visible there.
    pub(crate) async fn until_hides(&self, selector: &str, words: &str) -> Result<Value> {
        let what = format!("{words:?} to be gone from {selector}");
        let condition = format!(
            "() => !heartchainTest.shows({}, {})",
            json!(selector),
            json!(words)
        );
        self.until_page(&what, &condition).await
    }

    /// Waits until the status line contains this text.
    pub(crate) async fn until_status_says(&self, words: &str) -> Result<Value> {
        self.until_shows(".status-text", words).await
    }

    /// Waits until this tab is connected to `count` other tabs and has a reservation at a relay.
    pub(crate) async fn until_peers(&self, count: usize) -> Result<Value> {
        self.until(
            &format!("{count} peers and a reservation"),
            &format!(
                "node => {{ const s = node.status(); return s.peers === {count} && s.relays.some(r => r.reserved); }}"
            ),
        )
        .await
    }

    /// Focuses the one element of this role and name. Returns its node in the accessibility tree: name, description,
    /// and properties such as `invalid`.
    pub(crate) async fn focus(&self, role: &str, name: &str) -> Result<Value> {
        // A redraw between the search and the focus replaces the element.
        const TRIES: usize = 5;
        let mut focused = Err(anyhow!("not tried"));
        for _ in 0..TRIES {
            let node = self.accessible(role, name).await?;
            let element = json!({ "backendNodeId": node["backendDOMNodeId"] });
            focused = self.call("DOM.focus", element).await.map(|_| node);
            if focused.is_ok() {
                break;
            }
        }
        focused
    }

    /// The one element of this role and accessible name, as a node of the accessibility tree.
    pub(crate) async fn accessible(&self, role: &str, name: &str) -> Result<Value> {
        let document = self.call("DOM.getDocument", json!({ "depth": 0 })).await?;
        let query = json!({
            "backendNodeId": document["root"]["backendNodeId"],
            "role": role,
            "accessibleName": name,
        });
        let mut found = self.call("Accessibility.queryAXTree", query).await?;
        match found["nodes"].as_array_mut().map(Vec::as_mut_slice) {
            Some([node]) => Ok(node.take()),
            _ => bail!(
                "{}: expected exactly one {role} named {name:?}: {found}",
                self.name
            ),
        }
    }

    /// Types a text and presses Enter, key by key, in the focused element.
    pub(crate) async fn type_and_enter(&self, text: &str) -> Result<()> {
        for character in text.chars() {
            self.character(&character.to_string()).await?;
        }
        self.press(
            json!({ "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 }),
        )
        .await
    }

    /// Types one character in the focused element.
    pub(crate) async fn character(&self, key: &str) -> Result<()> {
        self.press(json!({ "key": key, "text": key })).await
    }

    /// Deletes the character before the cursor in the focused field.
    pub(crate) async fn backspace(&self) -> Result<()> {
        self.press(json!({ "key": "Backspace", "code": "Backspace", "windowsVirtualKeyCode": 8 }))
            .await
    }

    /// Presses one key by its name (`Tab`, `Shift+Tab`, `Enter`, `Space`, `Escape`, an arrow …) in the focused element.
    pub(crate) async fn key(&self, name: &str) -> Result<()> {
        let (modifiers, name) = name
            .strip_prefix("Shift+")
            .map_or((0, name), |key| (8, key));
        let (code, text) = match name {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Space" => (32, " "),
            "PageUp" => (33, ""),
            "PageDown" => (34, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            _ => bail!("the harness does not know the key {name}"),
        };
        let key = if name == "Space" { " " } else { name };
        self.press(json!({
            "key": key,
            "code": name,
            "text": text,
            "modifiers": modifiers,
            "windowsVirtualKeyCode": code,
        }))
        .await
    }

    /// The focused element, as a node of the accessibility tree.
    pub(crate) async fn focused(&self) -> Result<Value> {
        let active = json!({ "expression": "document.activeElement" });
        let active = self.call("Runtime.evaluate", active).await?;
        let one = json!({ "objectId": active["result"]["objectId"], "fetchRelatives": false });
        let mut tree = self.call("Accessibility.getPartialAXTree", one).await?;
        Ok(tree["nodes"][0].take())
    }

    /// Clears the focused field.
    pub(crate) async fn empty_field(&self) -> Result<()> {
        let select =
            json!({ "key": "a", "code": "KeyA", "modifiers": 2, "commands": ["selectAll"] });
        self.press(select).await?;
        self.backspace().await
    }

    async fn press(&self, key: Value) -> Result<()> {
        let mut down = key;
        down["type"] = "keyDown".into();
        self.call("Input.dispatchKeyEvent", down.clone()).await?;
        down["type"] = "keyUp".into();
        if let Some(fields) = down.as_object_mut() {
            fields.remove("text");
            fields.remove("commands");
        }
        self.call("Input.dispatchKeyEvent", down).await?;
        Ok(())
    }

    /// Enters a heart rate in the form, as a person does.
    pub(crate) async fn enter(&self, bpm: u16) -> Result<()> {
        self.until("the node", "() => true").await?;
        self.focus("spinbutton", "Heart rate (BPM)").await?;
        self.type_and_enter(&bpm.to_string()).await
    }

    /// The result of the node's `status()`.
    pub(crate) async fn status(&self) -> Result<Value> {
        self.evaluate("heartchain.status()").await
    }

    /// The hash of the tip, in hex.
    pub(crate) async fn tip(&self) -> Result<String> {
        let tip = self.evaluate("heartchain.status().tip.hash").await?;
        Ok(tip.as_str().context("the tip's hash is text")?.to_owned())
    }

    /// The tab's own peer ID.
    pub(crate) async fn peer_id(&self) -> Result<String> {
        let id = self
            .until("the node", "node => node.status().peerId")
            .await?;
        Ok(id.as_str().context("a PeerId is text")?.to_owned())
    }

    /// The chain from genesis to tip, as the node's `blocks()` returns it.
    pub(crate) async fn blocks(&self) -> Result<Vec<Value>> {
        array(self.evaluate("heartchainTest.blocks()").await?)
    }

    /// The readings of the chain, in chain order.
    pub(crate) async fn readings(&self) -> Result<Vec<Value>> {
        array(self.evaluate("heartchainTest.readings()").await?)
    }

    async fn wait(
        &self,
        method: &str,
        limit: Duration,
        what: &str,
        condition: &str,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let expression = format!("heartchainTest.{method}({condition}, {})", left.as_millis());
            let error = match self.evaluate(&expression).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            // The page was reloaded: wait in the new document.
            if !is_navigation(&error) || left.is_zero() {
                let state = self.evaluate("heartchainTest.describe()").await;
                let state = state.unwrap_or_else(|error| json!(error.to_string()));
                let seconds = limit.as_secs();
                bail!(
                    "{} did not get {what} within {seconds} s\n{error:#}\n{state:#}",
                    self.name
                );
            }
            sleep(NAVIGATION_PAUSE).await;
        }
    }

    /// Sends a DevTools command to this tab.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let called = self
            .devtools
            .call(Some(&self.session), method, params)
            .await;
        called.with_context(|| self.name.clone())
    }
}

/// Whether a call failed because the page navigated away, by DevTools' error texts.
fn is_navigation(error: &anyhow::Error) -> bool {
    let words = format!("{error:#}");
    [
        "Inspected target navigated",
        "Execution context was destroyed",
        "Cannot find context",
    ]
    .iter()
    .any(|known| words.contains(known))
}

fn array(value: Value) -> Result<Vec<Value>> {
    if let Value::Array(items) = value {
        return Ok(items);
    }
    bail!("not an array: {value}")
}
