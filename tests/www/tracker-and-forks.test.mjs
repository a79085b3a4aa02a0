//! The progress of own readings, the display of forks, and small helpers for display.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_TRACKED, ReadingTracker, MIN_FORK_BLOCKS, RECENT_FORK_BLOCKS, MAX_SHOWN_BLOCKS, MAX_SHOWN_FORKS, recentForks,
  rivals, expectedHashes, newestOnly, restAfter,
} from "../../www/model.js";
import { QUIET_MODULES, qrPath } from "../../www/geometry.js";

const progress = (tracker, index, tip) => {
  const [{ stage, confirmations }] = tracker.follow([{ id: "x", index }], tip);
  return [stage, confirmations];
};

test("reading_progress_survives_a_fork", () => {
  const tracker = new ReadingTracker();
  assert.deepEqual(progress(tracker, null, 4), ["kept", 0]);
  assert.deepEqual(progress(tracker, 5, 5), ["mined", 1]);
  assert.deepEqual(progress(tracker, 5, 8), ["mined", 4]);
  assert.deepEqual(progress(tracker, null, 9), ["returned", 0]);
  assert.deepEqual(progress(tracker, 10, 10), ["mined", 1]);
});

test("waiting_reading_after_reload_counts_as_saved", () => {
  assert.deepEqual(progress(new ReadingTracker(), null, 9), ["kept", 0]);
});

test("tracked_readings_are_bounded", () => {
  const tracker = new ReadingTracker();
  tracker.follow([{ id: "x", index: 1 }], 1);
  for (let i = 0; i < MAX_TRACKED; i += 1) tracker.follow([{ id: `${i}`, index: 1 }], 1);
  assert.deepEqual(progress(tracker, null, 2), ["kept", 0]);
});

const branch = (index, fork, count) => ({
  tip: `t${index}`,
  index,
  fork,
  blocks: Array.from({ length: count }, (_, i) => ({ index: index - i, hash: `h${index - i}` })),
});

test("fork_is_listed_oldest_first_from_common_block", () => {
  const [fork] = recentForks([branch(12, 10, 2)], 13);
  assert.deepEqual(fork.ours, [11, 12, 13]);
  assert.deepEqual(fork.theirs.map(({ index }) => index), [11, 12]);
  assert.deepEqual([fork.fork, fork.oursLeft, fork.theirsLeft], [10, 0, 0]);
});

test("long_fork_is_truncated_and_counted", () => {
  const [fork] = recentForks([branch(40, 10, 16)], 41);
  assert.equal(fork.ours.length, MAX_SHOWN_BLOCKS);
  assert.equal(fork.oursLeft, 31 - MAX_SHOWN_BLOCKS);
  assert.deepEqual(fork.theirs.map(({ index }) => index), [36, 37, 38, 39, 40]);
  assert.equal(fork.theirsLeft, 30 - MAX_SHOWN_BLOCKS);
});

test("old_forks_are_hidden_and_many_are_bounded", () => {
  assert.equal(recentForks([branch(12, 10, 2)], 12 + RECENT_FORK_BLOCKS).length, 0);
  assert.equal(recentForks([branch(12, 10, 2)], 11 + RECENT_FORK_BLOCKS).length, 1);
  assert.equal(recentForks([1, 2, 3, 4].map(() => branch(12, 10, 2)), 12).length, MAX_SHOWN_FORKS);
});

test("pinned_fork_stays_while_the_chain_grows", () => {
  const pinned = { fork: 10, blocks: [{ index: 11, hash: "mine11" }, { index: 12, hash: "mine12" }] };
  const busy = Array.from({ length: 16 }, (_, i) => branch(300 - i, 290, 2));
  for (const tip of [13, 12 + RECENT_FORK_BLOCKS, 500]) {
    const [fork, ...more] = recentForks(busy, tip, pinned);
    assert.deepEqual(more, []);
    assert.deepEqual([fork.fork, fork.ours[0], fork.theirs.map(({ hash }) => hash), fork.pinned], [10, 11, ["mine11", "mine12"], true]);
    assert.equal(fork.ours.length + fork.oursAbove, tip - 10);
  }
  assert.equal(recentForks([branch(12, 10, 2)], 20, { fork: 10, blocks: [] })[0].theirs.length, 2, "others' branch, if it is known");
  assert.deepEqual(recentForks([], 20, null), []);
});

test("single_block_fork_is_shown_only_on_its_card", () => {
  const short = branch(12, 12 - MIN_FORK_BLOCKS + 1, MIN_FORK_BLOCKS - 1);
  assert.equal(recentForks([short], 12).length, 0);
  assert.deepEqual([...rivals([short])], [[12, "h12"]]);
  assert.equal(rivals([]).size, 0);
});

test("qr_code_is_drawn_in_runs_inside_its_quiet_zone", () => {
  const { size, path } = qrPath(Uint8Array.from([1, 1, 0, 0, 1, 0, 1, 0, 1]));
  const q = QUIET_MODULES;
  assert.equal(size, 3 + 2 * q);
  assert.equal(path, `M${q} ${q}h2v1h-2zM${q + 1} ${q + 1}h1v1h-1zM${q} ${q + 2}h1v1h-1zM${q + 2} ${q + 2}h1v1h-1z`);
  assert.throws(() => qrPath(new Uint8Array(5)), RangeError);
});

test("compact_target_gives_expected_hashes", () => {
  assert.equal(expectedHashes(0x0300_0001), 2 ** 256);
  assert.ok(Math.abs(expectedHashes(0x1d00_ffff) - 2 ** 32) < 2 ** 17);
  assert.equal(expectedHashes(0), Infinity);
});

test("only_the_newest_read_counts", async () => {
  const answers = new Map();
  const read = newestOnly((index) => new Promise((answer) => answers.set(index, answer)));
  const [older, newer] = [read(1), read(2)];
  answers.get(2)("block 2");
  answers.get(1)("block 1");
  assert.deepEqual([await older, await newer], [null, "block 2"]);
  const next = read(3);
  answers.get(3)("block 3");
  assert.equal(await next, "block 3");
});

test("slow_work_runs_less_often", () => {
  assert.equal(restAfter(1), 0);
  assert.equal(restAfter(20), 80);
  assert.equal(restAfter(10_000), 1_000);
});
