//! How the page has itself kept, and what its worker answers for, with everything around them made up.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";
import { KEEP_AFTER_MS, UPDATE_INTERVAL_MS, keepPage } from "../../www/offline.js";

const script = await readFile(new URL("../../www/service-worker.js", import.meta.url), "utf8");
const SCOPE = "https://relay.example/deep/";
const hash = (text) => createHash("sha256").update(text).digest("hex");

/** A service worker of this version, over caches that outlive it. */
function worker(texts, { caches = fakeCaches(), served = texts } = {}) {
  const files = Object.fromEntries(Object.entries(texts).map(([path, text]) => [path, hash(text)]));
  const version = hash(JSON.stringify(files)).slice(0, 8);
  const listeners = {};
  const fetched = [];
  const fetch = async (request) => {
    const path = request.url.slice(SCOPE.length) || "index.html";
    fetched.push(path);
    const text = served[path];
    if (text === undefined) return new Response("", { status: 404 });
    const right = `sha256-${createHash("sha256").update(text).digest("base64")}`;
    if (request.integrity && request.integrity !== right) throw new TypeError("integrity");
    return new Response(text, { headers: { etag: `"${hash(text)}br"` } });
  };
  let skipped = false;
  const self = {
    registration: { scope: SCOPE },
    addEventListener: (type, listener) => (listeners[type] = listener),
    skipWaiting: () => (skipped = true),
  };
  const source = `const PRECACHE = ${JSON.stringify({ version, files })};\n${script}`;
  vm.runInNewContext(source, { self, caches, fetch, Request, Response, URL, btoa, Object, Promise });
  return {
    fetched,
    skipped: () => skipped,
    done: (type) => new Promise((resolve, reject) => listeners[type]({ waitUntil: (work) => work.then(resolve, reject) })),
    say: (data) => listeners.message({ data }),
    /** The answer's text; null: left to the network. */
    async ask(url, { method = "GET", mode = "cors" } = {}) {
      let answer = null;
      listeners.fetch({ request: { method, mode, url, integrity: "" }, respondWith: (work) => (answer = work) });
      return answer === null ? null : (await answer).text();
    },
  };
}

function fakeCaches() {
  const all = new Map();
  const open = async (name) => {
    if (!all.has(name)) all.set(name, new Map());
    const cache = all.get(name);
    return {
      put: async (address, response) => void cache.set(address, response.clone()),
      match: async (address) => cache.get(address)?.clone(),
    };
  };
  return {
    open,
    keys: async () => [...all.keys()],
    delete: async (name) => all.delete(name),
    async match(address) {
      for (const cache of all.values()) if (cache.has(address)) return cache.get(address).clone();
      return undefined;
    },
  };
}

const FIRST = { "index.html": "<page>", "index.js": "one", "pkg/wasm_node_bg.wasm": "wasm" };

test("all_files_are_kept_and_answered_for_without_the_relay", async () => {
  const served = { ...FIRST };
  const page = worker(FIRST, { served });
  await page.done("install");
  assert.deepEqual(page.fetched.sort(), Object.keys(FIRST).sort());
  for (const path of Object.keys(served)) delete served[path];
  assert.equal(await page.ask(SCOPE, { mode: "navigate" }), "<page>");
  assert.equal(await page.ask(`${SCOPE}?relay=/ip4/1.2.3.4#room=x`, { mode: "navigate" }), "<page>");
  assert.equal(await page.ask(`${SCOPE}index.html`, { mode: "navigate" }), "<page>");
  assert.equal(await page.ask(`${SCOPE}index.js`), "one");
  assert.equal(await page.ask(`${SCOPE}pkg/wasm_node_bg.wasm`), "wasm");
});

test("nothing_else_is_answered_for", async () => {
  const page = worker({ ...FIRST, toString: "a name of every object's" });
  await page.done("install");
  for (const [url, options] of [
    [`${SCOPE}relay.json`],
    [`${SCOPE}relay.json`, { mode: "navigate" }],
    [`${SCOPE}index.js?newer`],
    [`${SCOPE}hasOwnProperty`],
    [`${SCOPE}index.js`, { method: "POST" }],
    ["https://relay.example/index.js"],
    ["https://elsewhere.example/deep/index.js"],
  ]) {
    assert.equal(await page.ask(url, options), null, `${url} ${JSON.stringify(options)}`);
  }
});

test("a_file_of_another_version_is_not_kept", async () => {
  const page = worker(FIRST, { served: { ...FIRST, "index.js": "two" } });
  await assert.rejects(page.done("install"), /integrity/);
  const missing = worker(FIRST, { served: { "index.html": "<page>" } });
  await assert.rejects(missing.done("install"), /could not be kept: the relay answered 404/);
});

