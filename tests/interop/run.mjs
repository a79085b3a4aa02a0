//! Interoperability tests between js-libp2p and this repository's peers in real pages. Run them with
//! `tests/run.sh interop`, or
//!
//!     node run.mjs FOLDER_OF_INTEROP_PEER [ROUNDS [NAME_OF_A_SCENARIO]]
//!
//! Each scenario checks what both sides observe, and that no page reports an error.

import { Stage, until } from "./stage.mjs";

const MEBIBYTE = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 30_000;
/** Time limit for our side to notice a closed connection. It takes about 5 ms on an idle machine; Chromium takes 6 s. */
const RUST_CLOSE_TIMEOUT_MS = 5_000;
/** The same for js-libp2p, which waits until the browser considers the peer lost. We measured 8 to 14 s. */
const JS_CLOSE_TIMEOUT_MS = 30_000;
const ECHO = "/interop/echo/1";
const HOP = "/libp2p/circuit/relay/0.2.0/hop";

const [wasm, rounds = "50", only = ""] = process.argv.slice(2);
const stage = await Stage.open({ wasm });
let failed = 0;
try {
  const relay = await stage.heartchainRelay();
  for (const scenario of [jsDialsRelay, websysDialsRelay, jsOffersToRust, rustOffersToJs, jsOffersToTab, tabOffersToJs, jsRelayServesTwoTabs, exampleTabsTalk]) {
    if (!scenario.name.includes(only)) continue;
    const start = Date.now();
    try {
      const summary = await scenario(relay, Number(rounds));
      const errors = stage.takeErrors();
      if (errors.length > 0) throw new Error(`errors in pages:\n${errors.join("\n")}`);
      console.log(`ok      ${scenario.name}: ${summary} (${Date.now() - start} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${scenario.name}: ${error.stack}`);
      console.log(stage.takeErrors().join("\n"));
    }
  }
} finally {
  await stage.close();
}
process.exit(failed === 0 ? 0 : 1);

/** Pages with js-libp2p dial our relay by WebRTC-direct and reserve there, one after the other. */
async function jsDialsRelay(relay, times) {
  const id = relay.direct.split("/p2p/")[1];
  const dials = [];
  for (let round = 0; round < times; round += 1) {
    const js = await peer("js");
    const start = Date.now();
    await js.call("dial", relay.direct);
    dials.push(Date.now() - start);
    const [{ address }] = await js.call("connections", id);
    if (!address.includes("/webrtc-direct/")) throw new Error(`round ${round}: connected by ${address}`);
    const { agent, protocols } = await js.call("identify", id);
    if (!agent || !protocols.includes(HOP)) throw new Error(`round ${round}: agent ${agent}, protocols ${protocols}`);
    const time = await js.call("ping", id);
    if (!(time >= 0)) throw new Error(`round ${round}: a ping of ${time}`);
    await js.call("listen", relay.direct);
    await js.end();
  }
  return `${times} rounds, dialled in ${medianAndRange(dials)} ms`;
}

/** The browser transport of rust-libp2p, as published, dials our relay with new keys each time. */
async function websysDialsRelay(relay, times) {
  const visits = [];
  for (let round = 0; round < times; round += 1) {
    const websys = await peer("websys");
    const start = Date.now();
    const agent = await websys.call("visit", relay.direct);
    visits.push(Date.now() - start);
    if (!agent) throw new Error(`round ${round}: no agent`);
    await websys.end();
  }
  // libp2p-webrtc-websys 0.5.0 drops the handlers of a channel before the browser is done with it.
  const errors = stage.takeErrors().filter((error) => !error.includes("closure invoked recursively or after being dropped"));
  if (errors.length > 0) throw new Error(errors.join("\n"));
  return `${times} rounds, dialled, identified and pinged in ${medianAndRange(visits)} ms`;
}

function jsOffersToRust(relay, times) {
  return meet(relay, "js", "rust", times);
}

function rustOffersToJs(relay, times) {
  return meet(relay, "rust", "js", times);
}

/**
 * The offerer dials the answerer; then both run identify, ping and an echo of 1 MiB. js-libp2p closes the connection in
 * every round but the last, where the Rust peer does.
 */
