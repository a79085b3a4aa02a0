//! Dense lines keep their extremes, and the axes have whole steps.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MIN_GAP_MS, bars, bpmAxis, inSight, isCrowded, longestPause, nearest, runs, timeTicks, usualPause } from "../../www/geometry.js";

const points = (bpms, step = 1000) => bpms.map((bpm, i) => ({ time: i * step, bpm, seq: i, id: String(i) }));

test("dense_line_becomes_bars_and_keeps_extremes", () => {
  const line = Array.from({ length: 20_000 }, (_, i) => ({ x: 40 + i / 40, y: 70 + (i % 7) }));
  line[1234].y = 200;
  line[15_000].y = 30;
  const found = bars(line, 40, 500);
  assert.equal(found.length, 500);
  assert.deepEqual(found.map(({ x }) => x), Array.from({ length: 500 }, (_, i) => 40 + i));
  assert.equal(Math.max(...found.map(({ bottom }) => bottom)), 200);
  assert.equal(Math.min(...found.map(({ top }) => top)), 30);
  assert.equal(found[Math.floor(1234 / 40)].bottom, 200);
});

test("adjacent_bars_are_connected", () => {
  const line = [{ x: -5, y: 0 }, { x: 2.5, y: 75 }, { x: 2.75, y: 10 }, { x: 6.5, y: 47.5 }, { x: 30, y: 47.5 }];
  const found = bars(line, 0, 10);
  assert.deepEqual(found.map(({ x }) => x), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(found[0], { x: 0, top: 50, bottom: 60 });
  assert.deepEqual(found[2], { x: 2, top: 10, bottom: 75 });
  assert.deepEqual(found[9], { x: 9, top: 47.5, bottom: 47.5 });
  found.forEach(({ top, bottom }, i) => {
    const next = found[i + 1];
    assert.ok(next === undefined || (next.top <= bottom + 1e-9 && top <= next.bottom + 1e-9), `between ${i} and the next`);
  });
});

test("line_outside_the_columns_gives_no_bars", () => {
  assert.deepEqual(bars([], 0, 10), []);
  assert.deepEqual(bars([{ x: -9, y: 1 }, { x: -3, y: 2 }], 0, 10), []);
  assert.deepEqual(bars([{ x: 12, y: 1 }, { x: 15, y: 2 }], 0, 10), []);
  assert.deepEqual(bars([{ x: 4.2, y: 7 }], 0, 10), [{ x: 4, top: 7, bottom: 7 }]);
});

test("visible_line_includes_its_neighbours", () => {
  const line = points([1, 2, 3, 4, 5, 6]);
  assert.deepEqual(inSight(line, 2000, 3000).map(({ bpm }) => bpm), [2, 3, 4, 5]);
  assert.deepEqual(inSight(line, 0, 5000).length, 6);
  assert.deepEqual(inSight(line, 9000, 9500).map(({ bpm }) => bpm), [6]);
});

test("bpm_axis_fits_all_values", () => {
  for (const [bpms, most] of [[[], 6], [[72], 6], [[60, 190], 4], [[20, 400], 3], [[20, 400], 20], [[48, 161], 6]]) {
    const { low, high, ticks } = bpmAxis(bpms, most);
    for (const bpm of bpms) assert.ok(low <= bpm && bpm <= high, `${bpm} in ${low} to ${high}`);
    assert.ok(high - low >= 40);
    assert.ok(ticks[0] >= low && ticks.at(-1) <= high && ticks.length >= 2, `${ticks} in ${low} to ${high}`);
    assert.ok(ticks.length <= Math.max(most, 4), `${ticks}`);
  }
  // Once 0 to 200, of which the values filled half.
  assert.deepEqual(bpmAxis([48, 161], 6), { low: 40, high: 170, ticks: [50, 75, 100, 125, 150] });
});

test("line_breaks_where_nothing_was_measured", () => {
  const at = (...times) => times.map((time) => ({ time: time * 1000 }));
  const strap = at(0, 5, 10, 15, 44, 49, 80, 85, 90);
  assert.equal(longestPause(strap), MIN_GAP_MS);
  assert.deepEqual(runs(strap, longestPause(strap)).map(({ length }) => length), [6, 3]);
  // One reading in ten minutes by hand: three of them still belong together.
  const byHand = at(0, 600, 1200, 2700, 3300, 9000);
  assert.equal(longestPause(byHand), 1_800_000);
  assert.deepEqual(runs(byHand, longestPause(byHand)).map(({ length }) => length), [5, 1]);
  assert.deepEqual(runs([], 1), []);
  assert.equal(longestPause(at(7)), MIN_GAP_MS);
});

test("usual_pause_ignores_the_night", () => {
  assert.equal(usualPause([]), 0);
  assert.equal(usualPause([{ time: 7 }]), 0);
  const today = points([60, 61, 62, 63]).map(({ time }) => ({ time: time + 86_400_000 }));
  assert.equal(usualPause([{ time: 0 }, ...today]), 1_000);
});

test("crowded_range_is_drawn_by_hour", () => {
  const [hour, day] = [3_600_000, 86_400_000];
  // A strap that records every 5 s: three hours of it are a line, a whole day is a surface, and so is a class of twelve.
  assert.equal(isCrowded(3 * 720, 630, day), false);
  assert.equal(isCrowded(24 * 720, 630, day), true);
  assert.equal(isCrowded(12 * 3 * 720, 630, day), true);
  assert.equal(isCrowded(12 * 720, 630, hour), false, "an hour has no hours to show");
  assert.equal(isCrowded(24 * 720, Infinity, day), false, "a chart that is not visible");
});

test("time_ticks_are_at_whole_local_steps", () => {
  const hour = 3_600_000;
  const offset = 5.5 * hour;
  const { step, times } = timeTicks(1_000_000_000_000, 1_000_000_000_000 + 24 * hour, 6, offset);
  assert.equal(step, 6 * hour);
  assert.ok(times.length >= 3 && times.length <= 6);
  for (const time of times) assert.equal((time + offset) % step, 0);
  assert.ok(timeTicks(0, 300_000, 4, 0).times.length <= 5);
  // Sixty days once had two labels.
  assert.ok(timeTicks(0, 60 * 24 * hour, 8, 0).times.length >= 4);
});

test("pointer_selects_nearest_reading_within_reach", () => {
  const scale = { x: (time) => time / 100, y: (bpm) => 200 - bpm };
  const lines = [["a", points([70, 80, 90])], ["b", points([120, 121, 122])]];
  assert.deepEqual(nearest(lines, scale, { x: 11, y: 119 }, 20), { author: "a", point: lines[0][1][1] });
  assert.equal(nearest(lines, scale, { x: 11, y: 80 }, 3).author, "b");
  assert.equal(nearest(lines, scale, { x: 300, y: 80 }, 20), null);
});