test("a_newer_version_takes_along_what_is_the_same_and_forgets_the_older_when_it_is_its_turn", async () => {
  const caches = fakeCaches();
  await (await caches.open("somebody else's")).put("x", new Response("x"));
  const first = worker(FIRST, { caches });
  await first.done("install");
  await first.done("activate");
  const second = worker({ ...FIRST, "index.js": "two" }, { caches });
  await second.done("install");
  assert.deepEqual(second.fetched, ["index.js"]);
  assert.equal(await first.ask(`${SCOPE}index.js`), "one", "the older page still has all of its own files");
  assert.equal((await caches.keys()).length, 3);
  assert.equal(second.skipped(), false, "it waits");
  second.say("something else");
  assert.equal(second.skipped(), false);
  second.say("take-over");
  assert.equal(second.skipped(), true);
  await second.done("activate");
  assert.equal((await caches.keys()).length, 2);
  assert.ok((await caches.keys()).includes("somebody else's"));
  assert.equal(await second.ask(`${SCOPE}index.js`), "two");
});

test("what_the_browser_has_thrown_away_is_fetched_again", async () => {
  const caches = fakeCaches();
  const page = worker(FIRST, { caches });
  await page.done("install");
  for (const name of await caches.keys()) await caches.delete(name);
  assert.equal(await page.ask(`${SCOPE}index.js`), "one");
});

/** The browser's side of a registration. */
function browser({ controller = null, waiting = null } = {}) {
  const target = () => {
    const listeners = {};
    return {
      listeners,
      addEventListener: (type, listener) => (listeners[type] = listener),
    };
  };
  const registration = { ...target(), waiting, installing: null, updates: 0 };
  registration.update = async () => {
    registration.updates += 1;
    throw new TypeError("no network");
  };
  const container = { ...target(), controller, registered: [] };
  container.register = async (url) => (container.registered.push(url), registration);
  const said = [];
  const world = {
    offers: [],
    reloads: 0,
    waits: [],
    every: [],
  };
  const newer = () => ({ state: "installing", postMessage: (data) => said.push(data), ...target() });
  return { container, registration, said, world, newer };
}

async function begun(made) {
  const { container, world } = made;
  keepPage(container, (goOver) => world.offers.push(goOver), {
    wait: (work, ms) => world.waits.push([work, ms]),
    every: (work, ms) => world.every.push([work, ms]),
    reload: () => (world.reloads += 1),
  });
  assert.deepEqual(container.registered, [], "the page itself comes first");
  const [[work, ms]] = world.waits;
  assert.equal(ms, KEEP_AFTER_MS);
  await work();
  assert.deepEqual(container.registered, ["service-worker.js"]);
  return made;
}

function install({ registration, newer }) {
  const worker = newer();
  registration.installing = worker;
  registration.listeners.updatefound();
  worker.state = "installed";
  registration.waiting = worker;
  worker.listeners.statechange();
}

test("without_service_workers_nothing_is_kept_and_nothing_fails", () => {
  keepPage(undefined, () => assert.fail("nothing is offered"));
});

test("the_first_version_is_no_news", async () => {
  const made = await begun(browser());
  install(made);
  made.container.controller = {};
  made.container.listeners.controllerchange();
  assert.deepEqual([made.world.offers.length, made.world.reloads], [0, 0]);
});

test("a_newer_version_is_offered_and_comes_when_it_is_wished_for", async () => {
  const made = await begun(browser({ controller: {} }));
  install(made);
  assert.equal(made.world.offers.length, 1);
  assert.deepEqual([made.said, made.world.reloads], [[], 0], "nothing happens by itself");
  made.world.offers[0]();
  assert.deepEqual(made.said, ["take-over"]);
  made.container.listeners.controllerchange();
  assert.equal(made.world.reloads, 1);
});

test("a_version_that_waited_already_is_offered", async () => {
  const waiting = { postMessage() {} };
  const made = await begun(browser({ controller: {}, waiting }));
  assert.equal(made.world.offers.length, 1);
});

test("a_version_that_another_tab_wished_for_is_offered_not_forced", async () => {
  const made = await begun(browser({ controller: {} }));
  made.container.listeners.controllerchange();
  assert.deepEqual([made.world.offers.length, made.world.reloads], [1, 0]);
  made.world.offers[0]();
  assert.equal(made.world.reloads, 1);
});

test("a_page_that_stays_open_asks_for_newer_versions", async () => {
  const made = await begun(browser());
  const [[work, ms]] = made.world.every;
  assert.equal(ms, UPDATE_INTERVAL_MS);
  await work();
  assert.equal(made.registration.updates, 1);
});

test("a_browser_that_forbids_it_is_no_error", async () => {
  const made = browser();
  made.container.register = async () => {
    throw new DOMException("no", "SecurityError");
  };
  const waits = [];
  keepPage(made.container, () => assert.fail("nothing is offered"), { wait: (work) => waits.push(work) });
  await waits[0]();
});