async function meet(relay, offerer, answerer, times) {
  const [one, other] = [await peer(offerer), await peer(answerer)];
  await other.call("listen", relay.address);
  const address = `${relay.address}/p2p-circuit/webrtc/p2p/${other.id}`;
  const dials = [];
  for (let round = 0; round < times; round += 1) {
    const start = Date.now();
    await one.call("dial", address);
    dials.push(Date.now() - start);
    await until("a direct connection", async () => (await directs(other, one)) === 1, CONNECT_TIMEOUT_MS);
    const carried = [await one.carried(), await other.carried()];
    for (const [us, them] of [[one, other], [other, one]]) {
      const { agent, protocols } = await us.call("identify", them.id);
      if (!agent || !protocols.includes(ECHO)) {
        throw new Error(`round ${round}: ${us.kind} got agent ${agent} and protocols ${protocols}`);
      }
      const time = await us.call("ping", them.id);
      if (!(time >= 0)) throw new Error(`round ${round}: ${us.kind} measured a ping of ${time}`);
      await us.call("echo", them.id, MEBIBYTE);
    }
    for (const [index, us] of [one, other].entries()) {
      const bytes = (await us.carried()) - carried[index];
      if (bytes < 2 * MEBIBYTE) throw new Error(`round ${round}: only ${bytes} bytes reached ${us.kind} directly`);
    }
    const byUs = round === times - 1;
    const [closer, closed] = (one.kind === "rust") === byUs ? [one, other] : [other, one];
    await closer.call("close", closed.id);
    const gone = async () => (await closed.call("connections", closer.id)).length === 0;
    const limit = byUs ? JS_CLOSE_TIMEOUT_MS : RUST_CLOSE_TIMEOUT_MS;
    await until(`${closed.kind} notices the close in round ${round}`, gone, limit);
  }
  await Promise.all([one.end(), other.end()]);
  return `${times} rounds, dialled in ${medianAndRange(dials)} ms`;
}

async function jsOffersToTab(relay, times) {
  const tab = await stage.page(relay.page);
  const { peerId, genesis } = await reserved(tab);
  const js = await peer("js", { refused: [`/heartchain/2/${genesis}/sync`] });
  const dials = [];
  for (let round = 0; round < times; round += 1) {
    const start = Date.now();
    await js.call("dial", `${relay.address}/p2p-circuit/webrtc/p2p/${peerId}`);
    dials.push(Date.now() - start);
    await checkTabFromJs(js, peerId, genesis);
    const path = () => tab.evaluate((id) => heartchain.peers().find(({ peerId }) => peerId === id)?.path, js.id);
    await until("the tab lists js-libp2p as direct", async () => (await path()) === "direct", CONNECT_TIMEOUT_MS);
    await js.call("close", peerId);
    await until("the tab sees the end", async () => (await path()) === undefined, RUST_CLOSE_TIMEOUT_MS);
  }
  await Promise.all([js.end(), tab.end()]);
  return `${times} rounds, dialled in ${medianAndRange(dials)} ms`;
}

async function tabOffersToJs(relay, times) {
  const first = await stage.page(relay.page);
  const { genesis } = await reserved(first);
  await first.end();
  const js = await peer("js", { refused: [`/heartchain/2/${genesis}/sync`] });
  await js.call("listen", relay.address);
  const named = encodeURIComponent(`${relay.address}/p2p-circuit/p2p/${js.id}`);
  const starts = [];
  for (let round = 0; round < times; round += 1) {
    const tab = await stage.page(`${relay.page}?peer=${named}`);
    const { peerId } = await reserved(tab);
    await until("a direct connection", async () => (await directs(js, { id: peerId })) === 1, CONNECT_TIMEOUT_MS);
    starts.push(Date.now() - tab.started);
    await checkTabFromJs(js, peerId, genesis);
    // The tab redials immediately, so listen for the event instead of polling.
    await tab.evaluate((id) => {
      const isDirect = ({ peerId, path }) => peerId === id && path === "direct";
      heartchain.addEventListener("peers", ({ detail }) => {
        if (!detail.some(isDirect)) globalThis.sawDisconnect = true;
      });
    }, js.id);
    await js.call("close", peerId);
    await until("the tab sees the end", () => tab.evaluate(() => globalThis.sawDisconnect), RUST_CLOSE_TIMEOUT_MS);
    await tab.end();
  }
  await js.end();
  return `${times} rounds, from page start to connected in ${medianAndRange(starts)} ms`;
}

async function checkTabFromJs(js, peerId, genesis) {
  const { agent, protocols } = await js.call("identify", peerId);
  const speaks = protocols.includes(`/heartchain/2/${genesis}/sync`);
  if (!agent.startsWith("heartchain/") || !speaks) {
    throw new Error(`js-libp2p got agent ${agent} and protocols ${protocols}`);
  }
  await js.call("ping", peerId);
}

