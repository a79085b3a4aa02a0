//! A node without peers, called as a page calls it: alone, with a miner, looked at, exported and imported.
//! `node.constructor` is the class `Node`.
//!
//! One file, because the web server of wasm-bindgen's test runner may leave a page without one of several scripts that it
//! asks for at the same time.

import { DECIMAL, HEX_32, HEX_64, check, equal, heard, recordInBlock, rejection } from "./check.js";

/** A document that names no relay. */
const NO_RELAY = `data:application/json,{"addresses":[]}`;

let rooms = 0;

export function aloneOptions() {
  rooms += 1;
  return { room: `test ${rooms}`, relayDocument: NO_RELAY };
}

export async function refusesWhatItCannotUse(node) {
  const start = (options) => node.constructor.start({ relayDocument: NO_RELAY, ...options });
  for (const room of ["", " x", "x ", "x".repeat(65), "é".repeat(33), "e\u0301", 7, {}]) {
    const { message } = await rejection(start({ room }), `the room ${JSON.stringify(room)}`);
    check(/room/.test(message), `the words are about the room: ${message}`);
  }
  for (const relays of ["/ip4/127.0.0.1/tcp/1/ws", 7, [7], ["hello"], ["/ip4/127.0.0.1/tcp/1"], [""]]) {
    const { message } = await rejection(start({ relays }), `the relays ${JSON.stringify(relays)}`);
    check(/relay/.test(message), `the words are about the relay: ${message}`);
  }
  for (const name of ["relayDocument", "minerUrl"]) {
    const { message } = await rejection(start({ [name]: 7 }), `a number as ${name}`);
    check(message.includes(name), `the words name it: ${message}`);
  }
  const longest = await start({ room: "é".repeat(32), relays: [], minerUrl: undefined, wasmModule: null });
  equal(longest.status().room, "é".repeat(32), "a room of exactly 64 bytes");
  longest.stop();
}

