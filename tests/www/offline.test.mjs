//! How the page has itself kept, and what its worker answers for, with everything around them made up.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";
import { KEEP_AFTER_MS, UPDATE_INTERVAL_MS, isReplaced, keepPage } from "../../www/offline.js";

const script = await readFile(new URL("../../www/service-worker.js", import.meta.url), "utf8");
const SCOPE = "https://relay.example/deep/";
const hash = (text) => createHash("sha256").update(text).digest("hex");

/** The version of a page that has these files. */
const versionOf = (texts) => hash(JSON.stringify(texts)).slice(0, 16);
/** Where a file of it is. */
const addressIn = (texts, path) => SCOPE + (path === "index.html" ? "" : `v/${versionOf(texts)}/${path}`);

/** A service worker of this version, over caches that outlive it. `locks`: names that open pages hold. */
function worker(texts, { caches = fakeCaches(), served = texts, locks = [] } = {}) {
  const files = Object.fromEntries(Object.entries(texts).map(([path, text]) => [path, hash(text)]));
  const version = versionOf(texts);
  const listeners = {};
  const fetched = [];
  const fetch = async (request) => {
    const path = request.url === SCOPE ? "index.html" : request.url.slice(`${SCOPE}v/${version}/`.length);
    fetched.push(path);
    const text = served[path];
    if (text === undefined) return new Response("", { status: 404 });
    const right = `sha256-${createHash("sha256").update(text).digest("base64")}`;
    if (request.integrity && request.integrity !== right) throw new TypeError("integrity");
    return from(request.url, new Response(text, { headers: { etag: `"${hash(text)}br"` } }));
  };
  let skipped = false;
  const self = {
    registration: { scope: SCOPE, active: {}, installing: null, waiting: null },
    navigator: { locks: { query: async () => ({ held: locks.map((name) => ({ name })), pending: [] }) } },
    addEventListener: (type, listener) => (listeners[type] = listener),
    skipWaiting: () => (skipped = true),
  };
  const source = `const PRECACHE = ${JSON.stringify({ version, files })};\n${script}`;
  vm.runInNewContext(source, { self, caches, fetch, Request, Response, URL, btoa, Object, Promise });
  return {
    fetched,
    version,
    registration: self.registration,
    skipped: () => skipped,
    done: (type) => new Promise((resolve, reject) => listeners[type]({ waitUntil: (work) => work.then(resolve, reject) })),
    /** Whether what it is told gives it work; awaits that. */
    async say(data) {
      let work = null;
      listeners.message({ data, waitUntil: (given) => (work = given) });
      await work;
      return work !== null;
    },
    /** The answer's text; null: left to the network. */
    async ask(url, { method = "GET", mode = "cors" } = {}) {
      let answer = null;
      listeners.fetch({ request: { method, mode, url, integrity: "" }, respondWith: (work) => (answer = work) });
      return answer === null ? null : (await answer).text();
    },
  };
}

/** A response that came from there, which scripts take for their own address. */
const from = (url, response) => Object.defineProperty(response, "url", { value: url });
const copyOf = (response) => response && from(response.url, response.clone());

function fakeCaches() {
  const all = new Map();
  const open = async (name) => {
    if (!all.has(name)) all.set(name, new Map());
    const cache = all.get(name);
    return {
      put: async (address, response) => void cache.set(address, copyOf(response)),
      match: async (address) => copyOf(cache.get(address)),
      delete: async (address) => cache.delete(address),
    };
  };
  return {
    open,
    keys: async () => [...all.keys()],
    delete: async (name) => all.delete(name),
    async match(address, { cacheName }) {
      return copyOf(all.get(cacheName)?.get(address));
    },
  };
}

const FIRST = { "index.html": "<page>", "index.js": "one", "pkg/wasm_node_bg.wasm": "wasm" };
const SECOND = { ...FIRST, "index.js": "two" };

test("all_files_are_kept_and_answered_for_without_the_relay", async () => {
  const served = { ...FIRST };
  const page = worker(FIRST, { served });
  await page.done("install");
  assert.deepEqual(page.fetched.sort(), Object.keys(FIRST).sort());
  for (const path of Object.keys(served)) delete served[path];
  assert.equal(await page.ask(SCOPE, { mode: "navigate" }), "<page>");
  assert.equal(await page.ask(`${SCOPE}?relay=/ip4/1.2.3.4#room=x`, { mode: "navigate" }), "<page>");
  assert.equal(await page.ask(`${SCOPE}index.html`, { mode: "navigate" }), "<page>");
  assert.equal(await page.ask(addressIn(FIRST, "index.js")), "one");
  assert.equal(await page.ask(addressIn(FIRST, "pkg/wasm_node_bg.wasm")), "wasm");
});

