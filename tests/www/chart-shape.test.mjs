//! The chart shows all that its pixels can: nothing that sticks out is thinned away, and the axes stand at whole steps.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bpmAxis, inSight, nearest, summary, thin, timeTicks } from "../../www/chart-shape.js";

const points = (bpms, step = 1000) => bpms.map((bpm, i) => ({ time: i * step, bpm, seq: i, id: String(i) }));

test("thinning_keeps_the_extremes_and_bounds_the_points_a_column", () => {
  const bpms = Array.from({ length: 20_000 }, (_, i) => 70 + (i % 7));
  bpms[1234] = 200;
  bpms[15_000] = 30;
  const x = (time) => time / 40_000; // 500 columns
  const kept = thin(points(bpms), x);
  assert.ok(kept.length <= 4 * 500, `${kept.length}`);
  assert.ok(kept.some(({ bpm }) => bpm === 200) && kept.some(({ bpm }) => bpm === 30));
  assert.equal(kept[0].seq, 0);
  assert.equal(kept.at(-1).seq, 19_999);
  assert.ok(kept.every(({ time }, i) => i === 0 || kept[i - 1].time <= time));
});

test("sparse_lines_are_drawn_whole", () => {
  const line = points([70, 71, 72]);
  assert.deepEqual(thin(line, (time) => time / 10), line);
  assert.deepEqual(thin([], () => 0), []);
});

test("a_line_in_sight_takes_its_neighbours_along", () => {
  const line = points([1, 2, 3, 4, 5, 6]);
  assert.deepEqual(inSight(line, 2000, 3000).map(({ bpm }) => bpm), [2, 3, 4, 5]);
  assert.deepEqual(inSight(line, 0, 5000).length, 6);
  assert.deepEqual(inSight(line, 9000, 9500).map(({ bpm }) => bpm), [6]);
});

test("the_axis_of_heart_rates_holds_all_with_whole_steps", () => {
  for (const [bpms, most] of [[[], 6], [[72], 6], [[60, 190], 4], [[20, 400], 3], [[20, 400], 20]]) {
    const { low, high, ticks } = bpmAxis(bpms, most);
    for (const bpm of bpms) assert.ok(low <= bpm && bpm <= high, `${bpm} in ${low} to ${high}`);
    assert.ok(high - low >= 40);
    assert.equal(ticks[0], low);
    assert.equal(ticks.at(-1), high);
    assert.ok(ticks.length <= Math.max(most, 5), `${ticks}`);
  }
});

test("marks_of_time_stand_at_whole_steps_of_the_wall_clock", () => {
  const hour = 3_600_000;
  const offset = 5.5 * hour;
  const { step, times } = timeTicks(1_000_000_000_000, 1_000_000_000_000 + 24 * hour, 6, offset);
  assert.equal(step, 6 * hour);
  assert.ok(times.length >= 3 && times.length <= 6);
  for (const time of times) assert.equal((time + offset) % step, 0);
  assert.ok(timeTicks(0, 300_000, 4, 0).times.length <= 5);
});

test("a_pointer_means_the_nearest_reading_within_its_reach", () => {
  const scale = { x: (time) => time / 100, y: (bpm) => 200 - bpm };
  const lines = [["a", points([70, 80, 90])], ["b", points([120, 121, 122])]];
  assert.deepEqual(nearest(lines, scale, { x: 11, y: 119 }, 20), { author: "a", point: lines[0][1][1] });
  assert.equal(nearest(lines, scale, { x: 11, y: 80 }, 3).author, "b");
  assert.equal(nearest(lines, scale, { x: 300, y: 80 }, 20), null);
});

test("a_line_is_summed_up", () => {
  assert.deepEqual(summary(points([70, 60, 95])), { count: 3, latest: 95, lowest: 60, highest: 95, mean: 75 });
});
