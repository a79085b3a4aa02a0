//! The chart is fed with what is new and with the past as far as it looks, never with the whole of a long chain.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_PAST_BLOCKS, ReadingFeed, STEP_BLOCKS } from "../../www/reading-feed.js";

/** A chain of one reading a block; block i is of second i. */
class FakeNode extends EventTarget {
  asked = [];
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
    this.asked.push([from, to]);
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

/** The next change after which this holds. */
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

test("what_waits_and_what_is_new_is_drawn_at_once", async () => {
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

test("the_past_is_read_as_far_as_the_chart_looks", async () => {
  const node = new FakeNode(10_000);
  const feed = new ReadingFeed(node);
  await feed.reachBack(9_900_000);
  const oldest = seqs(feed)[0];
  assert.ok(oldest <= 9_900 && oldest > 9_900 - 2 * STEP_BLOCKS, `${oldest}`);
  for (const [from, to] of node.asked) assert.ok(to - from < STEP_BLOCKS);
  // Further back goes on from there, and asks for nothing twice.
  const asked = node.asked.length;
  await feed.reachBack(9_800_000);
  assert.ok(seqs(feed)[0] <= 9_800);
  assert.ok(node.asked.slice(asked).every(([, to]) => to < oldest));
});

test("however_far_it_looks_a_long_chain_is_not_read_whole", async () => {
  const node = new FakeNode(3 * MAX_PAST_BLOCKS);
  const feed = new ReadingFeed(node);
  await feed.reachBack(0);
  const blocks = node.asked.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  assert.ok(blocks <= MAX_PAST_BLOCKS + STEP_BLOCKS, `${blocks}`);
});

test("what_is_left_out_of_the_past_is_known", async () => {
  const whole = new ReadingFeed(new FakeNode(100));
  await whole.reachBack(0);
  assert.equal(whole.history.leftOutUntil, null, "all of a short chain is there");

  const node = new FakeNode(MAX_PAST_BLOCKS + 1_000);
  const feed = new ReadingFeed(node);
  await feed.reachBack((MAX_PAST_BLOCKS + 900) * 1_000);
  assert.equal(feed.history.leftOutUntil, null, "nothing that was wished for");
  let told = 0;
  feed.addEventListener("change", () => (told += 1));
  await feed.reachBack(0);
  assert.equal(feed.history.leftOutUntil, seqs(feed)[0] * 1_000);
  const before = told;
  await feed.reachBack(0);
  assert.equal(told, before, "it is told once");
});

test("a_failed_read_is_tried_again_with_the_next_change", async () => {
  const node = new FakeNode(1);
  const feed = new ReadingFeed(node);
  node.broken = true;
  await feed.reachBack(0);
  assert.deepEqual(seqs(feed), []);
  node.broken = false;
  node.height = 2;
  node.tell("chain", { from: 2, to: 2 });
  await until(feed, () => seqs(feed).length === 2);
});
