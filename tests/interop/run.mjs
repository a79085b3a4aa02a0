//! js-libp2p and this repository's peers meet, in real pages, again and again: `tests/run.sh interop`, or
//!
//!     node run.mjs FOLDER_OF_INTEROP_PEER [ROUNDS [NAME_OF_A_SCENARIO]]
//!
//! Each scenario checks what both sides see, and that no page complains.

import { Stage, until } from "./stage.mjs";

const MEBIBYTE = 1024 * 1024;
const CONNECTED_MS = 30_000;
/** Our side must know of a connection's end within this time: some 5 ms on a quiet machine. Chromium says so after 6 s. */
const CLOSED_MS = 5_000;
/** js-libp2p waits for the browser to take a peer for lost, also of its own kind: 8 to 14 s were seen. */
const CLOSED_BY_US_MS = 30_000;
const ECHO = "/interop/echo/1";

const [wasm, rounds = "50", only = ""] = process.argv.slice(2);
const stage = await Stage.open({ wasm });
let failed = 0;
try {
  const relay = await stage.heartchainRelay();
  for (const scenario of [jsOffersToRust, rustOffersToJs, jsOffersToTab, tabOffersToJs, jsRelayServesTwoTabs, exampleTabsTalk]) {
    if (!scenario.name.includes(only)) continue;
    const start = Date.now();
    try {
      const told = await scenario(relay, Number(rounds));
      const faults = stage.takeFaults();
      if (faults.length > 0) throw new Error(`pages complain:\n${faults.join("\n")}`);
      console.log(`ok      ${scenario.name}: ${told} (${Date.now() - start} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${scenario.name}: ${error.stack}`);
      console.log(stage.takeFaults().join("\n"));
    }
  }
} finally {
  await stage.close();
}
process.exit(failed === 0 ? 0 : 1);

function jsOffersToRust(relay, times) {
  return meet(relay, "js", "rust", times);
}

function rustOffersToJs(relay, times) {
  return meet(relay, "rust", "js", times);
}

/** The one dials the other; identify, ping and a mebibyte there and back, both ways. js-libp2p ends it, but for the last time. */
async function meet(relay, offerer, answerer, times) {
  const [one, other] = [await peer(offerer), await peer(answerer)];
  await other.call("listen", relay.address);
  const address = `${relay.address}/p2p-circuit/webrtc/p2p/${other.id}`;
  const dials = [];
  for (let round = 0; round < times; round += 1) {
    const start = Date.now();
    await one.call("dial", address);
    dials.push(Date.now() - start);
    await until("a direct connection", async () => (await directs(other, one)) === 1, CONNECTED_MS);
    const carried = [await one.carried(), await other.carried()];
    for (const [us, them] of [[one, other], [other, one]]) {
      const { agent, protocols } = await us.call("identify", them.id);
      if (!agent || !protocols.includes(ECHO)) throw new Error(`round ${round}: ${us.kind} hears ${agent}, ${protocols}`);
      const time = await us.call("ping", them.id);
      if (!(time >= 0)) throw new Error(`round ${round}: ${us.kind} pings in ${time}`);
      await us.call("echo", them.id, MEBIBYTE);
    }
    for (const [index, us] of [one, other].entries()) {
      const bytes = (await us.carried()) - carried[index];
      if (bytes < 2 * MEBIBYTE) throw new Error(`round ${round}: only ${bytes} bytes came to ${us.kind} directly`);
    }
    const byUs = round === times - 1;
    const [closer, closed] = (one.kind === "rust") === byUs ? [one, other] : [other, one];
    await closer.call("close", closed.id);
    const gone = async () => (await closed.call("connections", closer.id)).length === 0;
    await until(`${closed.kind} sees the end of round ${round}`, gone, byUs ? CLOSED_BY_US_MS : CLOSED_MS);
  }
  await Promise.all([one.end(), other.end()]);
  return `${times} rounds, dialled in ${spread(dials)} ms`;
}

async function jsOffersToTab(relay, times) {
  const tab = await stage.page(relay.page);
  const { peerId, genesis } = await reserved(tab);
  const js = await peer("js", { refused: [`/heartchain/1/${genesis}/sync`] });
  const dials = [];
  for (let round = 0; round < times; round += 1) {
    const start = Date.now();
    await js.call("dial", `${relay.address}/p2p-circuit/webrtc/p2p/${peerId}`);
    dials.push(Date.now() - start);
    await looksIntoTab(js, peerId, genesis);
    const path = () => tab.evaluate((id) => heartchain.peers().find(({ peerId }) => peerId === id)?.path, js.id);
    await until("the tab lists js-libp2p as direct", async () => (await path()) === "direct", CONNECTED_MS);
    await js.call("close", peerId);
    await until("the tab sees the end", async () => (await path()) === undefined, CLOSED_MS);
  }
  await Promise.all([js.end(), tab.end()]);
  return `${times} rounds, dialled in ${spread(dials)} ms`;
}

