//! The history has no duplicates, is sorted and bounded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_AUTHORS, MAX_READINGS, ReadingHistory, indexAfter } from "../../www/model.js";

const reading = (author, seq, time = seq) => ({ author, seq, time, bpm: 60 + (seq % 40), id: `${author}${seq}` });
const times = (history, author) => history.authors.get(author)?.map(({ time }) => time) ?? [];

test("readings_are_sorted_without_duplicates", () => {
  const history = new ReadingHistory();
  assert.equal(history.add([reading("a", 3), reading("a", 1), reading("b", 2)]), true);
  assert.equal(history.add([reading("a", 2), reading("a", 3)]), true);
  assert.equal(history.add([reading("a", 2)]), false);
  assert.deepEqual(times(history, "a"), [1, 2, 3]);
  assert.deepEqual(times(history, "b"), [2]);
  assert.equal(history.size, 4);
  assert.equal(history.oldest, 1);
});

test("empty_history_has_no_oldest_reading", () => {
  assert.equal(new ReadingHistory().oldest, null);
  assert.equal(new ReadingHistory().omittedUntil, null);
});

test("oldest_readings_are_dropped_at_the_bound", () => {
  const history = new ReadingHistory();
  const all = Array.from({ length: MAX_READINGS }, (_, i) => reading(i % 2 === 0 ? "a" : "b", i));
  history.add(all);
  assert.equal(history.size, MAX_READINGS);
  history.add([reading("a", MAX_READINGS)]);
  assert.ok(history.size < MAX_READINGS && history.size > 0.85 * MAX_READINGS, `${history.size}`);
  assert.equal(history.authors.get("a").at(-1).time, MAX_READINGS);
  assert.ok(history.omittedUntil < history.oldest && history.omittedUntil > 0, "the dropped range is recorded");
  assert.ok(history.oldest > 0.05 * MAX_READINGS);
  const counted = [...history.authors.values()].reduce((sum, points) => sum + points.length, 0);
  assert.equal(history.size, counted);
});

test("simultaneous_readings_are_bounded_too", () => {
  const history = new ReadingHistory();
  history.add(Array.from({ length: MAX_READINGS + 1 }, (_, i) => reading(`${i % 3}`, i, 7)));
  assert.ok(history.size <= MAX_READINGS, `${history.size}`);
});

test("authors_silent_longest_are_dropped_at_the_bound", () => {
  const history = new ReadingHistory();
  for (let i = 0; i <= MAX_AUTHORS; i += 1) history.add([reading(`author ${i}`, 0, i)]);
  assert.ok(history.authors.size <= MAX_AUTHORS);
  assert.equal(history.authors.has("author 0"), false);
  assert.equal(history.authors.has(`author ${MAX_AUTHORS}`), true);
  assert.equal(history.size, history.authors.size);
});

test("index_after_skips_equal_times", () => {
  const points = [1, 3, 3, 5].map((time) => ({ time }));
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6].map((time) => indexAfter(points, time)), [0, 1, 1, 3, 3, 4, 4]);
  assert.equal(indexAfter([], 1), 0);
});
