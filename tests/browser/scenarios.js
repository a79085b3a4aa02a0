//! Scenarios with a node without peers, called as a page calls it: getters, mining, verification, export and import.
//! `node.constructor` is the class `HeartchainNode`.
//!
//! All scenarios are in one file, because the web server of wasm-bindgen's test runner may fail to deliver one of several
//! scripts that a page requests at the same time.

import { DECIMAL, HEX_32, HEX_64, check, equal, nextEvent, recordInBlock, rejection } from "./check.js";

/** A relay document without addresses. */
const NO_RELAY = `data:application/json,{"addresses":[]}`;

/** An import that stored everything. */
const ALL_STORED = { ownKey: 0, numberTaken: 0, unreadable: 0, noRoom: 0 };

let rooms = 0;

export function aloneOptions() {
  rooms += 1;
  return { room: `test ${rooms}`, relayDocument: NO_RELAY };
}

export async function invalidOptionsAreRefused(node) {
  const start = (options) => node.constructor.start({ relayDocument: NO_RELAY, ...options });
  for (const room of ["", " x", "x ", "x".repeat(65), "é".repeat(33), "e\u0301", 7, {}]) {
    const { message } = await rejection(start({ room }), `the room ${JSON.stringify(room)}`);
    check(/room/.test(message), `the message is about the room: ${message}`);
  }
  for (const relays of ["/ip4/127.0.0.1/tcp/1/ws", 7, [7], ["hello"], ["/ip4/127.0.0.1/tcp/1"], [""]]) {
    const { message } = await rejection(start({ relays }), `the relays ${JSON.stringify(relays)}`);
    check(/relay/.test(message), `the message is about the relay: ${message}`);
  }
  for (const name of ["relayDocument", "minerUrl"]) {
    const { message } = await rejection(start({ [name]: 7 }), `a number as ${name}`);
    check(message.includes(name), `the message contains the option's name: ${message}`);
  }
  const misspelt = await rejection(start({ rooom: "a" }), "a misspelt option");
  equal([misspelt.name, misspelt.code], ["HeartchainError", "unknown-option"], "its error");
  check(misspelt.message.includes('"rooom"'), `the message contains the name: ${misspelt.message}`);
  equal((await rejection(start({ room: 7 }), "a number as room")).code, "invalid-argument", "the code of a wrong type");
  await rejection(node.constructor.start("lobby"), "a string instead of options");
  await rejection(node.constructor.start({ relayDocument: NO_RELAY }, { signal: 7 }), "a number as signal");
  const longest = await start({ room: "é".repeat(32), relays: [], minerUrl: undefined, wasmModule: null });
  equal(longest.status().room, "é".repeat(32), "a room of exactly 64 bytes");
  longest.stop();
}

export async function loneNodeMatchesDocumentation(node) {
  const status = node.status();
  equal(
    Object.entries(status).map(([name, value]) => [name, value === null ? "null" : typeof value]),
    [
      ["peerId", "string"],
      ["author", "string"],
      ["room", "string"],
      ["private", "boolean"],
      ["genesis", "string"],
      ["tip", "object"],
      ["target", "null"],
      ["totalWork", "string"],
      ["mempool", "number"],
      ["state", "string"],
      ["relays", "object"],
      ["peers", "number"],
      ["clockOffsetMs", "null"],
      ["hashesPerSecond", "null"],
      ["miningLimit", "null"],
      ["isolated", "boolean"],
      ["version", "string"],
      ["storage", "object"],
      ["heldBack", "null"],
      ["minerError", "null"],
      ["relayDocumentError", "null"],
    ],
    "the fields of status()",
  );
  check(status.peerId.startsWith("12D3KooW"), `a libp2p peer ID: ${status.peerId}`);
  check(HEX_32.test(status.author), `hex: ${status.author}`);
  check(HEX_32.test(status.genesis), `hex: ${status.genesis}`);
  check(DECIMAL.test(status.totalWork), `decimal: ${status.totalWork}`);
  check(["starting", "alone"].includes(status.state), `a state: ${status.state}`);
  equal(status.tip, { index: 0, hash: status.genesis }, "the tip of an empty chain");
  equal([status.mempool, status.peers, status.relays], [0, 0, []], "a lone node's status");
  equal(node.peers(), [], "a lone node's peers");
  equal(node.pending(), [], "nothing waits");

  const [genesis, ...others] = await node.blocks(0, 0);
  equal(others, [], "one block was asked for");
  equal(
    Object.keys(genesis),
    ["index", "time", "prevHash", "hash", "readingsRoot", "bits", "nonce", "readings"],
    "the fields of a block",
  );
  equal([genesis.index, genesis.hash, genesis.readings], [0, status.genesis, []], "genesis");
  check(Number.isInteger(genesis.bits) && Number.isInteger(genesis.time), "bits and time are numbers");
  check(DECIMAL.test(genesis.nonce) && HEX_32.test(genesis.prevHash), "nonce and prevHash are strings");

  const other = await node.constructor.start(aloneOptions());
  const same = await node.constructor.start({ room: status.room, relayDocument: NO_RELAY });
  check(other.status().genesis !== status.genesis, "another room has another genesis");
  equal(same.status().genesis, status.genesis, "the same room has the same genesis");
  check(same.status().peerId !== status.peerId, "each node has a key of its own");
  for (const started of [other, same, node]) started.stop();
}

