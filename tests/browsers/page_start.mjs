//! Measures how long the page takes, in Chromium, from navigation to a form that takes a reading and to a running node: with a
//! cold cache, and on the second visit. Several builds of the relay take turns, to compare their pages on one machine.
//!
//!   node page_start.mjs ROUNDS DELAY NAME=RELAY...    DELAY: round trip in ms that is added; RELAY: a program
//!
//! A browser that reports each request to DevTools, as for Playwright, spends more time on each file than a person's does. So
//! this uses only the domains Page and Runtime of the DevTools protocol, and looks once, after the page has started.

import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";
import { Program, installed, until } from "./drivers.mjs";

/** How long after the navigation the page is left alone, ms. */
const UNDISTURBED_MS = 1_800;
/** How long a new browser gets to become quiet, ms. */
const SETTLE_MS = 400;

/** Notes when the form and the node are there, in ms since the navigation. Runs before the page's own scripts. */
const OBSERVE = `globalThis.seen = {};
  const define = CustomElementRegistry.prototype.define;
  CustomElementRegistry.prototype.define = function (name, ...rest) {
    define.call(this, name, ...rest);
    if (name === "record-form") queueMicrotask(() => { seen.form = performance.now(); });
  };
  let node;
  Object.defineProperty(globalThis, "heartchain", {
    configurable: true,
    enumerable: true,
    get: () => node,
    set: (started) => { node = started; seen.node ??= performance.now(); },
  });`;

/** A relay that serves a page, and what its visits took. */
class Build {
  #program;
  #proxy;

  static async start(item, delay) {
    const [name, file] = item.split("=");
    const build = new Build();
    build.name = name;
    build.times = { cold: { form: [], node: [] }, warm: { form: [], node: [] } };
    build.folder = mkdtempSync(join(tmpdir(), "page-start-"));
    const ports = ["--http-port", "--webrtc-port", "--stun-port"].flatMap((flag) => [flag, "0"]);
    build.#program = new Program(file, [...ports, "--data-dir", build.folder]);
    const [, port] = await build.#program.says(/http:\/\/(?:127\.0\.0\.1|localhost):(\d+)\//);
    build.#proxy = delay > 0 ? await delayed(Number(port), delay) : null;
    build.page = `http://127.0.0.1:${build.#proxy?.address().port ?? port}/`;
    return build;
  }

  async end() {
    this.#proxy?.close();
    await this.#program.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A server on a free port that passes connections on to `port`, and holds back all bytes for half a round trip each way. */
async function delayed(port, roundTrip) {
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.setNoDelay();
      from.on("data", (data) => setTimeout(() => to.writable && to.write(data), roundTrip / 2));
      from.on("end", () => setTimeout(() => to.end(), roundTrip / 2));
      from.on("error", () => to.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** A browser with a new profile, and its DevTools. */
class Browser {
  #program;
  #profile = mkdtempSync(join(tmpdir(), "page-start-"));
  #socket;
  #last = 0;
  #waiting = new Map();

  static async start() {
    const browser = new Browser();
    browser.#program = new Program(installed("chromium", "chromium-browser", "google-chrome"), [
      ...["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync", "--remote-debugging-port=0", `--user-data-dir=${browser.#profile}`],
    ]);
    const [address] = await browser.#program.says(/ws:\/\/\S+/);
    browser.#socket = new WebSocket(address);
    browser.#socket.on("message", (text) => {
      const { id, result, error } = JSON.parse(text);
      browser.#waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
      browser.#waiting.delete(id);
    });
    await new Promise((resolve, reject) => browser.#socket.once("open", resolve).once("error", reject));
    return browser;
  }

  call(method, params = {}, sessionId = undefined) {
    this.#last += 1;
    this.#socket.send(JSON.stringify({ id: this.#last, method, params, sessionId }));
    return new Promise((resolve) => this.#waiting.set(this.#last, resolve));
  }

  async end() {
    this.#socket?.close();
    await this.#program.end("SIGKILL");
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function visitTwice({ page, times }) {
  const browser = await Browser.start();
  try {
    await pause(SETTLE_MS);
    for (const kind of [times.cold, times.warm]) {
      const { form, node } = await visit(browser, page);
      kind.form.push(form);
      kind.node.push(node);
    }
  } finally {
    await browser.end();
  }
}

/** Opens the page in a new window and closes it. Returns when its form and its node were there. */
async function visit(browser, page) {
  const { targetId } = await browser.call("Target.createTarget", { url: "about:blank", newWindow: true });
  const { sessionId } = await browser.call("Target.attachToTarget", { targetId, flatten: true });
  await browser.call("Page.enable", {}, sessionId);
  await browser.call("Page.addScriptToEvaluateOnNewDocument", { source: OBSERVE }, sessionId);
  await browser.call("Page.navigate", { url: page }, sessionId);
  await pause(UNDISTURBED_MS);
  const seen = await until("the page to start", async () => {
    const { result } = await browser.call("Runtime.evaluate", { expression: "JSON.stringify(seen)" }, sessionId);
    const seen = JSON.parse(result.value);
    return seen.form && seen.node ? seen : null;
  });
  await browser.call("Target.closeTarget", { targetId });
  return seen;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Median, and the range in which half of the values are. */
function middle(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))].toFixed(0);
  return `${at(0.5)} (${at(0.25)} to ${at(0.75)})`;
}

function report() {
  console.log(`| ${rounds} rounds, ${delay} ms of round trip; medians and quartiles in ms | ${builds.map(({ name }) => name).join(" | ")} |`);
  console.log(`|---|${builds.map(() => "---|").join("")}`);
  for (const kind of ["cold", "warm"]) {
    for (const what of ["form", "node"]) {
      console.log(`| ${kind}, to the ${what} | ${builds.map(({ times }) => middle(times[kind][what])).join(" | ")} |`);
    }
  }
}

const [rounds = "10", delay = "0", ...named] = process.argv.slice(2);
if (named.length === 0) {
  console.error("Name at least one relay, as NAME=PROGRAM.");
  process.exit(2);
}

const builds = [];
try {
  for (const item of named) builds.push(await Build.start(item, Number(delay)));
  for (let round = 0; round < Number(rounds); round += 1) {
    // Rotate, so that load peaks of the machine do not always hit the same build.
    for (let turn = 0; turn < builds.length; turn += 1) await visitTwice(builds[(round + turn) % builds.length]);
  }
} finally {
  for (const build of builds) await build.end();
}
report();
