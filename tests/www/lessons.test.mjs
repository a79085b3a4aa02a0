//! The lessons' calculations and tampered copies, and LessonMode against a fake node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LOOKING_MS, LessonMode } from "../../www/lessons/lesson-mode.js";
import { countBlocks, countReadings } from "../../www/lessons/branch-outcome.js";
import { expectedMs, expectedTries } from "../../www/lessons/pace.js";
import { currentStep, isSettled, lookingKey } from "../../www/lessons/current-step.js";
import { checksOf, otherBpm, withChangedReading, withOtherAuthor, withOtherBpm, withRecomputedHashes } from "../../www/lessons/tampering.js";

const reading = (seq, author = "aa") => ({ id: `id${seq}`, author, seq, time: 5, bpm: 72, signature: "ff" });
const block = (index, readings = []) => ({
  index, time: 1, prevHash: `hash${index - 1}`, hash: `hash${index}`, readingsRoot: `root${index}`, bits: 1, nonce: "0", readings,
});

test("expected_tries_follow_from_the_target", () => {
  assert.equal(expectedTries("f".repeat(64)), 1);
  assert.equal(expectedTries(`0000${"f".repeat(60)}`), 65_536);
  assert.equal(expectedTries(null), null);
  assert.equal(expectedMs(65_536, 65_536), 1000);
  for (const pace of [null, 0, -1]) assert.equal(expectedMs(65_536, pace), null);
  assert.equal(expectedMs(null, 5), null);
});

test("forged_heart_rate_differs_and_is_in_range", () => {
  for (let bpm = 20; bpm <= 400; bpm += 1) {
    const other = otherBpm(bpm);
    assert.ok(other !== bpm && other >= 20 && other <= 400, `${bpm} became ${other}`);
  }
});

test("tampering_changes_only_the_copy", async () => {
  const original = block(3, [reading(0), reading(1)]);
  const before = structuredClone(original);
  const changed = withChangedReading(original);
  assert.deepEqual(changed, { ...original, readings: [{ ...reading(0), bpm: 112 }, reading(1)] });
  assert.deepEqual(withOtherBpm(reading(0), 7), { ...reading(0), seq: 7, bpm: 112 });
  assert.deepEqual(withOtherAuthor(reading(0), "bb", 4), { ...reading(0), author: "bb", seq: 4 });

  const check = async (copy) => ({
    readings: copy.readings.map(({ seq, bpm }) => ({ computedId: `${seq}:${bpm}` })),
    root: { computed: copy.readings.map(({ id }) => id).join() },
    hash: { computed: `hash of ${copy.readingsRoot}` },
  });
  const recomputed = await withRecomputedHashes(changed, check);
  assert.deepEqual(recomputed.readings.map(({ id }) => id), ["0:112", "1:72"]);
  assert.equal(recomputed.hash, `hash of ${recomputed.readingsRoot}`);
  assert.deepEqual([recomputed.prevHash, recomputed.nonce, recomputed.bits], [original.prevHash, original.nonce, original.bits]);
  assert.deepEqual(original, before);
});

test("mismatched_id_fails_the_root", () => {
  const good = { ok: true };
  const found = { root: good, hash: good, work: good, link: good, difficulty: good, time: { ok: false },
    readings: [{ id: "a", computedId: "b", signature: true }] };
  const failing = checksOf(found).filter(({ ok }) => !ok).map(({ name }) => name);
  assert.deepEqual(failing, ["root", "time"]);
});

test("own_blocks_are_kept_or_dropped", () => {
  const own = [1, 2, 3].map((index) => block(index));
  assert.deepEqual(countBlocks(own, new Map([[1, "hash1"], [2, "other"]])), { kept: 1, left: 2 });
  assert.deepEqual(countBlocks([], new Map()), { kept: 0, left: 0 });
  const readings = [{ seq: 4, index: null }, { seq: 3, index: 9 }, { seq: 2, index: 1 }];
  assert.deepEqual(countReadings(readings, 3), { all: 2, waiting: 1, inChain: 1 });
});