/** Two tabs know only a relay of js-libp2p, and one of them the other's address. Then the relay is killed. */
async function jsRelayServesTwoTabs({ page }) {
  const relay = await stage.jsRelay();
  const named = encodeURIComponent(relay.address);
  const one = await stage.page(`${page}?relay=${named}`);
  const { peerId } = await reserved(one);
  const address = encodeURIComponent(`${relay.address}/p2p-circuit/p2p/${peerId}`);
  const other = await stage.page(`${page}?relay=${named}&peer=${address}`);
  await reserved(other);
  const path = (tab) => tab.evaluate(() => heartchain.peers().find(({ path }) => path !== "relay")?.path);
  for (const tab of [one, other]) {
    await until("a direct connection", async () => (await path(tab)) === "direct", CONNECT_TIMEOUT_MS);
  }
  const took = Date.now() - other.started;
  await transferReading(one, other, 71);
  relay.kill();
  const lost = (tab) => tab.evaluate(() => heartchain.status().relays.every(({ connected }) => !connected));
  await until("both tabs notice the dead relay", async () => (await lost(one)) && (await lost(other)), CONNECT_TIMEOUT_MS);
  await transferReading(other, one, 72);
  await Promise.all([one.end(), other.end()]);
  // The browser logs an error when the tab redials the relay in vain.
  const isRefusedDial = (error) => error.includes("WebSocket connection to") && error.includes("ERR_CONNECTION_REFUSED");
  const errors = stage.takeErrors().filter((error) => !isRefusedDial(error));
  if (errors.length > 0) throw new Error(errors.join("\n"));
  return `direct ${took} ms after the start of the second tab, and still connected without the relay`;
}

/** The behaviour described in the README of `wasm-node/webrtc/examples/two_tabs`. */
async function exampleTabsTalk() {
  const relay = await stage.exampleRelay();
  const one = await stage.page(relay.page);
  const link = one.getByRole("link", { name: "Open this in another tab" });
  await link.waitFor();
  const other = await stage.page(await link.evaluate(({ href }) => href));
  for (const tab of [one, other]) await tab.getByText("Connected directly.").waitFor();
  await sendLine(one, other, "Can you hear me?");
  // A frozen relay is not detected yet, so this fails if a message still depends on it.
  relay.freeze();
  await sendLine(other, one, "Also while the relay hangs.");
  await sendLine(one, other, "And the other way.");
  relay.kill();
  await sendLine(other, one, "Also without the relay.");
  await Promise.all([one.end(), other.end()]);
  return "messages still arrive after the relay is gone";
}

async function sendLine(from, to, line) {
  await from.getByLabel("Say something").fill(line);
  await from.getByRole("button", { name: "Send" }).click();
  await to.getByText(`They: ${line}`).waitFor();
}

async function transferReading(from, to, bpm) {
  const { id } = await from.evaluate((bpm) => heartchain.record(bpm), bpm);
  const has = () =>
    to.evaluate(async (id) => {
      const { tip } = heartchain.status();
      const blocks = await heartchain.blocks(Math.max(0, tip.index - 20), tip.index);
      return [...heartchain.pending(), ...blocks.flatMap(({ readings }) => readings)].some((reading) => reading.id === id);
    }, id);
  await until(`a reading of ${bpm} in the other tab`, has, CONNECT_TIMEOUT_MS);
}

/** Opens a page with a peer of this kind. `call` calls a method of the peer by name. */
async function peer(kind, options = {}) {
  const page = await stage.page(kind);
  await page.waitForFunction(() => globalThis.startPeer);
  const id = await page.evaluate((options) => startPeer(options), options);
  return {
    kind,
    id,
    call: (method, ...values) => page.evaluate(([method, values]) => globalThis.peer[method](...values), [method, values]),
    carried: () => page.evaluate(() => carriedDirectly()),
    end: () => page.end(),
  };
}

async function directs(us, { id }) {
  return (await us.call("connections", id)).filter(({ direct }) => direct).length;
}

/** Returns the status of a tab, once it has a reservation at a relay. */
async function reserved(tab) {
  await tab.waitForFunction(() => globalThis.heartchain?.status().relays.some(({ reserved }) => reserved));
  return tab.evaluate(() => heartchain.status());
}

function medianAndRange(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return `${sorted[Math.floor(sorted.length / 2)]} (${sorted[0]} to ${sorted.at(-1)})`;
}
