//! Offline use: the registration and the service worker, against fake browser APIs.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";
import { REGISTER_AFTER_MS, UPDATE_INTERVAL_MS, isReplaced, enableOffline } from "../../www/offline.js";

const script = await readFile(new URL("../../www/service-worker.js", import.meta.url), "utf8");
const SCOPE = "https://relay.example/deep/";
const hash = (text) => createHash("sha256").update(text).digest("hex");

/** The version of a page with these files. */
const versionOf = (texts) => hash(JSON.stringify(texts)).slice(0, 16);
/** The address of one of its files. */
const addressIn = (texts, path) => SCOPE + (path === "index.html" ? "" : `v/${versionOf(texts)}/${path}`);

/** A service worker of this version, with caches that outlive it. `locks`: names of locks held by open pages. */
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
    /** Sends a message; returns whether it started work, after that work is done. */
    async say(data) {
      let work = null;
      listeners.message({ data, waitUntil: (given) => (work = given) });
      await work;
      return work !== null;
    },
    /** The text of the response; null if the worker does not handle the request. */
    async ask(url, { method = "GET", mode = "cors" } = {}) {
      let answer = null;
      listeners.fetch({ request: { method, mode, url, integrity: "" }, respondWith: (work) => (answer = work) });
      return answer === null ? null : (await answer).text();
    },
  };
}

/** A response with this URL, which scripts use to resolve imports. */
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