export async function onlyHeartRatesAreRecorded(node) {
  const bad = [19, 401, 72.5, -1, 0, NaN, Infinity, 1e300, "72", "", null, undefined, {}, [72], true, 72n];
  for (const bpm of bad) {
    const { message } = await rejection(node.record(bpm), `record(${String(bpm)})`);
    check(/whole number from 20 to 400/.test(message), `the message describes the range: ${message}`);
  }
  equal(node.pending(), [], "no invalid value was recorded");

  const event = nextEvent(node, "reading");
  const first = await node.record(20);
  const second = await node.record(400);
  check(HEX_32.test(first.id) && first.id !== second.id, `ids: ${first.id} ${second.id}`);
  equal([first.seq, second.seq], [0, 1], "sequence numbers");
  const reading = await event;
  equal(Object.keys(reading), ["id", "author", "seq", "time", "bpm", "signature"], "the fields of a reading");
  equal([reading.id, reading.seq, reading.bpm], [first.id, 0, 20], "the event carries the recorded reading");
  equal(node.pending().map(({ id, bpm }) => [id, bpm]), [[first.id, 20], [second.id, 400]], "what waits");
  equal(node.status().mempool, 2, "how many wait");

  // Concurrent calls, as from a script: each reading is stored exactly once, in the order of the calls.
  const burst = await Promise.all(Array.from({ length: 100 }, (_, i) => node.record(100 + i)));
  equal(burst.map(({ seq }) => seq), Array.from({ length: 100 }, (_, i) => 2 + i), "sequence numbers");
  equal(node.status().mempool, 102, "how many wait");
  equal(node.pending().length, 100, "the default limit");
  equal(node.pending(16_384).length, 102, "a higher limit");
  equal(node.pending(2).map(({ bpm }) => bpm), [20, 400], "an author's readings in order");
  equal(node.pending(0), [], "the limit 0");
  for (const limit of [-1, 0.5, 16_385, "1", NaN, {}]) {
    await rejection((async () => node.pending(limit))(), `pending(${limit})`);
  }
  node.stop();
}

export async function invalidBlockRangesAreRefused(node) {
  const bad = [[-1, 0], [0, -1], [0.5, 1], [2, 1], [0, 512], ["0", 0], [0, "0"], [null, 0], [NaN, 0], [0, 2 ** 53]];
  for (const [from, to] of bad) {
    await rejection(node.blocks(from, to), `blocks(${from}, ${to})`);
  }
  await rejection(node.blocks(), "blocks()");
  equal((await node.blocks(0, 511)).length, 1, "a range of 512; heights above the tip are left out");
  equal(await node.blocks(1, 1), [], "a range above the tip");
  equal(await node.blocks(2 ** 53 - 1, 2 ** 53 - 1), [], "a range far above the tip");
  node.stop();
}

export async function stoppedNodeIsSilent(node) {
  let events = 0;
  node.addEventListener("status", () => (events += 1));
  const event = nextEvent(node, "status");
  await node.record(72);
  await event;
  const stopped = Promise.all([node.stop(), node.stop()]);
  const { code } = await rejection(node.record(73), "recording after stop()");
  equal(code, "stopped", "its code");
  equal(await stopped, [undefined, undefined], "what stop() resolves to");
  equal([node.status().state, node.status().peers, node.peers()], ["stopped", 0, []], "the status after stop()");
  events = 0;
  await new Promise((resolve) => setTimeout(resolve, 300));
  equal(events, 0, "events after stop()");
  equal(node.status().mempool, 1, "the last state can still be read");
}

export async function stoppedNodeLeavesItsSlot(node) {
  const { room, peerId } = node.status();
  const start = () => node.constructor.start({ room, relayDocument: NO_RELAY });
  await node.record(72);
  await node.stop();
  const second = await start();
  equal([second.status().peerId, second.status().storage.slot], [peerId, 0], "the next node is the same peer");
  equal(second.ownReadings().length, 1, "and has its readings");
  // An effect's cleanup in React cannot wait.
  second.stop();
  const third = await start();
  equal(third.status().peerId, peerId, "also if no one waits for stop()");
  await third.stop();
}

export async function startCanBeCanceled(node) {
  const { room, peerId } = node.status();
  await node.stop();
  const options = { room, relayDocument: NO_RELAY };
  const aborted = new AbortController();
  aborted.abort();
  const { name } = await rejection(node.constructor.start(options, { signal: aborted.signal }), "an aborted signal");
  equal(name, "AbortError", "its reason");

  // As React's StrictMode does: a component is mounted, unmounted, and mounted again.
  const controller = new AbortController();
  const first = node.constructor.start(options, { signal: controller.signal });
  controller.abort(new Error("the component was unmounted"));
  const second = node.constructor.start(options);
  equal((await rejection(first, "a canceled start")).message, "the component was unmounted", "its reason");
  equal((await second).status().peerId, peerId, "the second start has the identity");
  equal((await second).status().storage.slot, 0, "in the same slot");
  await (await second).stop();
}

