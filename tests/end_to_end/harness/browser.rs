//! A Chromium instance for one test: a fresh profile, one browser context per tab so that tabs share storage only if
//! the test asks for it, and the console output of every page and worker.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{ChildStderr, Command},
    sync::mpsc,
    time::timeout,
};

use super::{
    console::Console,
    devtools::{DevTools, Event, Session},
    host::Host,
    patience::PATIENCE,
    process::Process,
    tab::Tab,
};

/// Names of the Chromium binary, tried in this order, unless the variable `CHROMIUM` gives its path.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Flags that stop background traffic, keep every tab as active as a foreground one, and disable the sandbox: it does
/// not work as root, and the browser opens only our own page.
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

/// URL pattern of the JavaScript module through which the page loads its node.
const PACKAGE: &str = "*/pkg/wasm_node.js";

/// Where Chromium finds authorities that a person has installed, in the home folder.
const AUTHORITIES: &str = ".pki/nssdb";

/// Time between two attempts to remove a profile.
const REMOVE_INTERVAL: Duration = Duration::from_millis(20);
/// Attempts before the profile is left behind: 4 s in total.
const MAX_REMOVE_ATTEMPTS: u32 = 200;

/// A running browser. Dropping it kills the process and removes the profile.
#[derive(Debug)]
pub(crate) struct Browser {
    // Declared before the profile, because fields are dropped in order and Chromium writes until it ends.
    process: Process,
    profile: Profile,
    host: Host,
    devtools: DevTools,
    consoles: Consoles,
    subscribers: Subscribers,
    modules: ModuleOverrides,
    opened: Vec<(String, Arc<Console>)>,
}

/// The folder of a browser's profile. Dropping it removes the folder.
#[derive(Debug)]
struct Profile(PathBuf);

impl Profile {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("heartchain-profile-")
            .tempdir()?;
        Ok(Self(folder.keep()))
    }

    /// Installs a certificate authority, as a person does. Chromium looks for it in the home folder.
    async fn install_authority(&self, certificate: &Path) -> Result<()> {
        let database = self.0.join(AUTHORITIES);
        fs::create_dir_all(&database)?;
        let database = format!("sql:{}", database.display());
        let certificate = certificate.to_string_lossy();
        for arguments in [
            &["-N", "-d", &database, "--empty-password"][..],
            &[
                "-A",
                "-d",
                &database,
                "-t",
                "C,,",
                "-n",
                "authority",
                "-i",
                &certificate,
            ],
        ] {
            let status = Command::new("certutil").args(arguments).status().await?;
            ensure!(
                status.success(),
                "certutil {arguments:?} ended with {status}"
            );
        }
        Ok(())
    }

    /// The home folder for the browser, if it is not that of the user.
    fn home(&self) -> Option<&Path> {
        self.0.join(AUTHORITIES).exists().then_some(&self.0)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        // Chromium's helper processes end a moment after the main one, and write until then.
        for _ in 0..MAX_REMOVE_ATTEMPTS {
            if fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            thread::sleep(REMOVE_INTERVAL);
        }
    }
}

/// The console of each session. A worker's output goes to its tab's console.
type Consoles = Arc<Mutex<HashMap<Session, Arc<Console>>>>;

