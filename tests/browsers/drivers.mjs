//! Drives the browsers that are installed, each by its own protocol: Firefox by WebDriver BiDi, WebKitGTK and Chromium by
//! WebDriver. A tab can be navigated, asked to evaluate JavaScript, and photographed. Knows nothing of Heartchain.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:net";
import WebSocket from "ws";

/** How long a browser has to start and to answer, ms. */
const START_MS = 30_000;
const ANSWER_MS = 60_000;

/** Folders in which distributions keep programs that are not in PATH, such as WebKit's small browser. */
const FOLDERS = [
  ...(process.env.PATH ?? "").split(":"),
  ...["4.1", "4.0", "6.0"].map((version) => `/usr/lib/x86_64-linux-gnu/webkit2gtk-${version}`),
  "/usr/lib/x86_64-linux-gnu/webkitgtk-6.0",
];

/** The first of these programs that is installed, or null. */
export function installed(...names) {
  for (const name of names) {
    for (const folder of FOLDERS) if (existsSync(join(folder, name))) return join(folder, name);
  }
  return null;
}

/**
 * A port of this computer that the system gives to no other program for a minute: a connection that its server closed first
 * keeps it in TIME-WAIT (RFC 9293, section 3.6.1). Servers that name it can bind it.
 */
export async function freePort() {
  const server = createServer((socket) => socket.end());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  const client = connect(port, "127.0.0.1").resume();
  await new Promise((resolve, reject) => client.once("close", resolve).once("error", reject));
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a program, and ends it together with all that it started. */
export class Program {
  output = "";
  #child;
  #ended;

  constructor(file, args, env = {}) {
    // A group of its own, so that a browser's processes end with it.
    this.#child = spawn(file, args, { detached: true, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on("data", (data) => (this.output = (this.output + data).slice(-20_000)));
    }
    this.#ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.once("error", (error) => (this.output += error));
  }

  /** Waits until the output matches, and returns the match. */
  async says(pattern, limit = START_MS) {
    return until(`the output ${pattern}`, () => pattern.exec(this.output), limit).catch((error) => {
      throw new Error(`${error.message}: ${this.output.slice(-1_000)}`);
    });
  }

  async end(signal = "SIGTERM") {
    try {
      process.kill(-this.#child.pid, signal);
    } catch {
      return; // It has ended already.
    }
    const timer = setTimeout(() => {
      try {
        process.kill(-this.#child.pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }, 5_000);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** Polls until `find` returns something, at most `limit` ms. */
export async function until(what, find, limit = ANSWER_MS) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const found = await find();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}${last ? `: ${last.message}` : ""}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function timeLimit(what, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`no answer to ${what}`)), ANSWER_MS)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What a tab evaluates: an expression, which may be a promise, as JSON. */
const wrapped = (expression) => `(async () => JSON.stringify(await (${expression}) ?? null))()`;

// Firefox, by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

export class Firefox {
  static name = "Firefox";
  #program;
  #profile;
  #socket;
  #last = 0;
  #waiting = new Map();
  /** @type {string[]} errors and warnings on the consoles of all tabs */
  console = [];

  static installed() {
    return installed("firefox-esr", "firefox");
  }

  /** @param {object} [preferences] @param {string} [profile] the folder of a browser that ended and kept it */
  static async start(preferences = {}, profile = undefined) {
    const browser = new Firefox();
    profile ??= await mkdtemp(join(tmpdir(), "heartchain-firefox-"));
    const all = {
      "browser.shell.checkDefaultBrowser": false,
      "datareporting.policy.dataSubmissionEnabled": false,
      "browser.aboutwelcome.enabled": false,
      "app.update.auto": false,
      // Pairs of this computer's addresses only, as in the other browsers of these tests.
      "media.peerconnection.ice.obfuscate_host_addresses": false,
      "media.peerconnection.ice.loopback": true,
      ...preferences,
    };
    const lines = Object.entries(all).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`);
    await writeFile(join(profile, "user.js"), lines.join("\n"));
    browser.#profile = profile;
    browser.#program = new Program(Firefox.installed(), ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0", "about:blank"]);
    const [, address] = await browser.#program.says(/WebDriver BiDi listening on (ws:\S+)/);
    browser.#socket = new WebSocket(`${address}/session`);
    await new Promise((resolve, reject) => browser.#socket.once("open", resolve).once("error", reject));
    browser.#socket.on("message", (data) => browser.#receive(JSON.parse(data)));
    const { capabilities } = await browser.command("session.new", { capabilities: {} });
    browser.version = capabilities.browserVersion;
    await browser.command("session.subscribe", { events: ["log.entryAdded"] });
    return browser;
  }

  command(method, params) {
    this.#last += 1;
    const id = this.#last;
    this.#socket.send(JSON.stringify({ id, method, params }));
    return timeLimit(method, new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject })));
  }

  #receive(message) {
    if (message.method === "log.entryAdded") {
      const { level, text } = message.params;
      if (level === "error" || level === "warn") this.console.push(`${level}: ${text}`);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "error") waiting?.reject(new Error(`${message.error}: ${message.message}`));
    else waiting?.resolve(message.result);
  }

  /** Runs a function in each page before its own scripts. */
  preload(work) {
    return this.command("script.addPreloadScript", { functionDeclaration: String(work) });
  }

  async tab() {
    const { context } = await this.command("browsingContext.create", { type: "tab" });
    const evaluate = async (expression) => {
      const { result, exceptionDetails } = await this.command("script.evaluate", {
        expression: wrapped(expression), target: { context }, awaitPromise: true, userActivation: true,
      });
      if (exceptionDetails) throw new Error(exceptionDetails.text);
      return JSON.parse(result.value);
    };
    return {
      evaluate,
      open: (url) => this.command("browsingContext.navigate", { context, url, wait: "interactive" }),
      reload: () => this.command("browsingContext.reload", { context, wait: "interactive" }),
      screenshot: async () => Buffer.from((await this.command("browsingContext.captureScreenshot", { context })).data, "base64"),
    };
  }

  /** Ends the browser, and returns its profile if that is kept. */
  async end({ keepProfile = false } = {}) {
    this.#socket?.close();
    await this.#program.end();
    if (keepProfile) return this.#profile;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
    return undefined;
  }
}

// WebDriver (https://www.w3.org/TR/webdriver2/), for Chromium and WebKitGTK.

class WebDriver {
  #programs = [];
  #session;
  #used = false;
  /**
   * Null: WebDriver has no command for the console, and WebKit prints nothing of a session that keeps no data, such as that of
   * its driver, even when asked to.
   */
  console = null;

  static async connect(driver, args, capabilities, env, programs = []) {
    const browser = new this();
    browser.#programs = programs;
    const port = await freePort();
    browser.#programs.unshift(new Program(driver, args(port), env));
    const root = `http://127.0.0.1:${port}`;
    await until("the driver", async () => (await fetch(`${root}/status`)).ok, START_MS);
    const { sessionId, capabilities: found } = await request(`${root}/session`, "POST", { capabilities: { alwaysMatch: capabilities } });
    browser.#session = `${root}/session/${sessionId}`;
    browser.version = found.browserVersion;
    await browser.command("POST", "timeouts", { script: ANSWER_MS, pageLoad: ANSWER_MS });
    return browser;
  }

  command(method, path, body) {
    return timeLimit(path, request(`${this.#session}/${path}`, method, body));
  }

  async tab() {
    // WebKit photographs only a window's first tab.
    const handle = this.#used ? (await this.command("POST", "window/new", { type: "window" })).handle : await this.command("GET", "window");
    this.#used = true;
    const here = async (method, path, body) => {
      await this.command("POST", "window", { handle });
      return this.command(method, path, body);
    };
    return {
      evaluate: async (expression) => {
        const script = `const done = arguments[0]; ${wrapped(expression)}.then((value) => done({ value }), (error) => done({ error: String(error) }));`;
        const { value, error } = await here("POST", "execute/async", { script, args: [] });
        if (error !== undefined) throw new Error(error);
        return JSON.parse(value);
      },
      open: (url) => here("POST", "url", { url }),
      reload: () => here("POST", "refresh", {}),
      // Of Chromium only.
      devtools: (cmd, params = {}) => here("POST", "goog/cdp/execute", { cmd, params }),
      /** Errors and warnings on the console since the last call. */
      printed: async () => (await here("POST", "se/log", { type: "browser" })).map(({ level, message }) => `${level}: ${message}`),
      screenshot: async () => Buffer.from(await here("GET", "screenshot"), "base64"),
    };
  }

  async end() {
    await this.command("DELETE", "").catch(() => {});
    for (const program of this.#programs) await program.end();
  }
}

async function request(url, method, body) {
  const answer = await fetch(url.replace(/\/$/, ""), { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const { value } = await answer.json();
  if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

export class Chromium extends WebDriver {
  static name = "Chromium";

  static installed() {
    return installed("chromedriver") && installed("chromium", "chromium-browser", "google-chrome");
  }

  /**
   * The driver makes a new profile, and removes it at the end.
   *
   * @param {{ flags?: string[], preferences?: object, waits?: boolean }} [options] `preferences` as in the profile's file
   *   `Preferences`, with dots in their names; `waits`: whether commands wait for pages to load
   */
  static async start({ flags = [], preferences = {}, waits = true } = {}) {
    const args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--js-flags=--expose-gc", "--disable-features=WebRtcHideLocalIpsWithMdns", ...flags];
    const capabilities = {
      "goog:chromeOptions": { args, binary: Chromium.installed(), prefs: preferences }, "goog:loggingPrefs": { browser: "WARNING" },
      pageLoadStrategy: waits ? "normal" : "none",
    };
    return this.connect(installed("chromedriver"), (port) => [`--port=${port}`], capabilities);
  }
}

export class WebKit extends WebDriver {
  static name = "WebKitGTK";

  static installed() {
    return installed("WebKitWebDriver") && installed("Xvfb") && installed("MiniBrowser");
  }

  static async start() {
    // The X server chooses a free display itself.
    const screen = new Program(installed("Xvfb"), ["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]);
    const [, display] = await screen.says(/^(\d+)$/m);
    const home = await mkdtemp(join(tmpdir(), "heartchain-webkit-"));
    const env = {
      DISPLAY: `:${display}`, XDG_DATA_HOME: home, XDG_CACHE_HOME: home, XDG_CONFIG_HOME: home,
      // Containers have neither a sandbox nor a graphics card.
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1", LIBGL_ALWAYS_SOFTWARE: "1",
    };
    const capabilities = { "webkitgtk:browserOptions": { binary: installed("MiniBrowser"), args: ["--automation"] } };
    const browser = await this.connect(installed("WebKitWebDriver"), (port) => [`--port=${port}`], capabilities, env, [screen]);
    browser.home = home;
    return browser;
  }

  async end() {
    await super.end();
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}