export async function failuresAreReported(node) {
  await node.stop();
  const start = (options) => node.constructor.start({ room: node.status().room, ...options });
  const until = async (started, holds, what) => {
    for (let tries = 0; !holds(started.status()); tries += 1) {
      check(tries < 100, `${what}: ${JSON.stringify(started.status())}`);
      await nextEvent(started, "status");
    }
  };
  const broken = await start({ relayDocument: "data:text/html,hello", minerUrl: "/there-is-no-worker.js" });
  await until(broken, ({ minerError }) => minerError === "not-loaded", "a worker that cannot be loaded");
  await until(broken, ({ relayDocumentError }) => relayDocumentError === "unreadable", "a document of another kind");
  await broken.stop();
  const missing = await start({ relayDocument: "/there-is-no-document.json" });
  await until(missing, ({ relayDocumentError }) => relayDocumentError === "http-404", "a missing document");
  await missing.stop();

  const { Worker } = globalThis;
  delete globalThis.Worker;
  try {
    const without = await start({ relayDocument: NO_RELAY, minerUrl: "/worker.js" });
    await until(without, ({ minerError }) => minerError === "no-worker", "a browser without workers");
    await without.record(72);
    equal(without.status().mempool, 1, "recording works");
    await without.stop();
  } finally {
    globalThis.Worker = Worker;
  }
}

export async function unreachableRelayIsShown(node) {
  node.stop();
  // Nothing listens on port 1 of this computer, and browsers block it.
  const address = "/ip4/127.0.0.1/tcp/1/ws";
  const lonely = await node.constructor.start({ room: "lonely", relays: [address] });
  equal(lonely.status().relays, [{ address, peerId: null, connected: false, reserved: false, full: false }], "the relay");
  await lonely.record(72);
  await nextEvent(lonely, "status");
  equal(lonely.status().relays[0].connected, false, "the relay is not connected");
  equal(lonely.status().mempool, 1, "the reading is stored anyway");
  lonely.stop();
}

// Mining with a worker of the tests' own, which speaks the protocol of `www/miner.js` but leaves hashing to this thread:
// unlike the page's wasm, a test's wasm cannot be loaded by a second worker.

const WORKER = `
  const channel = new BroadcastChannel(NAME);
  channel.onmessage = ({ data }) => postMessage(data);
  onmessage = ({ data }) => {
    if ("module" in data) channel.postMessage({ module: data.module instanceof WebAssembly.Module });
    else channel.postMessage(data);
  };
`;

/** The URL of a worker's script that forwards its messages to `onMessage` on this thread. */
function workerScript(name, onMessage) {
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => onMessage(data, (answer) => channel.postMessage(answer));
  const script = new Blob([WORKER.replace("NAME", JSON.stringify(name))], { type: "text/javascript" });
  return { url: URL.createObjectURL(script), close: () => channel.close() };
}

function search(mine, { header, start }) {
  const tries = 1 << 20;
  const nonce = mine(header, BigInt(start), tries);
  check(nonce !== undefined, `a room's floor is met within ${tries} tries`);
  return nonce.toString();
}

/** Restarts `node` in a room of this name, with a worker whose messages go to `onMessage`. */
export async function startNodeWithWorker(node, name, onMessage, storage = "auto") {
  const { url, close } = workerScript(name, onMessage);
  node.stop();
  const miningNode = await node.constructor.start({
    room: name,
    relayDocument: `data:application/json,{"addresses":[]}`,
    minerUrl: url,
    storage,
  });
  return { node: miningNode, end: () => (miningNode.stop(), close()) };
}

/** Starts a node whose worker finds every nonce at once. */
export function startMiningNode(lone, name, mine, storage = "auto") {
  return startNodeWithWorker(lone, name, (message, answer) => {
    if ("module" in message) answer({ ready: true });
    if ("header" in message) answer({ id: message.id, nonce: search(mine, message) });
  }, storage);
}

export async function recordedReadingIsMined(lone, mine) {
  const messages = [];
  const { node, end } = await startNodeWithWorker(lone, "mining", (message, answer) => {
    messages.push(message);
    if ("module" in message) answer({ ready: true });
    if (!("header" in message)) return;
    // Answers to other jobs and malformed messages are ignored.
    for (const odd of [{ id: message.id + 1000, nonce: "1" }, { id: message.id, nonce: "x" }, {}, null, 7]) answer(odd);
    answer({ id: message.id, hashes: 5000, ms: 10 });
    answer({ id: message.id, nonce: search(mine, message) });
  });

  equal(messages, [], "no worker is started before there is a reading to mine");
  const changed = nextEvent(node, "chain");
  const event = nextEvent(node, "status", ({ tip }) => tip.index === 1);
  const { id } = await node.record(72);
  equal(await changed, { from: 1, to: 1, reorg: false }, "the change of the chain");
  equal([node.status().tip.index, node.status().mempool], [1, 0], "after the block");
  equal((await event).tip, node.status().tip, "the event carries what the getter returns");
  equal(messages[0], { module: true }, "the worker gets the compiled wasm first");
  const { header, start } = messages[1];
  check(header instanceof Uint8Array && header.length === 93, "a header of 93 bytes");
  check(/^[0-9]+$/.test(start), `the first nonce: ${start}`);
  equal(node.status().hashesPerSecond, 500_000, "the worker's speed");

  const [genesis, block] = await node.blocks(0, 100);
  equal([block.index, block.prevHash, block.hash], [1, genesis.hash, node.status().tip.hash], "the block's position");
  const [reading, ...others] = block.readings;
  equal(others, [], "one reading was recorded");
  equal([reading.id, reading.bpm, reading.seq], [id, 72, 0], "the reading in the block");
  check(HEX_64.test(reading.signature), `hex: ${reading.signature}`);
  equal(node.pending(), [], "no reading waits any longer");
  end();
}