/// Channels that receive a copy of all events of one DevTools domain.
type Subscribers = Arc<Mutex<Vec<(&'static str, mpsc::UnboundedSender<Event>)>>>;

/// The module that a session loads instead of the wasm package.
type ModuleOverrides = Arc<Mutex<HashMap<Session, String>>>;

impl Browser {
    pub(crate) async fn launch() -> Result<Self> {
        Self::launch_on(&Host::default(), &[]).await
    }

    /// Launches a browser with extra flags.
    pub(crate) async fn launch_with(flags: &[&str]) -> Result<Self> {
        Self::launch_on(&Host::default(), flags).await
    }

    /// Launches a browser in which a certificate authority is installed.
    pub(crate) async fn launch_trusting(certificate: &Path, flags: &[&str]) -> Result<Self> {
        let profile = Profile::new()?;
        profile.install_authority(certificate).await?;
        Self::launch_with_profile(&Host::default(), profile, flags).await
    }

    /// Launches a browser whose settings a person has changed: `preferences` as in the profile's file `Preferences`.
    pub(crate) async fn launch_preferring(preferences: &Value) -> Result<Self> {
        let profile = Profile::new()?;
        let folder = profile.0.join("Default");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("Preferences"), preferences.to_string())?;
        Self::launch_with_profile(&Host::default(), profile, &[]).await
    }

    /// Launches a browser on another host.
    pub(crate) async fn launch_on(host: &Host, flags: &[&str]) -> Result<Self> {
        Self::launch_with_profile(host, Profile::new()?, flags).await
    }

    async fn launch_with_profile(host: &Host, profile: Profile, flags: &[&str]) -> Result<Self> {
        let mut command = host.command(binary()?);
        command
            .args(flags)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(home) = profile.home() {
            command.env("HOME", home);
        }
        let mut process = Process::spawn("Chromium", &mut command)?;
        let stderr = process.child().stderr.take().context("stderr is piped")?;
        let url = timeout(PATIENCE, devtools_url(stderr))
            .await
            .context("Chromium did not print its DevTools URL")??;
        let (devtools, events) = DevTools::connect(&url, host).await?;
        let consoles = Consoles::default();
        let subscribers = Subscribers::default();
        let modules = ModuleOverrides::default();
        let routes = (consoles.clone(), modules.clone(), subscribers.clone());
        tokio::spawn(route_events(events, devtools.clone(), routes));
        Ok(Self {
            process,
            profile,
            host: host.clone(),
            devtools,
            consoles,
            subscribers,
            modules,
            opened: Vec::new(),
        })
    }

    /// Opens a page in a new context, without waiting for anything.
    pub(crate) async fn open(&mut self, url: &str) -> Result<Tab> {
        self.open_with(url, "").await
    }

    /// Opens a page as if behind a firewall that lets it reach relays but no tabs: it drops all remote ICE candidates.
    pub(crate) async fn open_behind_firewall(&mut self, url: &str) -> Result<Tab> {
        let drop_candidates = "RTCPeerConnection.prototype.addIceCandidate = async () => {};";
        self.open_with(url, drop_candidates).await
    }

    /// Opens a page in a new context and runs `script` before the page's own scripts.
    pub(crate) async fn open_with(&mut self, url: &str, script: &str) -> Result<Tab> {
        let dispose = json!({ "disposeOnDetach": true });
        let created = self
            .devtools
            .call(None, "Target.createBrowserContext", dispose)
            .await?;
        self.open_in(created["browserContextId"].clone(), url, script)
            .await
    }

    /// Like [`open_with`](Self::open_with), but in the browser's default context, as a person's tab. Some devices are
    /// available only there, and its storage survives a restart of the browser. There can be one such tab.
    pub(crate) async fn open_as_person(&mut self, url: &str, script: &str) -> Result<Tab> {
        self.open_in(Value::Null, url, script).await
    }

    /// Opens a page that loads `source` instead of the wasm package. A test can then check how the page draws chains
    /// that would take hours to mine.
    pub(crate) async fn open_with_node(&mut self, url: &str, source: &str) -> Result<Tab> {
        let dispose = json!({ "disposeOnDetach": true });
        let created = self
            .devtools
            .call(None, "Target.createBrowserContext", dispose)
            .await?;
        let tab = self.blank(created["browserContextId"].clone()).await?;
        lock(&self.modules).insert(tab.session().clone(), source.to_owned());
        tab.intercept(PACKAGE).await?;
        tab.open(url, "").await?;
        Ok(tab)
    }

    /// Opens a page in an existing context, so that it shares the storage of that context's tabs. Runs `script` before
    /// the page's own scripts.
    pub(crate) async fn open_in(&mut self, context: Value, url: &str, script: &str) -> Result<Tab> {
        let tab = self.blank(context).await?;
        tab.open(url, script).await?;
        Ok(tab)
    }

    /// Opens a tab that has not navigated yet.
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

    /// Returns the DevTools connection and a channel with all further events of one domain, such as
    /// `BluetoothEmulation`.
    pub(crate) fn subscribe(
        &self,
        domain: &'static str,
    ) -> (DevTools, mpsc::UnboundedReceiver<Event>) {
        let (sender, events) = mpsc::unbounded_channel();
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((domain, sender));
        (self.devtools.clone(), events)
    }

    /// The name and console of every tab that was ever opened.
    pub(crate) fn consoles(&self) -> &[(String, Arc<Console>)] {
        &self.opened
    }

    /// Kills the browser as a crash would, and starts it again with the same profile.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<()> {
        self.kill().await?;
        self.restart().await
    }

    /// Like [`crash_and_restart`](Self::crash_and_restart), but damages the folder of the browser's one
    /// database in between.
    pub(crate) async fn crash_and_damage(
        &mut self,
        damage: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.kill().await?;
        let databases = fs::read_dir(self.profile.0.join("Default/IndexedDB"))?;
        let folders = databases.collect::<Result<Vec<_>, _>>()?;
        let folder = folders.into_iter().map(|folder| folder.path());
        let mut folder = folder.filter(|path| path.extension().is_some_and(|end| end == "leveldb"));
        damage(&folder.next().context("the profile has no database")?)?;
        self.restart().await
    }

    async fn restart(&mut self) -> Result<()> {
        // Chromium's leftover lock files would tell the new process that the old one still runs.
        for leftover in ["SingletonLock", "SingletonCookie", "SingletonSocket"] {
            let _ = fs::remove_file(self.profile.0.join(leftover));
        }
        let profile = std::mem::replace(&mut self.profile, Profile(PathBuf::new()));
        let mut opened = std::mem::take(&mut self.opened);
        *self = Self::launch_with_profile(&self.host.clone(), profile, &[]).await?;
        opened.append(&mut self.opened);
        self.opened = opened;
        Ok(())
    }

    /// Kills the browser as a crash would: pages have no time to close their connections.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.process.signal("KILL").await?;
        self.process.ended().await?;
        Ok(())
    }
}

