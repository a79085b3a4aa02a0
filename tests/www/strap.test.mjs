//! Parsing a strap's bytes by the flags of the Heart Rate Service's specification. No input makes the parser throw.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBattery, parseMeasurement } from "../../www/strap.js";

const view = (...bytes) => new DataView(Uint8Array.from(bytes).buffer);

test("eight_and_sixteen_bit_values_are_parsed", () => {
  assert.deepEqual(parseMeasurement(view(0b0_0000, 72)), { bpm: 72, contact: null, rrMs: [] });
  assert.deepEqual(parseMeasurement(view(0b0_0000, 255)).bpm, 255);
  assert.deepEqual(parseMeasurement(view(0b0_0001, 0x2c, 0x01)), { bpm: 300, contact: null, rrMs: [] });
});

test("contact_is_known_only_if_supported", () => {
  for (const [flags, contact] of [[0b000, null], [0b010, null], [0b100, false], [0b110, true]]) {
    assert.equal(parseMeasurement(view(flags, 72)).contact, contact, flags.toString(2));
  }
});

test("rr_intervals_follow_the_energy", () => {
  const all = parseMeasurement(view(0b1_1111, 72, 0, 0x10, 0x27, 0x00, 0x04, 0x00, 0x02));
  assert.deepEqual(all, { bpm: 72, contact: true, rrMs: [1000, 500] });
  assert.deepEqual(parseMeasurement(view(0b1_0000, 60, 0x40, 0x03)).rrMs, [812.5]);
  assert.deepEqual(parseMeasurement(view(0b0_1000, 60, 0xff, 0xff)).rrMs, [], "the energy is not an RR interval");
});

test("reserved_flags_and_extra_bytes_are_ignored", () => {
  assert.deepEqual(parseMeasurement(view(0b1110_0000, 72, 1, 2, 3)), { bpm: 72, contact: null, rrMs: [] });
});

test("truncated_values_are_skipped", () => {
  for (const bytes of [[], [0], [1], [1, 72]]) assert.equal(parseMeasurement(view(...bytes)), null, bytes.join());
  const rest = [[0b1_0000, 72], [0b1_0000, 72, 9], [0b1_1000, 72], [0b1_1000, 72, 1], [0b1_1000, 72, 1, 2, 3]];
  for (const bytes of rest) assert.deepEqual(parseMeasurement(view(...bytes)).rrMs, [], bytes.join());
  assert.deepEqual(parseMeasurement(view(0b1_0000, 72, 0, 4, 7)).rrMs, [1000], "half an interval is ignored");
});

test("view_into_a_larger_buffer_uses_its_offset", () => {
  const buffer = Uint8Array.of(9, 9, 0, 72, 9).buffer;
  assert.equal(parseMeasurement(new DataView(buffer, 2, 2)).bpm, 72);
});

test("overlong_value_is_read_only_to_its_bound", () => {
  const bytes = new Uint8Array(100_000).fill(1);
  bytes[0] = 0b1_0000;
  assert.equal(parseMeasurement(new DataView(bytes.buffer)).rrMs.length, 255);
});

test("random_bytes_never_throw", () => {
  let state = 0x9e3779b9;
  const byte = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  };
  for (let round = 0; round < 5_000; round += 1) {
    const bytes = Array.from({ length: byte() % 24 }, byte);
    const measurement = parseMeasurement(view(...bytes));
    if (measurement === null) continue;
    assert.ok(measurement.bpm >= 0 && measurement.bpm <= 65_535, bytes.join());
    assert.ok(measurement.rrMs.every((ms) => ms >= 0 && ms < 64_000), bytes.join());
  }
});

test("battery_is_a_percentage_or_unknown", () => {
  assert.equal(parseBattery(view(0)), 0);
  assert.equal(parseBattery(view(100, 1)), 100);
  assert.equal(parseBattery(view(101)), null);
  assert.equal(parseBattery(view()), null);
});