export async function failedWorkerIsRestarted(lone, mine) {
  let starts = 0;
  const { node, end } = await startNodeWithWorker(lone, "failing", (message, answer) => {
    if ("module" in message) {
      starts += 1;
      answer(starts === 1 ? { error: "fails on purpose" } : { ready: true });
    }
    if ("header" in message) answer({ id: message.id, nonce: search(mine, message) });
  });
  equal(await recordInBlock(node, 72), { from: 1, to: 1, reorg: false }, "the reading is mined in the end");
  equal(starts, 2, "workers started");
  end();
}

export async function workerGetsMiningLimit(lone, mine) {
  const limits = [];
  const { node, end } = await startNodeWithWorker(lone, "limited", (message, answer) => {
    if ("module" in message) answer({ ready: true });
    if ("limit" in message) limits.push(message.limit);
    if ("header" in message) answer({ id: message.id, nonce: search(mine, message) });
  });
  node.limitMining(300);
  const first = nextEvent(node, "chain");
  await node.record(72);
  await first;
  equal(limits, [300], "a limit that was set before the worker started");
  node.limitMining(null);
  const second = nextEvent(node, "chain");
  await node.record(73);
  await second;
  equal(limits, [300, null], "the limit is removed");
  end();
}

// Getters and verification: own readings, side branches, `check()` and `dryRun()`.

export async function ownReadingsAreListed(node, mine) {
  for (const limit of [-1, 0.5, 10_001, "1", NaN, {}]) {
    await rejection((async () => node.ownReadings(limit))(), `ownReadings(${limit})`);
  }
  equal(node.ownReadings(), [], "nothing is recorded yet");
  equal(node.branches(), [], "there is no fork");
  const recorded = [];
  for (let i = 0; i < 101; i += 1) recorded.push(await node.record(100 + i));
  const own = node.ownReadings();
  equal(own.length, 100, "the default limit");
  equal(Object.keys(own[0]), ["id", "seq", "time", "bpm", "index"], "the fields of an own reading");
  equal([own[0].id, own[0].seq, own[0].bpm, own[0].index], [recorded[100].id, 100, 200, null], "the newest first");
  equal(node.ownReadings(10_000).length, 101, "a higher limit");
  equal(node.ownReadings(0), [], "the limit 0");

  const { node: miner, end } = await startMiningNode(node, "own", mine);
  await recordInBlock(miner, 72);
  equal(miner.ownReadings(1)[0].index, 1, "the height of its block");
  end();
}

export async function checkFindsAlteredFields(lone, mine) {
  const { node, end } = await startMiningNode(lone, "check", mine);
  await recordInBlock(node, 72);
  const [genesis, block] = await node.blocks(0, 1);
  const valid = await node.check(block);
  equal(
    Object.keys(valid),
    ["ok", "hash", "work", "link", "root", "difficulty", "time", "readings"],
    "the fields of a check",
  );
  equal(valid.ok, true, "a valid block passes");
  equal([valid.hash.computed, valid.work.hash], [block.hash, block.hash], "its hash");
  equal(valid.link, { ok: true, expected: genesis.hash }, "its link");
  equal(valid.root, { ok: true, computed: block.readingsRoot }, "its root");
  equal(valid.difficulty, { ok: true, expected: block.bits }, "its difficulty");
  check(HEX_32.test(valid.work.target) && block.hash <= valid.work.target, "its target");
  const [reading] = block.readings;
  equal(
    valid.readings,
    [{ id: reading.id, ok: true, computedId: reading.id, signature: true, reason: null }],
    "its reading",
  );
  equal((await node.check(genesis)).ok, true, "genesis passes");

  const forged = await node.check({ ...block, readings: [{ ...reading, bpm: 180 }] });
  equal([forged.ok, forged.hash.ok, forged.root.ok], [false, true, false], "another heart rate breaks the root");
  const [bad] = forged.readings;
  equal([bad.ok, bad.signature, bad.computedId === reading.id], [false, false, false], "and the signature");
  check(/signature/.test(bad.reason), `the reason: ${bad.reason}`);
  const redone = await node.check({ ...block, readingsRoot: forged.root.computed });
  equal([redone.ok, redone.hash.ok], [false, false], "another root breaks the hash");
  const moved = await node.check({ ...block, prevHash: block.hash });
  equal([moved.link.ok, moved.link.expected], [false, genesis.hash], "another parent breaks the link");
  equal((await node.check({ ...block, nonce: "0" })).hash.ok, block.nonce === "0", "another nonce breaks the hash");
  equal((await node.blocks(1, 1))[0], block, "the chain is unchanged");

  const broken = [
    undefined,
    7,
    {},
    { ...block, hash: "x" },
    { ...block, index: -1 },
    { ...block, bits: 2 ** 32 },
    { ...block, nonce: 1 },
    { ...block, nonce: (2n ** 64n).toString() },
    { ...block, readings: {} },
    { ...block, readings: Array(1025).fill(reading) },
    { ...block, readings: [{ ...reading, bpm: 65_536 }] },
    { ...block, readings: [{ ...reading, signature: reading.id }] },
  ];
  for (const claim of broken) {
    await rejection((async () => node.check(claim))(), `check(${JSON.stringify(claim)?.slice(0, 80)})`);
  }
  end();
}