/// Routes each event to its session's console, and enables the logs of each worker before the worker runs.
async fn route_events(
    mut events: mpsc::UnboundedReceiver<Event>,
    devtools: DevTools,
    (consoles, modules, subscribers): (Consoles, ModuleOverrides, Subscribers),
) {
    while let Some(event) = events.recv().await {
        subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(domain, sender)| {
                let is_subscribed = event.method.split('.').next() == Some(domain);
                !is_subscribed || sender.send(event.clone()).is_ok()
            });
        let Some(session) = &event.session else {
            continue;
        };
        let console = lock(&consoles).get(session).cloned();
        let Some(console) = console else { continue };
        console.record(&event);
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
                // Sent in this order without waiting for the responses, because a service worker responds only once it
                // runs. A worker may end at any moment, and some kinds have no log.
                let call = |method| devtools.call(Some(&worker), method, json!({}));
                let _ = tokio::join!(
                    call("Runtime.enable"),
                    call("Log.enable"),
                    call("Runtime.runIfWaitingForDebugger"),
                );
            });
        }
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads Chromium's stderr until it prints the DevTools URL. Keeps draining stderr afterwards, so that Chromium never
/// blocks on it.
async fn devtools_url(stderr: ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut output = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if let Some(url) = line.strip_prefix("DevTools listening on ") {
            let url = url.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(url);
        }
        output.push(line);
    }
    anyhow::bail!("Chromium exited at startup: {output:#?}")
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
