//! A Chromium of one test's own: a fresh profile, a context for each tab so that tabs share no storage unless a
//! test wants them to, and the consoles of everything that runs in it.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::ChildStderr,
    sync::mpsc,
    time::timeout,
};

use super::{
    PATIENCE, Tab,
    console::Console,
    devtools::{DevTools, Event, Session},
    host::Host,
    process::Process,
};

/// Where Chromium is looked for, in this order, unless the variable `CHROMIUM` names it.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Nothing but the tests' own traffic, every tab as awake as one in front, and no sandbox: as root there is
/// none, and nothing is opened but our own page.
const FLAGS: [&str; 18] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--no-first-run",
    "--no-default-browser-check",
    "--lang=en-US",
    "--accept-lang=en-US",
    "--remote-debugging-port=0",
    "about:blank",
];

/// What the page asks for to have its node.
const PACKAGE: &str = "*/pkg/wasm_node.js";

/// Time between two tries to remove a profile.
const REMOVING_INTERVAL: Duration = Duration::from_millis(20);
/// Tries before it is left behind: 4 s.
const REMOVING_TRIES: u32 = 200;

/// A running browser. Dropped, it is killed and its profile removed.
#[derive(Debug)]
pub(crate) struct Browser {
    // Before the profile: fields are dropped in order, and Chromium writes until its end.
    process: Process,
    profile: Profile,
    host: Host,
    devtools: DevTools,
    consoles: Consoles,
    taps: Taps,
    modules: Modules,
    opened: Vec<(String, Arc<Console>)>,
}

/// The folder of a browser's profile, removed when dropped.
#[derive(Debug)]
struct Profile(PathBuf);

impl Profile {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("heartchain-profile-")
            .tempdir()?;
        Ok(Self(folder.keep()))
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        // Chromium's helper processes end a moment after it, and write until then.
        for _ in 0..REMOVING_TRIES {
            if fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            thread::sleep(REMOVING_INTERVAL);
        }
    }
}

/// Who listens to which session: a tab's workers are heard with it.
type Consoles = Arc<Mutex<HashMap<Session, Arc<Console>>>>;

