//! The block cache shows the current chain and fetches only missing blocks in view.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ChainWindow, MAX_FETCHED_BLOCKS, MAX_CACHED_BLOCKS } from "../../www/model.js";

/** A node whose chain is a list of branch names: block i has the hash "<branch>i". */
class FakeNode extends EventTarget {
  calls = [];
  branches = [];

  constructor(height) {
    super();
    this.extend("a", height + 1);
  }

  extend(branch, count) {
    for (let i = 0; i < count; i += 1) this.branches.push(branch);
  }

  tell(from, reorg = false) {
    const detail = { from, to: this.branches.length - 1, reorg };
    this.dispatchEvent(Object.assign(new Event("chain"), { detail }));
  }

  status() {
    return { tip: { index: this.branches.length - 1 } };
  }

  async blocks(from, to) {
    this.calls.push([from, to]);
    const found = this.branches.slice(from, to + 1).map((branch, i) => ({ index: from + i, hash: `${branch}${from + i}` }));
    await this.whileReading?.();
    return found;
  }
}

/** The cached hashes of blocks `first` to `last`, newest first; "?" if a block is missing. */
const seen = (window, first, last) =>
  Array.from({ length: last - first + 1 }, (_, i) => window.block(last - i)?.hash ?? "?");

test("only_blocks_in_view_are_fetched", async () => {
  const node = new FakeNode(200);
  const window = new ChainWindow(node);
  await window.show(100, 103);
  assert.deepEqual(seen(window, 99, 104), ["?", "a103", "a102", "a101", "a100", "?"]);
  assert.deepEqual(node.calls, [[100, 103]]);
});

test("only_the_new_block_is_fetched", async () => {
  const node = new FakeNode(20);
  const window = new ChainWindow(node);
  await window.show(15, 20);
  node.extend("a", 1);
  node.tell(21);
  await window.show(16, 21);
  assert.deepEqual(node.calls, [[15, 20], [21, 21]]);
  assert.equal(window.block(21).hash, "a21");
});

test("known_blocks_are_not_fetched_again", async () => {
  const node = new FakeNode(5);
  const window = new ChainWindow(node);
  await window.show(0, 5);
  await window.refresh();
  await window.show(2, 4);
  assert.equal(node.calls.length, 1);
});

test("many_blocks_are_fetched_in_bounded_calls", async () => {
  const node = new FakeNode(200);
  const window = new ChainWindow(node);
  await window.show(100, 100 + 2 * MAX_FETCHED_BLOCKS);
  for (const [from, to] of node.calls) assert.ok(to - from < MAX_FETCHED_BLOCKS, `${from} to ${to}`);
  assert.deepEqual(node.calls[0], [101 + MAX_FETCHED_BLOCKS, 100 + 2 * MAX_FETCHED_BLOCKS]);
  assert.ok(!seen(window, 100, 100 + 2 * MAX_FETCHED_BLOCKS).includes("?"));
});

test("cached_blocks_are_bounded", async () => {
  const node = new FakeNode(3 * MAX_CACHED_BLOCKS);
  const window = new ChainWindow(node);
  for (let first = 0; first < 3 * MAX_CACHED_BLOCKS; first += 20) await window.show(first, first + 19);
  const cached = seen(window, 0, 3 * MAX_CACHED_BLOCKS).filter((hash) => hash !== "?");
  assert.equal(cached.length, MAX_CACHED_BLOCKS);
  // Scrolling back a little fetches nothing.
  const calls = node.calls.length;
  await window.show(3 * MAX_CACHED_BLOCKS - 100, 3 * MAX_CACHED_BLOCKS - 81);
  assert.equal(node.calls.length, calls);
});

test("reorg_replaces_changed_blocks", async () => {
  const node = new FakeNode(10);
  const window = new ChainWindow(node);
  await window.show(0, 20);
  node.branches.length = 9;
  node.extend("b", 3);
  node.tell(9, true);
  // Until they are fetched again, the stale blocks are still shown.
  assert.deepEqual(seen(window, 8, 11), ["?", "a10", "a9", "a8"]);
  await window.refresh();
  assert.deepEqual(seen(window, 8, 11), ["b11", "b10", "b9", "a8"]);
  assert.deepEqual(node.calls.at(-1), [9, 11]);
});

test("blocks_above_a_lower_tip_disappear_at_once", async () => {
  const node = new FakeNode(10);
  const window = new ChainWindow(node);
  await window.show(0, 10);
  node.branches.length = 9;
  assert.equal(window.block(9), null);
  assert.equal(window.block(8).hash, "a8");
});

test("reorg_during_a_read_leaves_nothing_stale", async () => {
  const node = new FakeNode(10);
  const window = new ChainWindow(node);
  node.whileReading = () => {
    node.whileReading = undefined;
    node.branches.length = 8;
    node.extend("b", 4);
    node.tell(8, true);
  };
  await window.show(0, 11);
  assert.deepEqual(seen(window, 7, 11), ["b11", "b10", "b9", "b8", "a7"]);
});

test("failed_read_is_reported_until_the_next_succeeds", async () => {
  const node = new FakeNode(2);
  const window = new ChainWindow(node);
  node.whileReading = () => {
    throw new Error("the store is closed");
  };
  await window.show(0, 2);
  assert.equal(window.failure.message, "the store is closed");
  node.whileReading = undefined;
  await window.refresh();
  assert.equal(window.failure, null);
  assert.deepEqual(seen(window, 0, 2), ["a2", "a1", "a0"]);
});
