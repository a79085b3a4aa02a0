//! Each result of a block's check is described.

import assert from "node:assert/strict";
import { test } from "node:test";
import { findings } from "../../www/messages.js";

const good = (count) => ({
  ok: true,
  hash: { ok: true, computed: "0abc" },
  work: { ok: true, target: "0fff", hash: "0abc" },
  link: { ok: true, expected: "0aaa" },
  root: { ok: true, computed: "beef" },
  difficulty: { ok: true, expected: 0x1f00ffff },
  time: { ok: true, after: 1 },
  readings: Array.from({ length: count }, (_, i) => ({ id: `id${i}`, ok: true, computedId: `id${i}`, signature: true, reason: null })),
});

test("valid_block_passes_every_check", () => {
  const found = findings({ index: 3 }, good(2));
  assert.equal(found.length, 7);
  assert.ok(found.every(({ ok, text }) => ok && text !== ""));
  assert.ok(found.some(({ text }) => text === "All 2 readings are signed by their authors."));
});

test("genesis_has_no_work_link_or_readings_to_check", () => {
  assert.equal(findings({ index: 0 }, good(0)).length, 2);
});

test("each_fault_shows_the_expected_value", () => {
  const check = { ...good(5), ok: false, root: { ok: false, computed: "dead" }, link: { ok: false, expected: null } };
  check.readings[1] = { ...check.readings[1], ok: false, signature: false };
  const bad = findings({ index: 3 }, check).filter(({ ok }) => !ok);
  assert.deepEqual(bad.map(({ detail }) => detail), ["", "dead", "id1"]);
  assert.match(bad[2].text, /^1 of 5 readings/);
});

test("many_bad_readings_are_counted", () => {
  const check = good(10);
  for (const reading of check.readings) reading.ok = false;
  assert.match(findings({ index: 3 }, check).at(-1).detail, /id0 id1 id2 … 7$/);
});

test("check_without_parent_shows_no_undefined", () => {
  const check = { ...good(1), work: { ok: false, target: null, hash: "f" }, difficulty: { ok: false, expected: null }, time: { ok: false, after: null } };
  for (const { text, detail } of findings({ index: 3 }, check)) assert.doesNotMatch(text + detail, /undefined|null/);
});
