//! What a page may look at: its own readings, side branches, and a block's sums done again.

import { check, equal, heard, HEX_32, rejection } from "./check.js";
import { diligent } from "./mining.js";

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
  const changed = heard(miner, "chain");
  await miner.record(72);
  await changed;
  equal(miner.ownReadings(1)[0].index, 1, "the height of its block");
  end();
}

export async function checksABlockAgain(lone, mine) {
  const { node, end } = await diligent(lone, "sums", mine);
  const changed = heard(node, "chain");
  await node.record(72);
  await changed;
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
  const changed = heard(node, "chain");
  await node.record(72);
  await changed;
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
