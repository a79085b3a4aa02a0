//! One reading every few seconds from about one measurement per second.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_MEASUREMENTS, StrapSampler, isUsable, parseInterval } from "../../www/strap-sampler.js";

const beat = (bpm, contact = null) => ({ bpm, contact, rrMs: [] });

/** The readings that result from `[ms, measurement]` pairs, as `[ms, bpm]`. */
function readings(sampler, measurements) {
  return measurements
    .map(([at, measurement]) => [at, sampler.take(measurement, at)])
    .filter(([, bpm]) => bpm !== null);
}

test("reading_is_the_median_since_the_previous_one", () => {
  const sampler = new StrapSampler();
  const bpms = [70, 71, 72, 73, 74, 75, 80, 80, 80, 80, 81];
  const found = readings(sampler, bpms.map((bpm, second) => [second * 1000, beat(bpm)]));
  assert.deepEqual(found, [[5000, 73], [10_000, 80]]);
});

test("one_wrong_value_does_not_move_the_reading", () => {
  const found = readings(new StrapSampler(), [60, 60, 60, 240, 60, 60].map((bpm, second) => [second * 1000, beat(bpm)]));
  assert.deepEqual(found, [[5000, 60]], "the mean was 90");
});

test("contact_can_be_overridden", () => {
  const sampler = new StrapSampler();
  sampler.anyContact = true;
  assert.deepEqual(readings(sampler, [0, 1000, 5000].map((at) => [at, beat(98, false)])), [[5000, 98]]);
  assert.equal(isUsable(beat(0, false), true), false, "but not the range");
});

test("measurements_of_a_reading_are_bounded", () => {
  const sampler = new StrapSampler();
  sampler.intervalS = 60;
  for (let i = 0; i < 50 * MAX_MEASUREMENTS; i += 1) sampler.take(beat(i < 49 * MAX_MEASUREMENTS ? 200 : 60), i);
  assert.equal(sampler.take(beat(60), 60_000), 60, "only the newest count");
});

test("every_interval_keeps_its_pace", () => {
  for (const seconds of [1, 2, 5, 60]) {
    const sampler = new StrapSampler();
    sampler.intervalS = seconds;
    // 980 ms apart: slightly faster than the grid and never aligned with it.
    const found = readings(sampler, Array.from({ length: 620 }, (_, n) => [n * 980, beat(72)]));
    const expected = Math.floor((619 * 980) / (seconds * 1000));
    assert.ok(Math.abs(found.length - expected) <= 1, `${seconds} s: ${found.length} of ${expected}`);
  }
});

test("no_contact_or_out_of_range_gives_no_reading", () => {
  const useless = [beat(72, false), beat(0), beat(19), beat(401), beat(65_535)];
  for (const measurement of useless) {
    assert.equal(isUsable(measurement), false);
    const measurements = Array.from({ length: 30 }, (_, second) => [second * 1000, measurement]);
    assert.deepEqual(readings(new StrapSampler(), measurements), []);
  }
  for (const measurement of [beat(20), beat(400), beat(72, true)]) assert.equal(isUsable(measurement), true);
});

test("unusable_measurements_are_skipped", () => {
  const measurements = [[0, beat(60)], [1000, beat(0)], [2000, beat(200, false)], [3000, beat(62)], [5000, beat(401)]];
  assert.deepEqual(readings(new StrapSampler(), measurements), [[5000, 61]]);
});

test("gap_is_not_made_up_for", () => {
  const sampler = new StrapSampler();
  const found = readings(sampler, [[0, beat(60)], [100_000, beat(62)], [100_500, beat(64)], [101_000, beat(66)]]);
  assert.ok(found.length <= 2, `found ${found}`);
  assert.deepEqual(found[0], [100_000, 61]);
});

test("reset_discards_old_measurements", () => {
  const sampler = new StrapSampler();
  sampler.take(beat(200), 0);
  sampler.reset();
  assert.deepEqual(readings(sampler, [[1000, beat(60)], [5999, beat(60)], [6000, beat(60)]]), [[6000, 60]]);
});

test("new_interval_counts_from_the_last_reading", () => {
  const sampler = new StrapSampler();
  sampler.take(beat(60), 0);
  sampler.intervalS = 2;
  assert.deepEqual(readings(sampler, [[1000, beat(60)], [2000, beat(60)]]), [[2000, 60]]);
});

test("interval_is_a_whole_number_in_range", () => {
  for (const [text, seconds] of [["1", 1], ["60", 60], [" 5 ", 5]]) assert.equal(parseInterval(text), seconds);
  for (const text of ["", "0", "61", "-1", "1.5", "1e1", "x", "0x5"]) assert.equal(parseInterval(text), null, text);
});