/** A node with its chain in an array. It logs its calls. */
class FakeNode extends EventTarget {
  chain = [block(0)];
  own = [];
  calls = [];
  isolated = false;
  reads = null;
  peerCount = 1;
  relays = [{ connected: true }];
  verdict = { verdict: "reject", reason: "so", kind: "signature", dropped: true };

  status() {
    const tip = this.chain.at(-1);
    return { tip, isolated: this.isolated, state: "synced", hashesPerSecond: null, mempool: 0, peers: this.peerCount, relays: this.relays, miningLimit: null };
  }
  ownReadings(limit) {
    return this.own.slice(0, limit);
  }
  /** Reads of blocks wait from now on, until the returned function is called. */
  holdReads() {
    let release;
    this.reads = new Promise((resolve) => (release = resolve));
    return release;
  }
  async blocks(from, to) {
    await this.reads;
    return structuredClone(this.chain.slice(from, to + 1));
  }
  pending() {
    return [];
  }
  isolate(on) {
    this.isolated = on;
    this.calls.push(["isolate", on]);
  }
  limitMining(pace) {
    this.calls.push(["limitMining", pace]);
  }
  check(copy) {
    const good = { ok: true, computed: "x", target: "f".repeat(64) };
    const readings = copy.readings.map(({ id }) => ({ id, computedId: id, signature: false }));
    return { readings, root: good, hash: good, work: good, link: good, difficulty: good, time: good };
  }
  async dryRun(what) {
    this.calls.push(["dryRun", what]);
    return this.verdict;
  }
  take(...blocks) {
    this.chain.push(...blocks);
    this.dispatchEvent(new Event("chain"));
  }
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

test("own_branch_is_tracked_until_its_readings_return", async () => {
  const node = new FakeNode();
  node.own = [{ seq: 0, index: 0 }];
  const mode = new LessonMode(node);
  await mode.disconnect();
  assert.equal(mode.state.isolated, true);
  node.own.unshift({ seq: 1, index: 1 });
  node.take(block(1, [reading(1)]));
  await settled();
  assert.deepEqual([mode.state.ownBlockCount, mode.state.tip], [1, 1]);
  assert.deepEqual(mode.state.own, { all: 1, waiting: 0, inChain: 1 });

  await mode.reconnect();
  assert.equal(mode.state.isolated, false);
  node.chain = [block(0), { ...block(1), hash: "theirs" }, block(2)];
  node.own = [{ seq: 1, index: null }, { seq: 0, index: 0 }];
  node.dispatchEvent(new Event("chain"));
  await settled();
  const { made, kept, left, all, waiting } = mode.state.outcome;
  assert.deepEqual({ made, kept, left, all, waiting }, { made: 1, kept: 0, left: 1, all: 1, waiting: 1 });

  node.own[0].index = 3;
  node.take(block(3, [reading(1)]));
  await settled();
  assert.deepEqual([mode.state.outcome.waiting, mode.state.outcome.inChain], [0, 1]);

  // The fork of the lesson stays until it is dismissed, and its result when the relay stops.
  assert.deepEqual(mode.state.pinnedFork, { fork: 0, blocks: [{ index: 1, hash: "hash1" }] });
  node.peerCount = 0;
  node.dispatchEvent(new Event("status"));
  await settled();
  assert.deepEqual([mode.state.settled, mode.state.outcome.left, mode.state.pinnedFork?.fork], [true, 1, 0]);
  mode.dismissFork();
  node.take(block(4));
  await settled();
  assert.deepEqual([mode.state.pinnedFork, mode.state.outcome.left], [null, 1]);
});

/** A lesson whose branch of one block was left for the others'. */
async function leftBranch() {
  const node = new FakeNode();
  const mode = new LessonMode(node);
  await mode.disconnect();
  node.take(block(1));
  await settled();
  await mode.reconnect();
  node.chain = [block(0), { ...block(1), hash: "theirs" }, block(2)];
  node.dispatchEvent(new Event("chain"));
  await settled();
  assert.deepEqual(mode.state.pinnedFork, { fork: 0, blocks: [{ index: 1, hash: "hash1" }] });
  return { node, mode };
}

test("dismissed_fork_stays_dismissed_during_a_read", async () => {
  const { node, mode } = await leftBranch();
  const release = node.holdReads();
  node.dispatchEvent(new Event("status"));
  await settled();
  mode.dismissFork();
  assert.equal(mode.state.pinnedFork, null);
  release();
  await settled();
  assert.deepEqual([mode.state.pinnedFork, mode.state.outcome.left], [null, 1]);
  node.take(block(3));
  await settled();
  assert.equal(mode.state.pinnedFork, null);
});

test("new_lesson_forgets_the_last_one_during_a_read", async () => {
  const { node, mode } = await leftBranch();
  const release = node.holdReads();
  node.dispatchEvent(new Event("status"));
  await settled();
  const disconnecting = mode.disconnect();
  await settled();
  release();
  await disconnecting;
  assert.deepEqual([mode.state.outcome, mode.state.pinnedFork], [null, null]);

  node.peerCount = 0;
  const early = [];
  mode.addEventListener("change", () => mode.state.outcome !== null && early.push(mode.state.settled));
  await mode.reconnect();
  assert.ok(early.length > 0 && !early.includes(true), "the second outcome is open: no one was met");
});

test("commands_take_effect_in_order", async () => {
  const node = new FakeNode();
  const mode = new LessonMode(node);
  node.take(block(1, [reading(0)]));
  await mode.tamper();
  mode.recompute();
  mode.discard();
  await settled();
  assert.equal(mode.state.tampered, null, "the copy was discarded last");

  mode.disconnect();
  await mode.disconnect();
  node.take(block(2));
  mode.reconnect();
  await mode.reconnect();
  const { made, from } = mode.state.outcome;
  assert.deepEqual({ made, from }, { made: 1, from: 1 });
});

test("outcome_is_open_until_the_others_are_met", async () => {
  const node = new FakeNode();
  const mode = new LessonMode(node);
  await mode.disconnect();
  node.take(block(1));
  await settled();
  node.peerCount = 0;
  await mode.reconnect();
  assert.deepEqual([mode.state.settled, mode.state.pinnedFork], [false, null]);
  node.peerCount = 1;
  node.dispatchEvent(new Event("status"));
  await settled();
  assert.deepEqual([mode.state.settled, mode.state.pinnedFork], [true, { fork: 0, blocks: [] }]);
});

test("missing_relay_and_others_are_told_apart", async () => {
  const timers = [];
  const node = new FakeNode();
  const mode = new LessonMode(node, (work, ms) => timers.push({ work, ms }));
  await mode.disconnect();
  node.take(block(1));
  await settled();
  Object.assign(node, { peerCount: 0, relays: [{ connected: false }] });
  await mode.reconnect();
  const shown = async (change = {}) => {
    Object.assign(node, change);
    node.dispatchEvent(new Event("status"));
    await settled();
    const { lesson, key } = currentStep(mode.state, false);
    assert.equal(lesson, "branches");
    return key;
  };
  // A relay takes some seconds to answer.
  assert.equal(await shown(), "branches.looking");
  assert.deepEqual(timers.map(({ ms }) => ms), [LOOKING_MS]);
  timers[0].work();
  await settled();
  assert.equal(await shown(), "step.noRelay");
  assert.equal(await shown({ relays: [{ connected: true }] }), "step.noOthers");
  assert.deepEqual([lookingKey("relay"), lookingKey("others"), lookingKey(null)], ["branches.noRelay", "branches.noOthers", "branches.looking"]);
  assert.equal(mode.state.settled, false, "nothing is decided without the others");
  assert.equal(await shown({ peerCount: 1 }), "branches.kept");
  // Once the others were met, the result stays.
  assert.equal(await shown({ peerCount: 0, relays: [{ connected: false }] }), "branches.kept");
});

test("dry_runs_use_a_copy_that_leaving_discards", async () => {
  const node = new FakeNode();
  const mode = new LessonMode(node);
  await mode.tamper();
  assert.equal(mode.state.noReading, true);
  await mode.forge("bpm");
  assert.deepEqual([mode.state.noReading, mode.state.forgery, node.calls], [true, null, []]);

  node.take(block(1, [reading(0, "aa"), reading(0, "bb")]), block(2));
  await settled();
  assert.equal(mode.state.noReading, false, "there is one now");
  const before = structuredClone(node.chain);
  await mode.tamper();
  assert.equal(mode.state.tampered.block.index, 1);
  assert.equal(mode.state.tampered.block.readings[0].bpm, 112);
  await mode.recompute();
  assert.equal(mode.state.tampered.step, "recomputed");
  await mode.forge("author");
  assert.deepEqual([mode.state.forgery.reading.author, mode.state.forgery.reading.seq], ["bb", 1]);
  await mode.forge("bpm");
  assert.deepEqual([mode.state.forgery.reading.author, mode.state.forgery.reading.seq], ["aa", 1]);
  assert.deepEqual(node.chain, before);

  await mode.slowDown(200);
  await mode.disconnect();
  node.calls = [];
  mode.leave();
  assert.deepEqual(node.calls, [["isolate", false], ["limitMining", null]]);
  let changes = 0;
  mode.addEventListener("change", () => (changes += 1));
  node.take(block(3));
  await settled();
  assert.equal(changes, 0, "it still watches");
});

test("failed_command_reports_its_error", async () => {
  const node = new FakeNode();
  node.limitMining = () => {
    throw new Error("no miner");
  };
  const mode = new LessonMode(node);
  await mode.slowDown(200);
  assert.deepEqual([mode.state.failure.message, mode.state.busy, mode.state.limit], ["no miner", false, null]);
});

test("current_step_follows_the_state", () => {
  const idle = {
    isolated: false, cutAt: null, tip: 7, own: { all: 0, waiting: 0, inChain: 0 }, outcome: null, settled: true, missing: null, limit: null, mempool: 2,
  };
  const keyOf = (state, seen = false) => currentStep({ ...idle, ...state }, seen)?.key;
  assert.equal(currentStep(idle, false), null);
  assert.deepEqual(currentStep({ ...idle, isolated: true }, false), { lesson: "branches", key: "step.cut", values: { at: 7 } });
  assert.equal(keyOf({ isolated: true, limit: 200, own: { all: 1, waiting: 1, inChain: 0 } }), "step.own");
  const outcome = { left: 1, kept: 0, all: 2, waiting: 1, inChain: 1 };
  assert.equal(keyOf({ outcome, settled: false }), "branches.looking");
  assert.equal(keyOf({ outcome, limit: 200 }), "branches.waiting");
  assert.equal(keyOf({ outcome: { ...outcome, waiting: 0 } }), "branches.returned");
  assert.equal(keyOf({ outcome: { ...outcome, all: 0, waiting: 0, inChain: 0 } }), "branches.left");
  assert.equal(keyOf({ outcome: { left: 0, kept: 1, all: 0, waiting: 0, inChain: 0 } }), "branches.kept");
  assert.equal(keyOf({ outcome: { left: 0, kept: 0, all: 0, waiting: 0, inChain: 0 } }), "branches.nothing");
  assert.equal(keyOf({ outcome }, true), undefined);
  assert.equal(keyOf({ outcome, limit: 200 }, true), "mining.waiting");
  for (const state of [{ isolated: true }, { outcome: null }, { outcome, settled: false }]) assert.ok(!isSettled({ ...idle, ...state }));
  assert.ok(isSettled({ ...idle, outcome }));
});
