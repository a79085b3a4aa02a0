//! Mining through a worker of the tests' own, which speaks the protocol of `www/miner.js` but leaves hashing to
//! this thread: the wasm of a test cannot be loaded again by a worker as the page's can.

import { check, equal, heard, HEX_64 } from "./check.js";

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
  const changed = heard(node, "chain");
  await node.record(72);
  equal(await changed, { from: 1, to: 1, reorg: false }, "the reading is mined after all");
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
