//! The peer in a React app that Vite serves in development, with StrictMode, in Chromium. Prints a line for each scenario.
//!
//!   node run.mjs RELAY    the relay's program

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { createServer } from "vite";
import { Chromium, Program, freePort, until } from "../browsers/drivers.mjs";

const [relayProgram] = process.argv.slice(2);
const root = fileURLToPath(new URL(".", import.meta.url));

/** How often the component is mounted and unmounted; StrictMode starts a peer twice at each. */
const CYCLES = 200;

/** What 180 further cycles may add: the browser's own bookkeeping differs by a few percent. */
const MOST_GROWTH = 1.15;

/** Counts the workers and the connections to databases that a page has open. */
const COUNT = `
  globalThis.workers = 0;
  globalThis.Worker = class extends Worker {
    constructor(...options) { super(...options); workers += 1; }
    terminate() { workers -= 1; super.terminate(); }
  };
  // A connection also closes when it is collected.
  const connections = [];
  const closed = new WeakSet();
  const { open } = IDBFactory.prototype;
  IDBFactory.prototype.open = function (...options) {
    const request = open.apply(this, options);
    request.addEventListener("success", () => connections.push(new WeakRef(request.result)));
    return request;
  };
  const { close } = IDBDatabase.prototype;
  IDBDatabase.prototype.close = function () { closed.add(this); close.call(this); };
  globalThis.databases = () => connections.map((connection) => connection.deref()).filter((open) => open && !closed.has(open)).map(({ name }) => name);
`;

/** A stopped peer tells the list of rooms what it has stored, at most so many ms later. */
const LIST_REST_MS = 3_000;

/** What Chromium prints when a page closes a connection that it has just begun. A page cannot suppress it. */
const HARMLESS = /WebSocket is closed before the connection is established/;

let failures = 0;

async function scenario(name, work) {
  const began = performance.now();
  let outcome = "ok";
  try {
    outcome = (await work()) ?? outcome;
  } catch (error) {
    outcome = `FAILED: ${error.message}`;
    failures += 1;
  }
  console.log(`${name.padEnd(34)} ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${outcome}`);
}

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** Copies the package from the page that the relay serves. */
async function savePackage(url, folder) {
  const page = await (await fetch(url)).text();
  const version = /"(v\/[^/"]+\/)index\.js"/.exec(page)[1];
  for (const file of ["miner.js", "pkg/wasm_node.js", "pkg/wasm_node_bg.wasm"]) {
    const answer = await fetch(new URL(version + file, url));
    check(answer.ok, `${file}: ${answer.status}`);
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), Buffer.from(await answer.arrayBuffer()));
  }
}

async function serve(folder, port, relayDocument) {
  const server = await createServer({
    root, configFile: false, logLevel: "error", cacheDir: join(folder, "vite"),
    plugins: [react()],
    define: { RELAY_DOCUMENT: JSON.stringify(relayDocument) },
    resolve: { alias: { heartchain: folder } },
    server: { host: "127.0.0.1", port, strictPort: true, fs: { allow: [root, folder] } },
  });
  await server.listen();
  return server;
}

const text = (tab) => tab.evaluate("document.querySelector('#state').textContent");

async function record(tab, block) {
  await tab.evaluate("document.querySelector('#state button').click()");
  await until(`block ${block}`, async () => (await text(tab)) === `Record block ${block}`);
}

async function collectGarbage(tab) {
  for (let times = 0; times < 3; times += 1) await tab.evaluate("(async () => { gc(); await new Promise((resolve) => setTimeout(resolve, 100)); })()");
}

/** What a page holds after its garbage is collected. */
async function held(tab) {
  await new Promise((resolve) => setTimeout(resolve, LIST_REST_MS));
  await collectGarbage(tab);
  await tab.devtools("HeapProfiler.collectGarbage");
  const { metrics } = await tab.devtools("Performance.getMetrics");
  const metric = (wanted) => metrics.find(({ name }) => name === wanted).value;
  const { workers, names } = await tab.evaluate("({ workers, names: databases() })");
  return { listeners: metric("JSEventListeners"), bytes: metric("JSHeapUsedSize"), workers, databases: names.length, names };
}

async function cycle(tab, count) {
  await tab.evaluate(`(async () => {
    const until = async (holds) => { while (!holds()) await new Promise((next) => setTimeout(next, 5)); };
    const state = () => document.querySelector("#state").textContent;
    for (let i = 0; i < ${count}; i += 1) {
      show(false);
      await until(() => state() === "none");
      show(true);
      await until(() => state().startsWith("Record"));
    }
  })()`);
}

const folder = mkdtempSync(join(tmpdir(), "heartchain-react-"));
let [relay, server, chromium] = [null, null, null];
try {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const args = ["--http-port", "0", "--webrtc-port", "0", "--stun-port", "0", "--data-dir", join(folder, "relay"), "--allow-origin", origin];
  relay = new Program(relayProgram, args);
  const [, url] = await relay.says(/Open (http:\S+) /);
  await savePackage(url, folder);
  server = await serve(folder, port, new URL("relay.json", url).href);
  chromium = await Chromium.start();
  const tab = await chromium.tab();
  await tab.devtools("Page.addScriptToEvaluateOnNewDocument", { source: COUNT });
  await tab.devtools("Performance.enable");

  let peer;
  await scenario("StrictMode mounts twice", async () => {
    await tab.open(origin);
    await until("the peer", async () => (await text(tab)).startsWith("Record"));
    const { mounts, peers, errors } = await tab.evaluate("seen");
    check(mounts === 2 && peers.length === 1 && errors.length === 0, JSON.stringify({ mounts, peers, errors }));
    [peer] = peers;
    await record(tab, 1);
  });
  await scenario("the peer outlives garbage", async () => {
    await collectGarbage(tab);
    await record(tab, 2);
  });
  await scenario("a reload keeps its identity", async () => {
    await tab.reload();
    await until("the chain", async () => (await text(tab)) === "Record block 2");
    const { peers } = await tab.evaluate("seen");
    check(peers.length === 1 && peers[0] === peer, `${peer} became ${peers}`);
  });
  await scenario(`${CYCLES} mounts do not grow`, async () => {
    await record(tab, 3); // starts a worker
    await cycle(tab, CYCLES / 10);
    const before = await held(tab);
    for (let round = 1; round < 10; round += 1) await cycle(tab, CYCLES / 10);
    const after = await held(tab);
    const { peers, errors } = await tab.evaluate("seen");
    check(errors.length === 0, errors[0]);
    check(new Set(peers).size === 1 && peers.length === CYCLES + 1, `${new Set(peers).size} identities in ${peers.length} starts`);
    for (const what of ["workers", "databases"]) check(after[what] <= before[what], `${before[what]} became ${after[what]} ${what}: ${after.names}`);
    for (const what of ["listeners", "bytes"]) check(after[what] <= before[what] * MOST_GROWTH, `${before[what]} became ${after[what]} ${what}`);
    await record(tab, 4);
    return `ok, ${after.listeners} listeners, ${(after.bytes / 1e6).toFixed(1)} MB, ${after.workers} workers, ${after.databases} databases`;
  });
  await scenario("prints no error", async () => {
    const printed = (await tab.printed()).filter((line) => !HARMLESS.test(line));
    check(printed.length === 0, printed.slice(0, 3).join(" | "));
  });
} catch (error) {
  failures += 1;
  console.log(`FAILED: ${error.stack}`);
} finally {
  await chromium?.end();
  await server?.close();
  await relay?.end();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failures === 0 ? 0 : 1);