export async function dryRunChangesNothing(lone, mine) {
  const { node, end } = await startMiningNode(lone, "dry run", mine);
  await recordInBlock(node, 72);
  const [block] = await node.blocks(1, 1);
  const [reading] = block.readings;
  const before = node.status();
  // The status does not change below, but the block above may still cause a "status" event.
  let events = 0;
  for (const type of ["chain", "peers", "reading", "notice"]) {
    node.addEventListener(type, () => (events += 1));
  }

  const known = await node.dryRun({ block });
  equal(Object.keys(known), ["verdict", "reason", "kind", "dropped"], "the fields of a dry run");
  equal([known.verdict, known.kind, known.dropped], ["ignore", "known", false], "a block that is known");
  check(/known/.test(known.reason), `the reason: ${known.reason}`);
  const forged = await node.dryRun({ reading: { ...reading, seq: 1, bpm: 180 } });
  equal([forged.verdict, forged.kind, forged.dropped], ["reject", "signature", true], "a forged reading");
  check(/signature/.test(forged.reason), `the reason: ${forged.reason}`);
  const tampered = await node.dryRun({ block: { ...block, nonce: "1" } });
  equal([tampered.verdict, tampered.kind, tampered.dropped], ["reject", "work", true], "a block without work");
  const { node: other, end: endOther } = await startMiningNode(lone, "dry run, other room", mine);
  const foreign = nextEvent(other, "chain");
  await other.record(72);
  await foreign;
  const [stranger] = await other.blocks(1, 1);
  const orphan = await node.dryRun({ block: stranger });
  equal([orphan.verdict, orphan.kind, orphan.dropped], ["ignore", "unknown-parent", false], "a block of another room");
  check(/not known/.test(orphan.reason), `the reason: ${orphan.reason}`);
  endOther();

  for (const bad of [undefined, {}, 7, { block: {} }, { reading: null }, { block: null, reading: {} }]) {
    await rejection(node.dryRun(bad), `dryRun(${JSON.stringify(bad)})`);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  equal([events, node.status()], [0, before], "no event, and the same status");
  end();
}

export async function settingsCanBeChanged(node) {
  for (const on of [undefined, null, 0, 1, "true"]) {
    await rejection((async () => node.isolate(on))(), `isolate(${on})`);
  }
  for (const limit of [undefined, 0, -1, 0.5, 1_000_000_001, NaN, "1", true]) {
    await rejection((async () => node.limitMining(limit))(), `limitMining(${limit})`);
  }
  const settings = ({ isolated, miningLimit }) => [isolated, miningLimit];
  equal(settings(node.status()), [false, null], "at first");
  const isolated = nextEvent(node, "status", ({ isolated }) => isolated);
  node.isolate(true);
  equal(settings(await isolated), [true, null], "isolated");
  const limited = nextEvent(node, "status", ({ miningLimit }) => miningLimit !== null);
  node.limitMining(1_000_000_000);
  equal(settings(await limited), [true, 1_000_000_000], "limited");
  const back = nextEvent(node, "status", ({ isolated, miningLimit }) => !isolated && miningLimit === null);
  node.isolate(false);
  node.limitMining(null);
  equal(settings(await back), [false, null], "as before");
  node.stop();
  await rejection(node.record(72), "recording after stop()");
  await rejection((async () => node.isolate(true))(), "isolating after stop()");
}

// Export and import between nodes that have only the room in common.

/** Starts a node of this room and records these heart rates, each in a block of its own. */
async function startRecordedNode(lone, room, mine, bpms, storage = "auto") {
  const { node, end } = await startMiningNode(lone, room, mine, storage);
  for (const bpm of bpms) {
    await recordInBlock(node, bpm);
  }
  return { node, end };
}

export async function exportIsComplete(lone, mine) {
  const { node, end } = await startRecordedNode(lone, 'a "room", with\nodd <name>', mine, [70, 71, 72]);
  const blob = await node.exportJson();
  check(blob instanceof Blob && blob.type === "application/json", "a file of JSON");
  const text = await blob.text();
  const file = JSON.parse(text);
  equal(
    Object.keys(file),
    ["format", "exportedAt", "room", "tip", "totalWork", "blocks", "waiting", "profiles"],
    "the fields of an export",
  );
  const status = node.status();
  equal(
    [file.format, file.room, file.tip, file.totalWork],
    [
      "heartchain/export/2",
      { name: status.room, floorBits: 16, blockIntervalMs: 1000, genesis: status.genesis },
      status.tip,
      status.totalWork,
    ],
    "the head of an export",
  );
  equal(file.blocks, await node.blocks(1, 3), "the blocks as the getter returns them");
  equal([file.waiting, file.profiles], [[], []], "no reading waits, and no author has a name");
  for (const block of file.blocks) check(text.includes(`\n${JSON.stringify(block)}`), "a line for each block");

  const csv = await node.exportCsv();
  equal(csv.type, "text/csv", "a file of CSV");
  const mark = new Uint8Array(await csv.slice(0, 3).arrayBuffer());
  equal([...mark], [0xef, 0xbb, 0xbf], "the byte order mark, for Excel");
  const [head, ...rows] = (await csv.text()).trimEnd().split("\r\n");
  equal(head, "local_time,time_zone,utc_time,name,bpm,block,author,seq,id", "the CSV's first line");
  const expected = file.blocks.flatMap(({ index, readings }) => readings.map((r) => csvRow(r, index)));
  equal(rows, expected.map((fields) => fields.join(",")), "the CSV's rows");
  const [, ...semicolons] = (await (await node.exportCsv({ separator: ";" })).text()).trimEnd().split("\r\n");
  equal(semicolons, expected.map((fields) => fields.join(";")), "with another separator");
  for (const options of [{ separator: "|" }, { separator: 7 }, { seperator: ";" }, 7]) {
    await rejection(node.exportCsv(options), `exportCsv(${JSON.stringify(options)})`);
  }
  end();

  const waiting = await lone.constructor.start({ room: "only waiting", relayDocument: NO_RELAY, storage: "memory" });
  await waiting.record(80);
  await waiting.record(81);
  const second = JSON.parse(await (await waiting.exportJson()).text());
  equal([second.blocks, second.waiting], [[], waiting.pending()], "an export contains the waiting readings");
  const [row] = (await (await waiting.exportCsv()).text()).split("\r\n").slice(2);
  const [{ time, author, id }] = waiting.pending().slice(1);
  equal(row, csvRow({ time, author, id, bpm: 81, seq: 1 }, "").join(","), "the row of a waiting reading");
  waiting.stop();
}

export async function exportCanBeImported(lone, mine) {
  const room = "exchange";
  const { node, end } = await startRecordedNode(lone, room, mine, [70, 71, 72]);
  const text = await (await node.exportJson()).text();
  const tip = node.status().tip;
  end();

  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  await other.record(99);
  const changed = nextEvent(other, "chain", ({ to }) => to === 3);
  equal(
    await other.importJson(text),
    { blocks: 3, newBlocks: 3, readings: 3, newReadings: 3, notStored: ALL_STORED },
    "everything is new",
  );
  await changed;
  equal(other.status().tip, tip, "the same tip");
  equal(other.pending().map(({ bpm }) => bpm), [99], "the reading that waited here still waits");
  equal((await other.blocks(1, 3)).length, 3, "the blocks can be read");
  const again = { blocks: 3, newBlocks: 0, readings: 3, newReadings: 0, notStored: ALL_STORED };
  equal(await other.importJson(text), again, "nothing is new the second time");
  equal(await other.importJson(JSON.stringify(JSON.parse(text), null, 2)), again, "the layout of the JSON does not matter");

  const third = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  equal(
    await third.importJson(await (await other.exportJson()).text()),
    { blocks: 3, newBlocks: 3, readings: 4, newReadings: 4, notStored: ALL_STORED },
    "waiting readings are exported, too",
  );
  equal(third.pending().map(({ bpm }) => bpm), [99], "they wait in the other node, too");
  third.stop();
  other.stop();
}

export async function importsTakeTurns(lone, mine) {
  const room = "turns";
  const recorded = async (bpms) => {
    const { node, end } = await startRecordedNode(lone, room, mine, bpms, "memory");
    const text = await (await node.exportJson()).text();
    end();
    return text;
  };
  const [best, ...rivals] = [await recorded([70, 71, 72]), await recorded([80, 81]), await recorded([90])];
  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  await other.importJson(best);
  await Promise.all(rivals.map((text) => other.importJson(text)));
  equal(other.status().tip.index, 3, "the branch with the most work stays the best");
  const waiting = other.pending().map(({ bpm }) => bpm);
  equal(waiting.toSorted(), [80, 81, 90], "the readings of both other branches wait again");
  other.stop();
}

export async function invalidFilesAreRefused(lone, mine) {
  const room = "refusals";
  const { node, end } = await startRecordedNode(lone, room, mine, [70, 71]);
  const text = await (await node.exportJson()).text();
  end();
  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  const refused = async (file, pattern) => {
    const { message } = await rejection(other.importJson(file), `importJson(${String(file).slice(0, 60)})`);
    check(pattern.test(message), `${pattern} in: ${message}`);
  };
  const tampered = (change) => {
    const file = JSON.parse(text);
    change(file);
    return JSON.stringify(file);
  };
  for (const file of [undefined, null, 7, {}, new Blob([text])]) await refused(file, /string/);
  for (const file of ["", "x", "[]", "null", "7", "{}", text.slice(0, -10)]) await refused(file, /no file/);
  await refused(`${text.slice(0, -8)}\n]\n}\n`, /no file/);
  const tooLong = await rejection(other.importJson(" ".repeat(256_000_001)), "a file that is too long");
  check(/256000001 .* 70,000 blocks: .* over the network/.test(tooLong.message), `the alternative: ${tooLong.message}`);
  await refused(tampered((file) => (file.format = "heartchain/export/3")), /format/);
  await refused(tampered((file) => delete file.blocks), /no file/);
  await refused(tampered((file) => (file.blocks = [7])), /block number 1/);
  await refused(tampered(({ blocks }) => (blocks[0].hash = blocks[1].hash)), /block number 1 .* altered/);
  await refused(tampered(({ blocks }) => (blocks[0].readings[0].bpm = 180)), /block number 1 .* altered/);
  await refused(tampered(({ blocks }) => blocks.shift()), /block 2 .*is unknown/);
  // The same with one block a line, as an export has them.
  await refused(text.replace('{"index":1,', '{"index":1,7'), /no file/);
  await refused(text.replace(/"bpm":70/, '"bpm":180'), /block number 1 .* altered/);
  await refused(text.replace(/"blocks":\[\n.*\n/, '"blocks":[\n'), /block 2 .*is unknown/);
  equal(other.status().tip.index, 0, "nothing was imported");
  await refused(tampered(({ blocks }) => (blocks[1].readings = [])), /block 2 /);
  equal(other.status().tip.index, 1, "the valid block before the invalid one was imported");
  other.stop();

  const elsewhere = await lone.constructor.start({ room: "elsewhere", relayDocument: NO_RELAY, storage: "memory" });
  const { message } = await rejection(elsewhere.importJson(text), "a file of another room");
  check(message.includes('"refusals"') && message.includes('"elsewhere"'), `the message contains both names: ${message}`);
  elsewhere.stop();
}

export async function namesAreSetAndExported(lone, mine) {
  const room = "names";
  const { node, end } = await startRecordedNode(lone, room, mine, [70]);
  const { author } = node.status();
  equal(node.names(), [], "no one has a name");
  for (const name of ["x".repeat(41), "\u{1f496}".repeat(11), "a\nb", "a\u202eb", "a\u200bb", "\ud800", 7, null, undefined, {}]) {
    const { code } = await rejection(node.setName(name), `setName(${JSON.stringify(name)})`);
    equal(code, "invalid-argument", "the code of a bad name");
  }
  const long = await rejection(node.setName("x".repeat(41)), "a name of 41 bytes");
  check(/41 bytes .* shorter/.test(long.message), `the message says what to do: ${long.message}`);
  equal(node.names(), [], "nothing was set");

  const changed = nextEvent(node, "names");
  equal(await node.setName(" Cafe\u0301 "), undefined, "setName() resolves to nothing");
  const [named, ...others] = node.names();
  equal([Object.keys(named), others], [["author", "name", "revision"], []], "the fields of a name");
  equal([named.author, named.name], [author, "Caf\u00e9"], "the name is trimmed and in normalization form C");
  check(Math.abs(named.revision - Date.now()) < 60_000, `when it was chosen: ${named.revision}`);
  equal(await changed, node.names(), "the event carries the names");
  const text = await (await node.exportJson()).text();
  const { profiles } = JSON.parse(text);
  equal(profiles.map(({ name }) => name), ["Caf\u00e9"], "an export contains the name");
  check(HEX_64.test(profiles[0].signature), `it is signed: ${profiles[0].signature}`);
  await node.setName("");
  equal(node.names(), [], "an erased name is not shown");
  const erased = await (await node.exportJson()).text();
  equal(JSON.parse(erased).profiles.map(({ name }) => name), [""], "an export contains the erased name");
  end();

  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  const forged = JSON.parse(text);
  forged.profiles[0].name = "Eve";
  const { code, message } = await rejection(other.importJson(JSON.stringify(forged)), "a forged name");
  equal([code, other.names()], ["invalid-import", []], `its error: ${message}`);
  const shown = nextEvent(other, "names");
  await other.importJson(text);
  equal((await shown).map(({ name }) => name), ["Caf\u00e9"], "the name is imported");
  await other.importJson(erased);
  await other.importJson(text);
  equal(other.names(), [], "an older name does not return");
  other.stop();
}

const BASE_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** The last six letters of the peer ID that belongs to an author's key. */
function lettersOf(author) {
  let number = BigInt(`0x002408011220${author}`);
  let letters = "";
  for (; letters.length < 6; number /= 58n) letters = BASE_58[Number(number % 58n)] + letters;
  return letters;
}

/** The fields of a reading's row. */
function csvRow({ time, bpm, author, seq, id }, block) {
  const date = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const ahead = -date.getTimezoneOffset();
  const zone = `${ahead < 0 ? "-" : "+"}${two(Math.floor(Math.abs(ahead) / 60))}:${two(Math.abs(ahead) % 60)}`;
  return [`${day} ${clock}`, zone, date.toISOString(), lettersOf(author), bpm, block, author, seq, id];
}

export async function roomIsListedAndDeleted(lone, { rooms, labelRoom, deleteRoom }) {
  const room = "C++ & more";
  const node = await lone.constructor.start({ room, relayDocument: NO_RELAY });
  const { genesis } = node.status();
  await node.record(70);
  const find = async () => (await rooms()).find((stored) => stored.genesis === genesis);
  const { lastOpened, readings, bytes, ...listed } = await find();
  const link = "#room=C%2B%2B%20%26%20more";
  equal(listed, { genesis, room, private: false, label: null, link, open: true }, "an open room in the list");
  check(Math.abs(Date.now() - lastOpened) < 60_000, `it was opened now: ${lastOpened}`);
  equal([typeof readings, bytes], ["number", null], "what is told later");
  equal((await rooms())[0].genesis, genesis, "the room that was opened last is first");

  equal((await rejection(deleteRoom(genesis), "deleting an open room")).code, "room-open", "its code");
  equal(node.ownReadings().map(({ bpm }) => bpm), [70], "nothing was deleted");
  for (const wrong of ["", genesis.slice(1), `${genesis}0`, 7, undefined]) {
    equal((await rejection(deleteRoom(wrong), `deleting ${wrong}`)).code, "invalid-argument", "its code");
    await rejection(labelRoom(wrong, "x"), `a label of ${wrong}`);
  }
  await labelRoom(genesis, " Chemistry ");
  equal((await find()).label, "Chemistry", "its label");
  const long = await rejection(labelRoom(genesis, "é".repeat(33)), "a label of 66 bytes");
  equal(long.code, "invalid-argument", "its code");
  await labelRoom(genesis, "");
  equal((await find()).label, null, "no label");

  const { author } = node.status();
  await node.stop();
  equal((await find()).open, false, "a closed room");
  await deleteRoom(genesis);
  equal(await find(), undefined, "a deleted room");
  await rejection(labelRoom(genesis, "x"), "a label of a deleted room");
  await deleteRoom(genesis);
  const again = await lone.constructor.start({ room, relayDocument: NO_RELAY });
  check(again.status().author !== author, "the key was deleted");
  equal(again.ownReadings(), [], "the readings were deleted");
  await again.stop();
  await deleteRoom(genesis);
}

export async function authorMovesWithItsFile(lone, { rooms, deleteRoom, importIdentity }) {
  const room = "moving";
  const start = () => lone.constructor.start({ room, relayDocument: NO_RELAY });
  const node = await start();
  const { genesis, author } = node.status();
  for (const bpm of [70, 71]) await node.record(bpm);
  equal((await rejection(node.retire(), "retiring before the move")).code, "not-moved", "its code");
  for (const wrong of ["", 7, undefined, "x".repeat(1_025)]) {
    equal((await rejection(node.exportIdentity(wrong), `the passphrase ${wrong}`)).code, "invalid-argument", "its code");
  }
  const file = await node.exportIdentity("corre\u0301ct horse");
  check(file instanceof Blob && file.size > 100 && file.size < 1_000, `a short file: ${file.size}`);
  await node.record(72);
  equal((await rejection(node.retire(), "retiring after another reading")).code, "not-moved", "its code");
  equal(node.status().state !== "stopped", true, "the node still runs");
  const link = `#room=${room}`;
  const whole = await node.exportIdentity("correct horse");
  equal(await importIdentity(whole, "correct horse"), { genesis, link, readings: 3 }, "the file where it was made");
  equal((await rejection(node.retire(), "retiring where the file was opened")).code, "not-moved", "its code");
  await node.exportIdentity("correct horse");
  await node.retire();
  equal(node.status().state, "stopped", "a retired node");
  await deleteRoom(genesis);

  const refused = async (blob, passphrase, code) => {
    equal((await rejection(importIdentity(blob, passphrase), `a file that is ${code}`)).code, code, "its code");
  };
  await refused(whole, "correct house", "wrong-passphrase");
  await refused(whole.slice(0, -1), "correct horse", "not-a-move-file");
  await refused(new Blob(["{}"]), "correct horse", "not-a-move-file");
  await refused("file", "correct horse", "invalid-argument");
  await refused(whole, "", "invalid-argument");
  equal((await rooms()).filter((stored) => stored.genesis === genesis), [], "nothing was imported");

  // The same passphrase, typed on another keyboard.
  equal(await importIdentity(file, "corr\u00e9ct horse"), { genesis, link, readings: 2 }, "the first file");
  equal(await importIdentity(whole, "correct horse"), { genesis, link, readings: 3 }, "a later one");
  equal(await importIdentity(whole, "correct horse"), { genesis, link, readings: 3 }, "the same again");
  const moved = await start();
  equal(moved.status().author, author, "the same author");
  equal(moved.ownReadings().map(({ bpm, seq }) => [bpm, seq]), [[72, 2], [71, 1], [70, 0]], "all readings");
  equal(moved.status().storage.lost, null, "nothing is lost");
  equal((await moved.record(73)).seq, 3, "the next sequence number");
  await moved.stop();
  await deleteRoom(genesis);
}
