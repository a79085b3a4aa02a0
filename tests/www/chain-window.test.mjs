//! The page shows the chain as it is, fetching only what it shows and lacks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ChainWindow, PAGE_BLOCKS } from "../../www/chain-window.js";

/** A node whose chain is a list of branch names: block i has the hash "<branch>i". */
class FakeNode extends EventTarget {
  asked = [];
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
    this.asked.push([from, to]);
    const found = this.branches.slice(from, to + 1).map((branch, i) => ({ index: from + i, hash: `${branch}${from + i}` }));
    await this.whileReading?.();
    return found;
  }
}

const hashes = (window) => window.view.blocks.map((block) => block.hash);

test("a_short_chain_is_shown_whole_newest_first", async () => {
  const window = new ChainWindow(new FakeNode(3));
  await window.refresh();
  assert.deepEqual(hashes(window), ["a3", "a2", "a1", "a0"]);
  assert.equal(window.view.hasOlder, false);
  assert.equal(window.view.following, true);
});

test("a_new_block_is_fetched_alone_and_the_page_stays_bounded", async () => {
  const node = new FakeNode(200);
  const window = new ChainWindow(node);
  await window.refresh();
  node.extend("a", 1);
  node.tell(201);
  await window.refresh();
  assert.deepEqual(node.asked, [[151, 200], [201, 201]]);
  assert.equal(window.view.blocks.length, PAGE_BLOCKS);
  assert.equal(hashes(window)[0], "a201");
});

test("nothing_new_asks_nothing", async () => {
  const node = new FakeNode(5);
  const window = new ChainWindow(node);
  await window.refresh();
  await window.refresh();
  assert.equal(node.asked.length, 1);
});

test("a_reorganisation_replaces_what_it_changed", async () => {
  const node = new FakeNode(10);
  const window = new ChainWindow(node);
  await window.refresh();
  node.branches.length = 9;
  node.extend("b", 3);
  node.tell(9, true);
  await window.refresh();
  assert.deepEqual(hashes(window).slice(0, 4), ["b11", "b10", "b9", "a8"]);
  assert.deepEqual(node.asked.at(-1), [9, 11]);
});

test("a_reorganisation_during_a_read_leaves_nothing_stale", async () => {
  const node = new FakeNode(10);
  const window = new ChainWindow(node);
  node.whileReading = () => {
    node.whileReading = undefined;
    node.branches.length = 8;
    node.extend("b", 4);
    node.tell(8, true);
  };
  await window.refresh();
  assert.deepEqual(hashes(window).slice(0, 5), ["b11", "b10", "b9", "b8", "a7"]);
  assert.equal(window.view.blocks.length, 12);
});

test("older_pages_stand_still_while_the_chain_grows", async () => {
  const node = new FakeNode(120);
  const window = new ChainWindow(node);
  await window.refresh();
  await window.showOlder();
  assert.deepEqual([hashes(window)[0], hashes(window).at(-1)], ["a70", "a21"]);
  node.extend("a", 1);
  node.tell(121);
  await window.refresh();
  assert.equal(hashes(window)[0], "a70");
  assert.equal(window.view.following, false);
  await window.showOlder();
  assert.deepEqual([hashes(window)[0], hashes(window).at(-1)], ["a20", "a0"]);
  assert.equal(window.view.hasOlder, false);
  await window.showOlder();
  assert.equal(hashes(window)[0], "a20");
  await window.showNewer();
  await window.showNewer();
  await window.showNewer();
  assert.equal(hashes(window)[0], "a121");
  assert.equal(window.view.following, true);
});

test("a_failed_read_is_told_and_mended_by_the_next", async () => {
  const node = new FakeNode(2);
  const window = new ChainWindow(node);
  node.whileReading = () => {
    throw new Error("the store is closed");
  };
  await window.refresh();
  assert.equal(window.view.failure, "the store is closed");
  node.whileReading = undefined;
  await window.refresh();
  assert.equal(window.view.failure, null);
  assert.deepEqual(hashes(window), ["a2", "a1", "a0"]);
});
