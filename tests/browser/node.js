//! A node without peers and without a miner, called as a page calls it. `node.constructor` is the class `Node`.

import { DECIMAL, HEX_32, check, equal, heard, rejection } from "./check.js";

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
