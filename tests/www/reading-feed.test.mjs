//! The feed loads new readings and the past back to the chart's range, but never all of a long chain.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_PAST_BLOCKS, MAX_READINGS, ReadingFeed, STEP_BLOCKS, STEP_READINGS } from "../../www/model.js";

/** A chain with one reading per block; block i has time i in seconds. */
class FakeNode extends EventTarget {
  calls = [];
  waiting = [];
  constructor(height) {
    super();
    this.height = height;
  }
  status() {
    return { tip: { index: this.height } };
  }
  pending() {
    return this.waiting;
  }
  async blocks(from, to) {
    this.calls.push([from, to]);
    if (this.broken) throw new Error("the store is closed");
    return Array.from({ length: Math.min(to, this.height) - from + 1 }, (_, i) => block(from + i));
  }
  tell(type, detail) {
    this.dispatchEvent(Object.assign(new Event(type), { detail }));
  }
}

const reading = (seq) => ({ author: "a", seq, time: seq * 1000, bpm: 70, id: String(seq) });
const block = (index) => ({ index, time: index * 1000, readings: index === 0 ? [] : [reading(index)] });
const seqs = (feed) => feed.history.authors.get("a")?.map(({ seq }) => seq) ?? [];

/** Resolves at the first change after which `holds` is true. */
function until(feed, holds) {
  return new Promise((resolve) => {
    const look = () => {
      if (!holds()) return;
      feed.removeEventListener("change", look);
      resolve();
    };
    feed.addEventListener("change", look);
    look();
  });
}

test("waiting_and_new_readings_are_drawn_at_once", async () => {
  const node = new FakeNode(0);
  node.waiting = [reading(1)];
  const feed = new ReadingFeed(node);
  assert.deepEqual(seqs(feed), [1]);
  node.tell("reading", reading(2));
  assert.deepEqual(seqs(feed), [1, 2]);
  node.height = 3;
  node.tell("chain", { from: 1, to: 3 });
  await until(feed, () => seqs(feed).length === 3);
  assert.deepEqual(seqs(feed), [1, 2, 3]);
});

test("past_is_read_back_to_the_range", async () => {
  const node = new FakeNode(10_000);
  const feed = new ReadingFeed(node);
  await feed.loadSince(9_900_000);
  const oldest = seqs(feed)[0];
  assert.ok(oldest <= 9_900 && oldest > 9_900 - 2 * STEP_BLOCKS, `${oldest}`);
  for (const [from, to] of node.calls) assert.ok(to - from < STEP_BLOCKS);
  // A longer range continues from there and fetches nothing twice.
  const calls = node.calls.length;
  await feed.loadSince(9_800_000);
  assert.ok(seqs(feed)[0] <= 9_800);
  assert.ok(node.calls.slice(calls).every(([, to]) => to < oldest));
});

test("long_chain_is_never_read_whole", async () => {
  const node = new FakeNode(3 * MAX_PAST_BLOCKS);
  const feed = new ReadingFeed(node);
  await feed.loadSince(0);
  const blocks = node.calls.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  assert.ok(blocks <= MAX_PAST_BLOCKS + STEP_BLOCKS, `${blocks}`);
});

test("omitted_past_is_recorded", async () => {
  const whole = new ReadingFeed(new FakeNode(100));
  await whole.loadSince(0);
  assert.equal(whole.history.omittedUntil, null, "a short chain is loaded completely");

  const node = new FakeNode(MAX_PAST_BLOCKS + 1_000);
  const feed = new ReadingFeed(node);
  await feed.loadSince((MAX_PAST_BLOCKS + 900) * 1_000);
  assert.equal(feed.history.omittedUntil, null, "nothing in the requested range");
  let changes = 0;
  feed.addEventListener("change", () => (changes += 1));
  await feed.loadSince(0);
  assert.equal(feed.history.omittedUntil, seqs(feed)[0] * 1_000);
  const before = changes;
  await feed.loadSince(0);
  assert.equal(changes, before, "it is reported once");
});

test("failed_read_is_retried_on_next_change", async () => {
  const node = new FakeNode(1);
  const feed = new ReadingFeed(node);
  node.broken = true;
  await feed.loadSince(0);
  assert.deepEqual(seqs(feed), []);
  node.broken = false;
  node.height = 2;
  node.tell("chain", { from: 2, to: 2 });
  await until(feed, () => seqs(feed).length === 2);
});

/** A chain whose blocks have many readings, all of one author. */
class FullNode extends FakeNode {
  static PER_BLOCK = 1_000;
  async blocks(from, to) {
    const blocks = await super.blocks(from, to);
    return blocks.map((block) => ({
      ...block,
      readings: Array.from({ length: FullNode.PER_BLOCK }, (_, i) => reading(block.index * FullNode.PER_BLOCK + i)),
    }));
  }
}

test("full_blocks_are_read_in_small_steps", async () => {
  const node = new FullNode(10);
  const feed = new ReadingFeed(node);
  await feed.loadSince(0);
  assert.ok(node.calls.length > 1);
  for (const [from, to] of node.calls) assert.ok((to - from + 1) * FullNode.PER_BLOCK <= STEP_READINGS, `${from} ${to}`);
});

test("blocks_that_would_be_dropped_are_not_read", async () => {
  const node = new FullNode(6);
  const feed = new ReadingFeed(node);
  await feed.loadSince(0);
  node.calls = [];
  node.height = 60;
  node.tell("chain", { from: 7, to: node.height });
  const newest = (node.height + 1) * FullNode.PER_BLOCK - 1;
  await until(feed, () => seqs(feed).at(-1) === newest);
  const kept = MAX_READINGS / FullNode.PER_BLOCK;
  assert.equal(node.calls[0][0], node.height - kept + 1);
  assert.equal(feed.history.omittedUntil >= (node.height - kept + 1) * 1_000, true, "the chart says what is missing");
});

test("one_full_block_does_not_hide_others", async () => {
  const node = new FakeNode(1);
  const { blocks } = FakeNode.prototype;
  node.blocks = async function (from, to) {
    const read = await blocks.call(this, from, to);
    const full = Array.from({ length: FullNode.PER_BLOCK }, (_, i) => ({ ...reading(1_000_000 + i), author: "full" }));
    return read.map((block) => (block.index === 1 ? { ...block, readings: full } : block));
  };
  const feed = new ReadingFeed(node);
  // The full block is the last one that is read before the new ones.
  await feed.loadSince(2_000);
  assert.deepEqual(node.calls, [[1, 1]]);
  node.calls = [];
  node.height = 200;
  node.tell("chain", { from: 2, to: node.height });
  await until(feed, () => node.calls.at(-1)?.[1] === node.height);
  assert.equal(node.calls[0][0], 2, "all of them fit");
});