async function tabOffersToJs(relay, times) {
  const first = await stage.page(relay.page);
  const { genesis } = await reserved(first);
  await first.end();
  const js = await peer("js", { refused: [`/heartchain/1/${genesis}/sync`] });
  await js.call("listen", relay.address);
  const named = encodeURIComponent(`${relay.address}/p2p-circuit/p2p/${js.id}`);
  const starts = [];
  for (let round = 0; round < times; round += 1) {
    const tab = await stage.page(`${relay.page}?peer=${named}`);
    const { peerId } = await reserved(tab);
    await until("a direct connection", async () => (await directs(js, { id: peerId })) === 1, CONNECTED_MS);
    starts.push(Date.now() - tab.started);
    await looksIntoTab(js, peerId, genesis);
    // The tab calls again at once, so it has to be heard, not asked.
    await tab.evaluate((id) => {
      const isDirect = ({ peerId, path }) => peerId === id && path === "direct";
      heartchain.addEventListener("peers", ({ detail }) => {
        if (!detail.some(isDirect)) globalThis.sawTheEnd = true;
      });
    }, js.id);
    await js.call("close", peerId);
    await until("the tab sees the end", () => tab.evaluate(() => globalThis.sawTheEnd), CLOSED_MS);
    await tab.end();
  }
  await js.end();
  return `${times} rounds, from page start to connected in ${spread(starts)} ms`;
}

async function looksIntoTab(js, peerId, genesis) {
  const { agent, protocols } = await js.call("identify", peerId);
  const speaks = protocols.includes(`/heartchain/1/${genesis}/sync`);
  if (!agent.startsWith("heartchain/") || !speaks) throw new Error(`js-libp2p hears ${agent}, ${protocols}`);
  await js.call("ping", peerId);
}

/** Two tabs that know nothing but a relay of js-libp2p, one of them the other's name, too; then the relay dies. */
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
    await until("a direct connection", async () => (await path(tab)) === "direct", CONNECTED_MS);
  }
  const took = Date.now() - other.started;
  await passesReading(one, other, 71);
  relay.kill();
  const lost = (tab) => tab.evaluate(() => heartchain.status().relays.every(({ connected }) => !connected));
  await until("the relay is missed", async () => (await lost(one)) && (await lost(other)), CONNECTED_MS);
  await passesReading(other, one, 72);
  await Promise.all([one.end(), other.end()]);
  // That the relay is called and does not answer is said on the console by the browser itself.
  const unanswered = (fault) => fault.includes("WebSocket connection to") && fault.includes("ERR_CONNECTION_REFUSED");
  const faults = stage.takeFaults().filter((fault) => !unanswered(fault));
  if (faults.length > 0) throw new Error(faults.join("\n"));
  return `direct ${took} ms after the second tab's start, and on without the relay`;
}

/** What the README of `wasm-node/webrtc/examples/two_tabs` promises to whoever follows it. */
async function exampleTabsTalk() {
  const relay = await stage.exampleRelay();
  const one = await stage.page(relay.page);
  const link = one.getByRole("link", { name: "Open this in another tab" });
  await link.waitFor();
  const other = await stage.page(await link.evaluate(({ href }) => href));
  for (const tab of [one, other]) await tab.getByText("Connected directly.").waitFor();
  await says(one, other, "Can you hear me?");
  // Nobody can know yet that it is gone, so nothing may depend on it.
  relay.freeze();
  await says(other, one, "Also while the relay hangs.");
  await says(one, other, "And the other way.");
  relay.kill();
  await says(other, one, "Also without the relay.");
  await Promise.all([one.end(), other.end()]);
  return "they go on talking when their relay is gone";
}

async function says(from, to, line) {
  await from.getByLabel("Say something").fill(line);
  await from.getByRole("button", { name: "Send" }).click();
  await to.getByText(`They: ${line}`).waitFor();
}

async function passesReading(from, to, bpm) {
  const { id } = await from.evaluate((bpm) => heartchain.record(bpm), bpm);
  const has = () =>
    to.evaluate(async (id) => {
      const { tip } = heartchain.status();
      const blocks = await heartchain.blocks(Math.max(0, tip.index - 20), tip.index);
      return [...heartchain.pending(), ...blocks.flatMap(({ readings }) => readings)].some((reading) => reading.id === id);
    }, id);
  await until(`a reading of ${bpm} in the other tab`, has, CONNECTED_MS);
}

/** A page with a peer of this kind, whose methods are called by name. */
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

/** What a tab says of itself, once a relay keeps a place for it. */
async function reserved(tab) {
  await tab.waitForFunction(() => globalThis.heartchain?.status().relays.some(({ reserved }) => reserved));
  return tab.evaluate(() => heartchain.status());
}

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return `${sorted[Math.floor(sorted.length / 2)]} (${sorted[0]} to ${sorted.at(-1)})`;
}