test("nothing_else_is_answered_for", async () => {
  const page = worker(FIRST);
  await page.done("install");
  for (const [url, options] of [
    [`${SCOPE}relay.json`],
    [`${SCOPE}relay.json`, { mode: "navigate" }],
    [`${addressIn(FIRST, "index.js")}?newer`],
    [`${SCOPE}index.js`],
    [`${SCOPE}v/${versionOf(FIRST)}/`],
    [`${SCOPE}v/none/index.js`],
    [addressIn(FIRST, "index.js"), { method: "POST" }],
    [addressIn(FIRST, "index.js"), { method: "HEAD" }],
    [addressIn(FIRST, "index.js"), { mode: "navigate" }],
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

test("failed_install_keeps_nothing_of_its_version", async () => {
  const caches = fakeCaches();
  const first = worker(FIRST, { caches });
  await first.done("install");
  const second = worker(SECOND, { caches, served: { "index.html": "<page>", "pkg/wasm_node_bg.wasm": "wasm" } });
  await assert.rejects(second.done("install"), /the relay answered 404/);
  assert.deepEqual(await caches.keys(), [`heartchain page ${first.version}`], "no half-filled cache");
  assert.equal(await first.ask(addressIn(FIRST, "index.js")), "one", "the older one stays");
});

test("failed_install_of_a_kept_version_deletes_nothing", async () => {
  const caches = fakeCaches();
  await worker(FIRST, { caches }).done("install");
  // The browser has made room, and asks for the same version again.
  const [name] = await caches.keys();
  const emptied = await caches.open(name);
  await emptied.delete(addressIn(FIRST, "index.js"));
  const again = worker(FIRST, { caches, served: {} });
  await assert.rejects(again.done("install"), /404/);
  assert.deepEqual(await caches.keys(), [name]);
  assert.equal(await again.ask(SCOPE, { mode: "navigate" }), "<page>");
});

test("no_file_is_kept_after_a_failed_install", async () => {
  const caches = fakeCaches();
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`part-${n}.js`, `text ${n}`]));
  const { "part-39.js": _, ...served } = many;
  const page = worker(many, { caches, served });
  await assert.rejects(page.done("install"), /404/);
  const fetched = page.fetched.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(page.fetched.length, fetched, "nothing is fetched any more");
  assert.ok(fetched < 40, `${fetched} files were fetched`);
  assert.deepEqual(await caches.keys(), []);
});

test("newer_version_takes_along_what_is_the_same", async () => {
  const caches = fakeCaches();
  await worker(FIRST, { caches }).done("install");
  const second = worker(SECOND, { caches });
  await second.done("install");
  assert.deepEqual(second.fetched, ["index.js"]);
  const wasm = addressIn(SECOND, "pkg/wasm_node_bg.wasm");
  assert.equal(await second.ask(wasm), "wasm");
  const kept = await caches.match(wasm, { cacheName: `heartchain page ${second.version}` });
  assert.equal(kept.url, "", "a script of it must not import from the older version");
});

test("newer_worker_gives_an_older_page_its_own_files", async () => {
  const caches = fakeCaches();
  await worker(FIRST, { caches }).done("install");
  const second = worker(SECOND, { caches, locks: [`heartchain page ${versionOf(FIRST)}`, "another lock"] });
  await second.done("install");
  assert.equal(second.skipped(), false, "it waits");
  await second.say("something else");
  assert.equal(second.skipped(), false);
  await second.say("take-over");
  assert.equal(second.skipped(), true);
  await second.say("tidy-up");
  assert.equal(await second.ask(addressIn(FIRST, "index.js")), "one");
  assert.equal(await second.ask(addressIn(SECOND, "index.js")), "two");
  assert.equal(await second.ask(SCOPE, { mode: "navigate" }), "<page>");
});

test("versions_without_tabs_are_forgotten", async () => {
  const caches = fakeCaches();
  await (await caches.open("another page's")).put("x", new Response("x"));
  await worker(FIRST, { caches }).done("install");
  const second = worker(SECOND, { caches });
  await second.done("install");
  for (const [name, value] of [["waiting", {}], ["installing", {}], ["active", null]]) {
    const before = second.registration[name];
    second.registration[name] = value;
    await second.say("tidy-up");
    assert.equal((await caches.keys()).length, 3, `not while ${name} is ${value}`);
    second.registration[name] = before;
  }
  await second.say("tidy-up");
  assert.deepEqual(await caches.keys(), ["another page's", `heartchain page ${second.version}`]);
});

test("what_the_browser_has_thrown_away_is_fetched_again", async () => {
  const caches = fakeCaches();
  const page = worker(FIRST, { caches });
  await page.done("install");
  for (const name of await caches.keys()) await caches.delete(name);
  assert.equal(await page.ask(addressIn(FIRST, "index.js")), "one");
});

test("a_page_holds_its_version_from_its_beginning", async () => {
  const held = [];
  const locks = { request: async (name, options, work) => (held.push([name, options, work]), new Promise(() => {})) };
  const address = "https://relay.example/v/0123456789abcdef/index.js";
  keepPage(browser().container, () => {}, { wait: () => {}, locks, address });
  const [[name, options, work]] = held;
  assert.equal(name, "heartchain page 0123456789abcdef");
  assert.deepEqual(options, { mode: "shared" });
  const over = await Promise.race([work(), new Promise((resolve) => setTimeout(resolve, 20, "still held"))]);
  assert.equal(over, "still held");
  // Served without versions, by another server than the relay.
  keepPage(browser().container, () => {}, { wait: () => {}, locks, address: "https://relay.example/index.js" });
  assert.equal(held.length, 1);
});

test("a_page_is_replaced_when_its_version_is_not_served", async () => {
  const address = "https://relay.example/v/0123456789abcdef/index.js";
  const answered = (status) => async (asked, { method }) => {
    assert.deepEqual([asked, method], [address, "HEAD"]);
    return { status };
  };
  assert.equal(await isReplaced({ ask: answered(404), address }), true);
  assert.equal(await isReplaced({ ask: answered(200), address }), false);
  assert.equal(await isReplaced({ ask: async () => { throw new TypeError("no network"); }, address }), false);
  assert.equal(await isReplaced({ ask: answered(404), address: "https://relay.example/index.js" }), false);
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
  const active = { said: [], postMessage: (data) => active.said.push(data) };
  const registration = { ...target(), active, waiting, installing: null, updates: 0 };
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
    locks: undefined,
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

test("a_page_has_old_versions_tidied_up", async () => {
  const made = await begun(browser());
  assert.deepEqual(made.registration.active.said, ["tidy-up"]);
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