export async function looksAsDocumented(node) {
  const status = node.status();
  equal(
    Object.entries(status).map(([name, value]) => [name, value === null ? "null" : typeof value]),
    [
      ["peerId", "string"],
      ["room", "string"],
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
    ],
    "the fields of status()",
  );
  check(status.peerId.startsWith("12D3KooW"), `a libp2p name: ${status.peerId}`);
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

export async function recordsOnlyHeartRates(node) {
  const bad = [19, 401, 72.5, -1, 0, NaN, Infinity, 1e300, "72", "", null, undefined, {}, [72], true, 72n];
  for (const bpm of bad) {
    const { message } = await rejection(node.record(bpm), `record(${String(bpm)})`);
    check(/whole number from 20 to 400/.test(message), `the words say what is meant: ${message}`);
  }
  equal(node.pending(), [], "nothing of it was recorded");

  const told = heard(node, "reading");
  const first = await node.record(20);
  const second = await node.record(400);
  check(HEX_32.test(first.id) && first.id !== second.id, `ids: ${first.id} ${second.id}`);
  equal([first.seq, second.seq], [0, 1], "places in the count");
  const reading = await told;
  equal(Object.keys(reading), ["id", "author", "seq", "time", "bpm", "signature"], "the fields of a reading");
  equal([reading.id, reading.seq, reading.bpm], [first.id, 0, 20], "what was told is what was recorded");
  equal(node.pending().map(({ id, bpm }) => [id, bpm]), [[first.id, 20], [second.id, 400]], "what waits");
  equal(node.status().mempool, 2, "how many wait");

  // All at once, as from a script: each is kept, each once, in the order of the calls.
  const burst = await Promise.all(Array.from({ length: 100 }, (_, i) => node.record(100 + i)));
  equal(burst.map(({ seq }) => seq), Array.from({ length: 100 }, (_, i) => 2 + i), "places in the count");
  equal(node.status().mempool, 102, "how many wait");
  equal(node.pending().length, 100, "so many are given when nobody says");
  equal(node.pending(16_384).length, 102, "all when asked for");
  equal(node.pending(2).map(({ bpm }) => bpm), [20, 400], "an author's in order");
  equal(node.pending(0), [], "none when none is asked for");
  for (const limit of [-1, 0.5, 16_385, "1", NaN, {}]) {
    await rejection((async () => node.pending(limit))(), `pending(${limit})`);
  }
  node.stop();
}

export async function readsOnlyBlocksThatMayBeAskedFor(node) {
  const bad = [[-1, 0], [0, -1], [0.5, 1], [2, 1], [0, 512], ["0", 0], [0, "0"], [null, 0], [NaN, 0], [0, 2 ** 53]];
  for (const [from, to] of bad) {
    await rejection(node.blocks(from, to), `blocks(${from}, ${to})`);
  }
  await rejection(node.blocks(), "blocks()");
  equal((await node.blocks(0, 511)).length, 1, "512 may be asked for; those above the tip are left out");
  equal(await node.blocks(1, 1), [], "above the tip there is nothing");
  equal(await node.blocks(2 ** 53 - 1, 2 ** 53 - 1), [], "nor far above");
  node.stop();
}

export async function isQuietOnceStopped(node) {
  let events = 0;
  node.addEventListener("status", () => (events += 1));
  const told = heard(node, "status");
  await node.record(72);
  await told;
  node.stop();
  node.stop();
  await rejection(node.record(73), "recording after stop()");
  events = 0;
  await new Promise((resolve) => setTimeout(resolve, 300));
  equal(events, 0, "events after stop()");
  equal(node.status().mempool, 1, "what was known can still be read");
}

export async function showsARelayThatIsOutOfReach(node) {
  node.stop();
  // Nothing listens at port 1 of this computer; browsers do not even try it.
  const address = "/ip4/127.0.0.1/tcp/1/ws";
  const lonely = await node.constructor.start({ room: "lonely", relays: [address] });
  equal(lonely.status().relays, [{ address, peerId: null, connected: false, reserved: false }], "the relay");
  await lonely.record(72);
  await heard(lonely, "status");
  equal(lonely.status().relays[0].connected, false, "the relay is not connected");
  equal(lonely.status().mempool, 1, "and yet the reading is kept");
  lonely.stop();
}

// Mining through a worker of the tests' own, which speaks the protocol of `www/miner.js` but leaves hashing to
// this thread: the wasm of a test cannot be loaded again by a worker as the page's can.

const WORKER = `
  const channel = new BroadcastChannel(NAME);
  channel.onmessage = ({ data }) => postMessage(data);
  onmessage = ({ data }) => {
    if ("module" in data) channel.postMessage({ module: data.module instanceof WebAssembly.Module });
    else channel.postMessage(data);
  };
`;

/** A miner's script, and the worker's end of it on this thread. */
function miner(name, onOrder) {
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => onOrder(data, (answer) => channel.postMessage(answer));
  const script = new Blob([WORKER.replace("NAME", JSON.stringify(name))], { type: "text/javascript" });
  return { url: URL.createObjectURL(script), close: () => channel.close() };
}

function search(mine, { header, start }) {
  const tries = 1 << 20;
  const nonce = mine(header, BigInt(start), tries);
  check(nonce !== undefined, `a room's floor is met within ${tries} tries`);
  return nonce.toString();
}

export async function mining(node, name, onOrder) {
  const { url, close } = miner(name, onOrder);
  node.stop();
  const miningNode = await node.constructor.start({
    room: name,
    relayDocument: `data:application/json,{"addresses":[]}`,
    minerUrl: url,
  });
  return { node: miningNode, end: () => (miningNode.stop(), close()) };
}

/** A node whose worker finds every nonce at once. */
export function diligent(lone, name, mine) {
  return mining(lone, name, (order, answer) => {
    if ("module" in order) answer({ ready: true });
    if ("header" in order) answer({ id: order.id, nonce: search(mine, order) });
  });
}

export async function minesWhatWasRecorded(lone, mine) {
  const orders = [];
  const { node, end } = await mining(lone, "mining", (order, answer) => {
    orders.push(order);
    if ("module" in order) answer({ ready: true });
    if (!("header" in order)) return;
    // What is not asked for, or is no message at all, is passed over.
    for (const odd of [{ id: order.id + 1000, nonce: "1" }, { id: order.id, nonce: "x" }, {}, null, 7]) answer(odd);
    answer({ id: order.id, hashes: 5000, ms: 10 });
    answer({ id: order.id, nonce: search(mine, order) });
  });

  equal(orders, [], "no worker is started before there is something to mine");
  const changed = heard(node, "chain");
  const told = heard(node, "status", ({ tip }) => tip.index === 1);
  const { id } = await node.record(72);
  equal(await changed, { from: 1, to: 1, reorg: false }, "the change of the chain");
  equal([node.status().tip.index, node.status().mempool], [1, 0], "after the block");
  equal((await told).tip, node.status().tip, "what the event carries is what the getter gives");
  equal(orders[0], { module: true }, "the worker is given the compiled wasm first");
  const { header, start } = orders[1];
  check(header instanceof Uint8Array && header.length === 93, "a header of 93 bytes");
  check(/^[0-9]+$/.test(start), `where to start: ${start}`);
  equal(node.status().hashesPerSecond, 500_000, "the worker's speed");

  const [genesis, block] = await node.blocks(0, 100);
  equal([block.index, block.prevHash, block.hash], [1, genesis.hash, node.status().tip.hash], "the block's place");
  const [reading, ...others] = block.readings;
  equal(others, [], "one reading was recorded");
  equal([reading.id, reading.bpm, reading.seq], [id, 72, 0], "the reading in the block");
  check(HEX_64.test(reading.signature), `hex: ${reading.signature}`);
  equal(node.pending(), [], "nothing waits any longer");
  end();
}

export async function startsAFailedWorkerAgain(lone, mine) {
  let starts = 0;
  const { node, end } = await mining(lone, "failing", (order, answer) => {
    if ("module" in order) {
      starts += 1;
      answer(starts === 1 ? { error: "broken on purpose" } : { ready: true });
    }
    if ("header" in order) answer({ id: order.id, nonce: search(mine, order) });
  });
  equal(await recordInBlock(node, 72), { from: 1, to: 1, reorg: false }, "the reading is mined after all");
  equal(starts, 2, "workers started");
  end();
}

export async function tellsItsWorkerHowFastItMayBe(lone, mine) {
  const limits = [];
  const { node, end } = await mining(lone, "limited", (order, answer) => {
    if ("module" in order) answer({ ready: true });
    if ("limit" in order) limits.push(order.limit);
    if ("header" in order) answer({ id: order.id, nonce: search(mine, order) });
  });
  node.limitMining(300);
  const first = heard(node, "chain");
  await node.record(72);
  await first;
  equal(limits, [300], "a limit from before the worker was started");
  node.limitMining(null);
  const second = heard(node, "chain");
  await node.record(73);
  await second;
  equal(limits, [300, null], "the limit lifted");
  end();
}

// What a page may look at: its own readings, side branches, and a block's sums done again.

export async function showsItsOwnReadings(node, mine) {
  for (const limit of [-1, 0.5, 10_001, "1", NaN, {}]) {
    await rejection((async () => node.ownReadings(limit))(), `ownReadings(${limit})`);
  }
  equal(node.ownReadings(), [], "nothing was recorded yet");
  equal(node.branches(), [], "there is no fork");
  const recorded = [];
  for (let i = 0; i < 101; i += 1) recorded.push(await node.record(100 + i));
  const own = node.ownReadings();
  equal(own.length, 100, "so many when nobody says");
  equal(Object.keys(own[0]), ["id", "seq", "time", "bpm", "index"], "the fields of an own reading");
  equal([own[0].id, own[0].seq, own[0].bpm, own[0].index], [recorded[100].id, 100, 200, null], "the newest first");
  equal(node.ownReadings(10_000).length, 101, "all when asked for");
  equal(node.ownReadings(0), [], "none when none is asked for");

  const { node: miner, end } = await diligent(node, "own", mine);
  await recordInBlock(miner, 72);
  equal(miner.ownReadings(1)[0].index, 1, "the height of its block");
  end();
}

export async function checksABlockAgain(lone, mine) {
  const { node, end } = await diligent(lone, "sums", mine);
  await recordInBlock(node, 72);
  const [genesis, block] = await node.blocks(0, 1);
  const honest = node.check(block);
  equal(
    Object.keys(honest),
    ["ok", "hash", "work", "link", "root", "difficulty", "time", "readings"],
    "the fields of a check",
  );
  equal(honest.ok, true, "an honest block passes");
  equal([honest.hash.computed, honest.work.hash], [block.hash, block.hash], "its hash");
  equal(honest.link, { ok: true, expected: genesis.hash }, "its link");
  equal(honest.root, { ok: true, computed: block.readingsRoot }, "its root");
  equal(honest.difficulty, { ok: true, expected: block.bits }, "its difficulty");
  check(HEX_32.test(honest.work.target) && block.hash <= honest.work.target, "its target");
  const [reading] = block.readings;
  equal(
    honest.readings,
    [{ id: reading.id, ok: true, computedId: reading.id, signature: true, reason: null }],
    "its reading",
  );
  equal(node.check(genesis).ok, true, "genesis passes");

  const forged = node.check({ ...block, readings: [{ ...reading, bpm: 180 }] });
  equal([forged.ok, forged.hash.ok, forged.root.ok], [false, true, false], "another heart rate breaks the root");
  const [bad] = forged.readings;
  equal([bad.ok, bad.signature, bad.computedId === reading.id], [false, false, false], "and the signature");
  check(/signature/.test(bad.reason), `in words: ${bad.reason}`);
  const redone = node.check({ ...block, readingsRoot: forged.root.computed });
  equal([redone.ok, redone.hash.ok], [false, false], "another root breaks the hash");
  const moved = node.check({ ...block, prevHash: block.hash });
  equal([moved.link.ok, moved.link.expected], [false, genesis.hash], "another link is none");
  equal(node.check({ ...block, nonce: "0" }).hash.ok, block.nonce === "0", "another nonce breaks the hash");
  equal((await node.blocks(1, 1))[0], block, "nothing of it changed the chain");

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

export async function rehearsesWithoutHarm(lone, mine) {
  const { node, end } = await diligent(lone, "rehearsal", mine);
  await recordInBlock(node, 72);
  const [block] = await node.blocks(1, 1);
  const [reading] = block.readings;
  const before = node.status();
  // Nothing of the status changes below; that it is told again may come of the block above.
  let events = 0;
  for (const type of ["chain", "peers", "reading", "notice"]) {
    node.addEventListener(type, () => (events += 1));
  }

  const known = await node.rehearse({ block });
  equal(Object.keys(known), ["verdict", "reason", "kind", "dropped"], "the fields of a rehearsal");
  equal([known.verdict, known.kind, known.dropped], ["ignore", "known", false], "a block that is known");
  check(/known/.test(known.reason), `in words: ${known.reason}`);
  const forged = await node.rehearse({ reading: { ...reading, seq: 1, bpm: 180 } });
  equal([forged.verdict, forged.kind, forged.dropped], ["reject", "signature", true], "a forged reading");
  check(/signature/.test(forged.reason), `in words: ${forged.reason}`);
  const tampered = await node.rehearse({ block: { ...block, nonce: "1" } });
  equal([tampered.verdict, tampered.kind, tampered.dropped], ["reject", "work", true], "a block without work");
  const { node: other, end: endOther } = await diligent(lone, "rehearsal, rival", mine);
  const foreign = heard(other, "chain");
  await other.record(72);
  await foreign;
  const [stranger] = await other.blocks(1, 1);
  const orphan = await node.rehearse({ block: stranger });
  equal([orphan.verdict, orphan.kind, orphan.dropped], ["ignore", "unknown-parent", false], "a block of another room");
  check(/not known/.test(orphan.reason), `in words: ${orphan.reason}`);
  endOther();

  for (const bad of [undefined, {}, 7, { block: {} }, { reading: null }, { block: null, reading: {} }]) {
    await rejection(node.rehearse(bad), `rehearse(${JSON.stringify(bad)})`);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  equal([events, node.status()], [0, before], "nothing came of it");
  end();
}

export async function takesItsSwitches(node) {
  for (const on of [undefined, null, 0, 1, "true"]) {
    await rejection((async () => node.isolate(on))(), `isolate(${on})`);
  }
  for (const limit of [undefined, 0, -1, 0.5, 1_000_000_001, NaN, "1", true]) {
    await rejection((async () => node.limitMining(limit))(), `limitMining(${limit})`);
  }
  const switched = ({ isolated, miningLimit }) => [isolated, miningLimit];
  equal(switched(node.status()), [false, null], "at first");
  const cut = heard(node, "status", ({ isolated }) => isolated);
  node.isolate(true);
  equal(switched(await cut), [true, null], "cut off");
  const slowed = heard(node, "status", ({ miningLimit }) => miningLimit !== null);
  node.limitMining(1_000_000_000);
  equal(switched(await slowed), [true, 1_000_000_000], "slowed");
  const back = heard(node, "status", ({ isolated, miningLimit }) => !isolated && miningLimit === null);
  node.isolate(false);
  node.limitMining(null);
  equal(switched(await back), [false, null], "as before");
  node.stop();
  await rejection(node.record(72), "recording after stop()");
  await rejection((async () => node.isolate(true))(), "isolating after that");
}

// Export and import between nodes that share nothing but a room's name.

/** A node of this room with so many readings, each in a block of its own. */
async function recorded(lone, room, mine, bpms) {
  const { node, end } = await diligent(lone, room, mine);
  for (const bpm of bpms) {
    await recordInBlock(node, bpm);
  }
  return { node, end };
}

export async function exportsWhatCanBeVerified(lone, mine) {
  const { node, end } = await recorded(lone, 'a "room", with\nodd <name>', mine, [70, 71, 72]);
  const blob = await node.exportJson();
  check(blob instanceof Blob && blob.type === "application/json", "a file of JSON");
  const text = await blob.text();
  const file = JSON.parse(text);
  equal(
    Object.keys(file),
    ["format", "exportedAt", "room", "tip", "totalWork", "blocks", "waiting"],
    "the fields of an export",
  );
  const status = node.status();
  equal(
    [file.format, file.room, file.tip, file.totalWork],
    [
      "heartchain/export/1",
      { name: status.room, floorBits: 16, blockIntervalMs: 1000, genesis: status.genesis },
      status.tip,
      status.totalWork,
    ],
    "the head of an export",
  );
  equal(file.blocks, await node.blocks(1, 3), "the blocks as the getter gives them");
  equal(file.waiting, [], "nothing waits");
  for (const block of file.blocks) check(text.includes(`\n${JSON.stringify(block)}`), "a line for each block");

  const csv = await node.exportCsv();
  equal(csv.type, "text/csv", "a file of CSV");
  const [head, ...rows] = (await csv.text()).trimEnd().split("\r\n");
  equal(head, "recorded,bpm,author,seq,block,block_time,id", "its head");
  const iso = (time) => new Date(time).toISOString();
  const expected = file.blocks.flatMap(({ index, time, readings }) =>
    readings.map((r) => [iso(r.time), r.bpm, r.author, r.seq, index, iso(time), r.id].join(",")),
  );
  equal(rows, expected, "its rows");
  end();

  const waiting = await lone.constructor.start({ room: "only waiting", relayDocument: NO_RELAY, storage: "memory" });
  await waiting.record(80);
  await waiting.record(81);
  const second = JSON.parse(await (await waiting.exportJson()).text());
  equal([second.blocks, second.waiting], [[], waiting.pending()], "what waits is in it");
  const [row] = (await (await waiting.exportCsv()).text()).split("\r\n").slice(2);
  const [{ time, author, id }] = waiting.pending().slice(1);
  equal(row, `${iso(time)},81,${author},1,,,${id}`, "the row of a reading that waits");
  waiting.stop();
}

export async function importsWhatAnotherExported(lone, mine) {
  const room = "exchange";
  const { node, end } = await recorded(lone, room, mine, [70, 71, 72]);
  const text = await (await node.exportJson()).text();
  const tip = node.status().tip;
  end();

  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  await other.record(99);
  const changed = heard(other, "chain", ({ to }) => to === 3);
  equal(
    await other.importJson(text),
    { blocks: 3, newBlocks: 3, readings: 3, newReadings: 3 },
    "all of it is new",
  );
  await changed;
  equal(other.status().tip, tip, "the same tip");
  equal(other.pending().map(({ bpm }) => bpm), [99], "what waited here waits");
  equal((await other.blocks(1, 3)).length, 3, "the blocks can be read");
  const again = { blocks: 3, newBlocks: 0, readings: 3, newReadings: 0 };
  equal(await other.importJson(text), again, "nothing of it is new");
  equal(await other.importJson(JSON.stringify(JSON.parse(text), null, 2)), again, "however it is laid out");

  const third = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  equal(
    await third.importJson(await (await other.exportJson()).text()),
    { blocks: 3, newBlocks: 3, readings: 4, newReadings: 4 },
    "what waits is taken along",
  );
  equal(third.pending().map(({ bpm }) => bpm), [99], "and waits there");
  third.stop();
  other.stop();
}

export async function refusesFilesInWords(lone, mine) {
  const room = "refusals";
  const { node, end } = await recorded(lone, room, mine, [70, 71]);
  const text = await (await node.exportJson()).text();
  end();
  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  const refused = async (file, words) => {
    const { message } = await rejection(other.importJson(file), `importJson(${String(file).slice(0, 60)})`);
    check(words.test(message), `${words} in: ${message}`);
  };
  const tampered = (change) => {
    const file = JSON.parse(text);
    change(file);
    return JSON.stringify(file);
  };
  for (const file of [undefined, null, 7, {}, new Blob([text])]) await refused(file, /string/);
  for (const file of ["", "x", "[]", "null", "7", "{}", text.slice(0, -10)]) await refused(file, /no file/);
  const tooLong = await rejection(other.importJson(" ".repeat(256_000_001)), "a file that is too long");
  check(/256000001 .* 70,000 blocks: .* over the network/.test(tooLong.message), `what to do instead: ${tooLong.message}`);
  await refused(tampered((file) => (file.format = "heartchain/export/2")), /format/);
  await refused(tampered((file) => delete file.blocks), /no file/);
  await refused(tampered((file) => (file.blocks = [7])), /block number 1/);
  await refused(tampered(({ blocks }) => (blocks[0].hash = blocks[1].hash)), /block number 1 .* altered/);
  await refused(tampered(({ blocks }) => (blocks[0].readings[0].bpm = 180)), /block number 1 .* altered/);
  await refused(tampered(({ blocks }) => blocks.shift()), /block 2 .*not known/);
  equal(other.status().tip.index, 0, "nothing of any of them was taken");
  await refused(tampered(({ blocks }) => (blocks[1].readings = [])), /block 2 /);
  equal(other.status().tip.index, 1, "the block before the bad one was good");
  other.stop();

  const elsewhere = await lone.constructor.start({ room: "elsewhere", relayDocument: NO_RELAY, storage: "memory" });
  const { message } = await rejection(elsewhere.importJson(text), "a file of another room");
  check(message.includes('"refusals"') && message.includes('"elsewhere"'), `both rooms are named: ${message}`);
  elsewhere.stop();
}