/// Who else hears the events of which domains.
type Taps = Arc<Mutex<Vec<(&'static str, mpsc::UnboundedSender<Event>)>>>;

/// What a tab gets instead of its wasm package.
type Modules = Arc<Mutex<HashMap<Session, String>>>;

impl Browser {
    pub(crate) async fn launch() -> Result<Self> {
        Self::launch_on(&Host::default(), &[]).await
    }

    /// Launches it with flags of a test's own.
    pub(crate) async fn launch_with(flags: &[&str]) -> Result<Self> {
        Self::launch_on(&Host::default(), flags).await
    }

    /// Launches one on another computer.
    pub(crate) async fn launch_on(host: &Host, flags: &[&str]) -> Result<Self> {
        Self::launch_over(host, Profile::new()?, flags).await
    }

    async fn launch_over(host: &Host, profile: Profile, flags: &[&str]) -> Result<Self> {
        let mut command = host.command(binary()?);
        command
            .args(flags)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::spawn("Chromium", &mut command)?;
        let stderr = process.child().stderr.take().context("stderr is piped")?;
        let url = timeout(PATIENCE, devtools_url(stderr))
            .await
            .context("Chromium does not say where its DevTools are")??;
        let (devtools, events) = DevTools::connect(&url, host).await?;
        let consoles = Consoles::default();
        let taps = Taps::default();
        let modules = Modules::default();
        let ears = (consoles.clone(), modules.clone(), taps.clone());
        tokio::spawn(listen(events, devtools.clone(), ears));
        Ok(Self {
            process,
            profile,
            host: host.clone(),
            devtools,
            consoles,
            taps,
            modules,
            opened: Vec::new(),
        })
    }

    /// Opens a page in a context of its own, and waits for nothing.
    pub(crate) async fn open(&mut self, url: &str) -> Result<Tab> {
        self.open_with(url, "").await
    }

    /// Opens a page as behind a firewall that lets it reach relays and no tab: it never learns where another
    /// tab could be reached.
    pub(crate) async fn open_behind_firewall(&mut self, url: &str) -> Result<Tab> {
        let deaf = "RTCPeerConnection.prototype.addIceCandidate = async () => {};";
        self.open_with(url, deaf).await
    }

    /// Opens a page where `script` runs before all others, in a context of its own.
    pub(crate) async fn open_with(&mut self, url: &str, script: &str) -> Result<Tab> {
        let private = json!({ "disposeOnDetach": true });
        let made = self
            .devtools
            .call(None, "Target.createBrowserContext", private)
            .await?;
        self.open_in(made["browserContextId"].clone(), url, script)
            .await
    }

    /// The same in the browser's own profile, as a person's tab: some devices are only for these, and its storage
    /// outlives the browser. There can be one.
    pub(crate) async fn open_as_person(&mut self, url: &str, script: &str) -> Result<Tab> {
        self.open_in(Value::Null, url, script).await
    }

    /// Opens a page that gets `source` where it asks for its wasm package: how it draws can then be looked at with
    /// chains that would take hours to mine.
    pub(crate) async fn open_with_node(&mut self, url: &str, source: &str) -> Result<Tab> {
        let private = json!({ "disposeOnDetach": true });
        let made = self
            .devtools
            .call(None, "Target.createBrowserContext", private)
            .await?;
        let tab = self.blank(made["browserContextId"].clone()).await?;
        lock(&self.modules).insert(tab.session().clone(), source.to_owned());
        tab.intercept(PACKAGE).await?;
        tab.open(url, "").await?;
        Ok(tab)
    }

    /// Opens a page that shares its storage with the tabs of this context; `script` runs before all others.
    pub(crate) async fn open_in(&mut self, context: Value, url: &str, script: &str) -> Result<Tab> {
        let tab = self.blank(context).await?;
        tab.open(url, script).await?;
        Ok(tab)
    }

    /// A tab that has not gone anywhere yet.
    async fn blank(&mut self, context: Value) -> Result<Tab> {
        let name = format!("tab {}", self.opened.len() + 1);
        let console = Arc::new(Console::default());
        self.opened.push((name.clone(), console.clone()));
        let devtools = self.devtools.clone();

        let mut blank = json!({ "url": "about:blank", "newWindow": true });
        if !context.is_null() {
            blank["browserContextId"] = context.clone();
        }
        let target = devtools.call(None, "Target.createTarget", blank).await?["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = devtools.call(None, "Target.attachToTarget", attach).await?;
        let id = attached["sessionId"].as_str().context("no session")?;
        let session = Session(id.to_owned());
        lock(&self.consoles).insert(session.clone(), console);

        Ok(Tab::new(name, devtools, session, context))
    }

    /// The browser's DevTools, and from now on all events of one domain (`BluetoothEmulation`).
    pub(crate) fn tap(&self, domain: &'static str) -> (DevTools, mpsc::UnboundedReceiver<Event>) {
        let (heard, events) = mpsc::unbounded_channel();
        self.taps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((domain, heard));
        (self.devtools.clone(), events)
    }

    /// Each tab that was ever opened, with what it said.
    pub(crate) fn consoles(&self) -> &[(String, Arc<Console>)] {
        &self.opened
    }

    /// Ends the browser as a crash would, and starts it again with what its profile has.
    pub(crate) async fn crash_and_start_again(&mut self) -> Result<()> {
        self.kill().await?;
        self.start_again().await
    }

    /// The same; meanwhile the folder of its one database is damaged.
    pub(crate) async fn crash_and_damage(
        &mut self,
        damage: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.kill().await?;
        let databases = fs::read_dir(self.profile.0.join("Default/IndexedDB"))?;
        let folders = databases.collect::<Result<Vec<_>, _>>()?;
        let folder = folders.into_iter().map(|folder| folder.path());
        let mut folder = folder.filter(|path| path.extension().is_some_and(|end| end == "leveldb"));
        damage(&folder.next().context("there is a database")?)?;
        self.start_again().await
    }

    async fn start_again(&mut self) -> Result<()> {
        // What Chromium left there says that it still runs.
        for leftover in ["SingletonLock", "SingletonCookie", "SingletonSocket"] {
            let _ = fs::remove_file(self.profile.0.join(leftover));
        }
        let profile = std::mem::replace(&mut self.profile, Profile(PathBuf::new()));
        let mut opened = std::mem::take(&mut self.opened);
        *self = Self::launch_over(&self.host.clone(), profile, &[]).await?;
        opened.append(&mut self.opened);
        self.opened = opened;
        Ok(())
    }

    /// Ends the browser as a crash would: no page gets to say goodbye.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.process.signal("KILL").await?;
        self.process.ended().await?;
        Ok(())
    }
}

/// Hands every event to the console it belongs to, and turns on the ears of each worker before it runs.
async fn listen(
    mut events: mpsc::UnboundedReceiver<Event>,
    devtools: DevTools,
    (consoles, modules, taps): (Consoles, Modules, Taps),
) {
    while let Some(event) = events.recv().await {
        taps.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(domain, heard)| {
                let is_theirs = event.method.split('.').next() == Some(domain);
                !is_theirs || heard.send(event.clone()).is_ok()
            });
        let Some(session) = &event.session else {
            continue;
        };
        let console = lock(&consoles).get(session).cloned();
        let Some(console) = console else { continue };
        console.note(&event);
        if event.method == "Fetch.requestPaused" {
            let source = lock(&modules).get(session).cloned().unwrap_or_default();
            let answer = json!({
                "requestId": event.params["requestId"],
                "responseCode": 200,
                "responseHeaders": [{ "name": "content-type", "value": "text/javascript" }],
                "body": BASE64.encode(source),
            });
            let (devtools, session) = (devtools.clone(), session.clone());
            tokio::spawn(async move {
                // The tab may be gone by now.
                let _ = devtools
                    .call(Some(&session), "Fetch.fulfillRequest", answer)
                    .await;
            });
        }
        if event.method == "Target.attachedToTarget"
            && let Some(id) = event.params["sessionId"].as_str()
        {
            let worker = Session(id.to_owned());
            lock(&consoles).insert(worker.clone(), console);
            let devtools = devtools.clone();
            tokio::spawn(async move {
                // Sent in this order, and not one after the other's answer: a service worker answers once it runs. A
                // worker may end at any moment, and not every kind has a log.
                let tell = |method| devtools.call(Some(&worker), method, json!({}));
                let _ = tokio::join!(
                    tell("Runtime.enable"),
                    tell("Log.enable"),
                    tell("Runtime.runIfWaitingForDebugger"),
                );
            });
        }
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what Chromium says until it names its DevTools, and keeps listening so that it can go on.
async fn devtools_url(stderr: ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if let Some(url) = line.strip_prefix("DevTools listening on ") {
            let url = url.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(url);
        }
        said.push(line);
    }
    anyhow::bail!("Chromium ended at its start: {said:#?}")
}

fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    let folders: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let candidates = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut found = candidates.filter(|path| fs::metadata(path).is_ok_and(|data| data.is_file()));
    found.next().with_context(|| {
        format!("none of {NAMES:?} is in PATH: install Chromium, or name it with CHROMIUM")
    })
}