test("all_files_are_cached_and_served_without_relay", async () => {
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

test("other_requests_are_not_handled", async () => {
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

test("file_of_another_version_is_not_cached", async () => {
  const page = worker(FIRST, { served: { ...FIRST, "index.js": "two" } });
  await assert.rejects(page.done("install"), /integrity/);
  const missing = worker(FIRST, { served: { "index.html": "<page>" } });
  await assert.rejects(missing.done("install"), /could not be cached: the relay answered 404/);
});

test("failed_install_caches_nothing", async () => {
  const caches = fakeCaches();
  const first = worker(FIRST, { caches });
  await first.done("install");
  const second = worker(SECOND, { caches, served: { "index.html": "<page>", "pkg/wasm_node_bg.wasm": "wasm" } });
  await assert.rejects(second.done("install"), /the relay answered 404/);
  assert.deepEqual(await caches.keys(), [`heartchain page ${first.version}`], "no half-filled cache");
  assert.equal(await first.ask(addressIn(FIRST, "index.js")), "one", "the older one stays");
});

test("failed_install_of_a_cached_version_deletes_nothing", async () => {
  const caches = fakeCaches();
  await worker(FIRST, { caches }).done("install");
  // The browser evicted the cache and installs the same version again.
  const [name] = await caches.keys();
  const emptied = await caches.open(name);
  await emptied.delete(addressIn(FIRST, "index.js"));
  const again = worker(FIRST, { caches, served: {} });
  await assert.rejects(again.done("install"), /404/);
  assert.deepEqual(await caches.keys(), [name]);
  assert.equal(await again.ask(SCOPE, { mode: "navigate" }), "<page>");
});

test("no_file_is_cached_after_a_failed_install", async () => {
  const caches = fakeCaches();
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`part-${n}.js`, `text ${n}`]));
  const { "part-39.js": _, ...served } = many;
  const page = worker(many, { caches, served });
  await assert.rejects(page.done("install"), /404/);
  const fetched = page.fetched.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(page.fetched.length, fetched, "nothing more is fetched");
  assert.ok(fetched < 40, `${fetched} files were fetched`);
  assert.deepEqual(await caches.keys(), []);
});

test("newer_version_reuses_identical_files", async () => {
  const caches = fakeCaches();
  await worker(FIRST, { caches }).done("install");
  const second = worker(SECOND, { caches });
  await second.done("install");
  assert.deepEqual(second.fetched, ["index.js"]);
  const wasm = addressIn(SECOND, "pkg/wasm_node_bg.wasm");
  assert.equal(await second.ask(wasm), "wasm");
  const cached = await caches.match(wasm, { cacheName: `heartchain page ${second.version}` });
  assert.equal(cached.url, "", "a script of it must not import from the older version");
});

test("newer_worker_gives_an_older_page_its_own_files", async () => {
  const caches = fakeCaches();
  await worker(FIRST, { caches }).done("install");
  const second = worker(SECOND, { caches, locks: [`heartchain page ${versionOf(FIRST)}`, "another lock"] });
  await second.done("install");
  assert.equal(second.skipped(), false, "it must wait");
  await second.say("something else");
  assert.equal(second.skipped(), false);
  await second.say("take-over");
  assert.equal(second.skipped(), true);
  await second.say("tidy-up");
  assert.equal(await second.ask(addressIn(FIRST, "index.js")), "one");
  assert.equal(await second.ask(addressIn(SECOND, "index.js")), "two");
  assert.equal(await second.ask(SCOPE, { mode: "navigate" }), "<page>");
});

test("caches_of_unused_versions_are_deleted", async () => {
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

test("evicted_file_is_fetched_again", async () => {
  const caches = fakeCaches();
  const page = worker(FIRST, { caches });
  await page.done("install");
  for (const name of await caches.keys()) await caches.delete(name);
  assert.equal(await page.ask(addressIn(FIRST, "index.js")), "one");
});

test("page_locks_its_version_from_the_start", async () => {
  const held = [];
  const locks = { request: async (name, options, work) => (held.push([name, options, work]), new Promise(() => {})) };
  const address = "https://relay.example/v/0123456789abcdef/index.js";
  enableOffline(browser().container, () => {}, () => {}, Promise.resolve(), { wait: () => {}, locks, address });
  const [[name, options, work]] = held;
  assert.equal(name, "heartchain page 0123456789abcdef");
  assert.deepEqual(options, { mode: "shared" });
  const over = await Promise.race([work(), new Promise((resolve) => setTimeout(resolve, 20, "still held"))]);
  assert.equal(over, "still held");
  // Served without versions, by a server other than the relay.
  enableOffline(browser().container, () => {}, () => {}, Promise.resolve(), { wait: () => {}, locks, address: "https://relay.example/index.js" });
  assert.equal(held.length, 1);
});

test("page_from_disk_is_not_cached", () => {
  const never = () => assert.fail("it locks no version and registers no worker");
  enableOffline({ register: never }, never, never, Promise.resolve(), {
    wait: (work) => work(), locks: { request: never }, address: "https://relay.example/v/dev/offline.js",
  });
});

test("page_is_replaced_if_its_version_is_not_served", async () => {
  const address = "https://relay.example/v/0123456789abcdef/index.js";
  const answered = (status) => async (url, { method }) => {
    assert.deepEqual([url, method], [address, "HEAD"]);
    return { status };
  };
  assert.equal(await isReplaced({ ask: answered(404), address }), true);
  assert.equal(await isReplaced({ ask: answered(200), address }), false);
  assert.equal(await isReplaced({ ask: async () => { throw new TypeError("no network"); }, address }), false);
  assert.equal(await isReplaced({ ask: answered(404), address: "https://relay.example/index.js" }), false);
});

/** A fake browser registration. */
function browser({ controller = null, waiting = null } = {}) {
  const target = () => {
    const listeners = {};
    return {
      listeners,
      addEventListener: (type, listener) => (listeners[type] = listener),
    };
  };
  const active = { messages: [], postMessage: (data) => active.messages.push(data) };
  const registration = { ...target(), active, waiting, installing: null, updates: 0 };
  registration.update = async () => {
    registration.updates += 1;
    throw new TypeError("no network");
  };
  const container = { ...target(), controller, registered: [] };
  container.register = async (url) => (container.registered.push(url), registration);
  const messages = [];
  const world = {
    offers: [],
    reloads: 0,
    waits: [],
    every: [],
  };
  const newer = () => ({ state: "installing", postMessage: (data) => messages.push(data), ...target() });
  return { container, registration, messages, world, newer };
}

async function begun(made, starting = Promise.resolve()) {
  const { container, world } = made;
  enableOffline(container, (activate) => world.offers.push(activate), () => assert.fail("no warning"), starting, {
    wait: (work, ms) => world.waits.push([work, ms]),
    every: (work, ms) => world.every.push([work, ms]),
    reload: () => (world.reloads += 1),
    locks: undefined,
  });
  assert.deepEqual([container.registered, world.waits], [[], []], "the page itself comes first");
  await starting.catch(() => {});
  const [[work, ms]] = world.waits;
  assert.equal(ms, REGISTER_AFTER_MS);
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

test("missing_service_workers_are_not_an_error", () => {
  enableOffline(undefined, () => assert.fail("nothing is offered"), () => assert.fail("no warning"), Promise.resolve());
});

test("registration_waits_for_the_node", async () => {
  for (const outcome of ["started", "failed"]) {
    let settle;
    const starting = new Promise((resolve, reject) => (settle = outcome === "started" ? resolve : reject));
    setTimeout(() => settle(new Error("the node")), 20);
    const made = await begun(browser(), starting);
    assert.deepEqual(made.container.registered, ["service-worker.js"], outcome);
  }
});

test("first_version_is_not_offered", async () => {
  const made = await begun(browser());
  install(made);
  made.container.controller = {};
  made.container.listeners.controllerchange();
  assert.deepEqual([made.world.offers.length, made.world.reloads], [0, 0]);
});

test("newer_version_activates_when_accepted", async () => {
  const made = await begun(browser({ controller: {} }));
  install(made);
  assert.equal(made.world.offers.length, 1);
  assert.deepEqual([made.messages, made.world.reloads], [[], 0], "nothing happens until the user accepts");
  made.world.offers[0]();
  assert.deepEqual(made.messages, ["take-over"]);
  made.container.listeners.controllerchange();
  assert.equal(made.world.reloads, 1);
});

test("version_already_waiting_is_offered", async () => {
  const waiting = { postMessage() {} };
  const made = await begun(browser({ controller: {}, waiting }));
  assert.equal(made.world.offers.length, 1);
});

test("version_accepted_elsewhere_is_only_offered", async () => {
  const made = await begun(browser({ controller: {} }));
  made.container.listeners.controllerchange();
  assert.deepEqual([made.world.offers.length, made.world.reloads], [1, 0]);
  made.world.offers[0]();
  assert.equal(made.world.reloads, 1);
});

test("page_asks_to_delete_old_versions", async () => {
  const made = await begun(browser());
  assert.deepEqual(made.registration.active.messages, ["tidy-up"]);
});

test("open_page_checks_for_newer_versions", async () => {
  const made = await begun(browser());
  const [[work, ms]] = made.world.every;
  assert.equal(ms, UPDATE_INTERVAL_MS);
  await work();
  assert.equal(made.registration.updates, 1);
});

test("forbidden_registration_is_not_an_error", async () => {
  const made = browser();
  made.container.register = async () => {
    throw new DOMException("no", "SecurityError");
  };
  const waits = [];
  enableOffline(made.container, () => assert.fail("nothing is offered"), () => assert.fail("no warning"), Promise.resolve(), { wait: (work) => waits.push(work) });
  await null;
  await waits[0]();
});

test("a certificate that is not trusted is explained", async () => {
  for (const [message, warnings] of [
    ["Failed to register a ServiceWorker: An SSL certificate error occurred when fetching the script.", 1],
    ["The operation is insecure.", 0],
  ]) {
    let warned = 0;
    const register = () => Promise.reject(new Error(message));
    let registering;
    enableOffline({ register }, () => assert.fail("nothing is offered"), () => (warned += 1), Promise.resolve(), {
      wait: (work) => (registering = work()),
      locks: undefined,
      address: "https://relay.example/index.js",
    });
    await null;
    await registering;
    assert.equal(warned, warnings, message);
  }
});
