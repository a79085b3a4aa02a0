//! What becomes of own readings and of branches, for a person to see; and the small pictures of numbers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_REMEMBERED, ReadingLives } from "../../www/reading-life.js";
import { FORK_BLOCKS, FORK_FRESH_BLOCKS, MAX_SHOWN_BLOCKS, MAX_SHOWN_FORKS, freshForks, rivals } from "../../www/fork.js";
import { QUIET_MODULES, qrPath } from "../../www/qr-path.js";
import { expectedHashes } from "../../www/work.js";
import { restAfter } from "../../www/coalesce.js";

const life = (lives, index, tip) => {
  const [{ stage, confirmations }] = lives.follow([{ id: "x", index }], tip);
  return [stage, confirmations];
};

test("a_reading_is_kept_then_mined_then_buried_and_back_after_a_fork", () => {
  const lives = new ReadingLives();
  assert.deepEqual(life(lives, null, 4), ["kept", 0]);
  assert.deepEqual(life(lives, 5, 5), ["mined", 1]);
  assert.deepEqual(life(lives, 5, 8), ["mined", 4]);
  assert.deepEqual(life(lives, null, 9), ["returned", 0]);
  assert.deepEqual(life(lives, 10, 10), ["mined", 1]);
});

test("after_a_reload_a_waiting_reading_is_simply_kept", () => {
  assert.deepEqual(life(new ReadingLives(), null, 9), ["kept", 0]);
});

test("only_so_many_readings_are_remembered", () => {
  const lives = new ReadingLives();
  lives.follow([{ id: "x", index: 1 }], 1);
  for (let i = 0; i < MAX_REMEMBERED; i += 1) lives.follow([{ id: `${i}`, index: 1 }], 1);
  assert.deepEqual(life(lives, null, 2), ["kept", 0]);
});

const branch = (index, fork, count) => ({
  tip: `t${index}`,
  index,
  fork,
  blocks: Array.from({ length: count }, (_, i) => ({ index: index - i, hash: `h${index - i}` })),
});

test("a_fork_is_shown_from_the_common_block_on_oldest_first", () => {
  const [fork] = freshForks([branch(12, 10, 2)], 13);
  assert.deepEqual(fork.ours, [11, 12, 13]);
  assert.deepEqual(fork.theirs.map(({ index }) => index), [11, 12]);
  assert.deepEqual([fork.fork, fork.oursLeft, fork.theirsLeft], [10, 0, 0]);
});

test("a_long_fork_is_cut_and_counted", () => {
  const [fork] = freshForks([branch(40, 10, 16)], 41);
  assert.equal(fork.ours.length, MAX_SHOWN_BLOCKS);
  assert.equal(fork.oursLeft, 31 - MAX_SHOWN_BLOCKS);
  assert.deepEqual(fork.theirs.map(({ index }) => index), [36, 37, 38, 39, 40]);
  assert.equal(fork.theirsLeft, 30 - MAX_SHOWN_BLOCKS);
});

test("old_forks_are_no_news_and_many_are_bounded", () => {
  assert.equal(freshForks([branch(12, 10, 2)], 12 + FORK_FRESH_BLOCKS).length, 0);
  assert.equal(freshForks([branch(12, 10, 2)], 11 + FORK_FRESH_BLOCKS).length, 1);
  assert.equal(freshForks([1, 2, 3, 4].map(() => branch(12, 10, 2)), 12).length, MAX_SHOWN_FORKS);
});

test("two_blocks_found_at_one_moment_are_only_told_on_their_card", () => {
  const daily = branch(12, 12 - FORK_BLOCKS + 1, FORK_BLOCKS - 1);
  assert.equal(freshForks([daily], 12).length, 0);
  assert.deepEqual([...rivals([daily])], [[12, "h12"]]);
  assert.equal(rivals([]).size, 0);
});

test("a_qr_code_is_drawn_run_by_run_within_its_quiet_zone", () => {
  const { size, path } = qrPath(Uint8Array.from([1, 1, 0, 0, 1, 0, 1, 0, 1]));
  const q = QUIET_MODULES;
  assert.equal(size, 3 + 2 * q);
  assert.equal(path, `M${q} ${q}h2v1h-2zM${q + 1} ${q + 1}h1v1h-1zM${q} ${q + 2}h1v1h-1zM${q + 2} ${q + 2}h1v1h-1z`);
  assert.throws(() => qrPath(new Uint8Array(5)), RangeError);
});

test("a_compact_target_means_so_many_hashes", () => {
  assert.equal(expectedHashes(0x0300_0001), 2 ** 256);
  assert.ok(Math.abs(expectedHashes(0x1d00_ffff) - 2 ** 32) < 2 ** 17);
  assert.equal(expectedHashes(0), Infinity);
});

test("work_that_takes_long_runs_less_often", () => {
  assert.equal(restAfter(1), 0);
  assert.equal(restAfter(20), 80);
  assert.equal(restAfter(10_000), 1_000);
});
