//! What the heart-rate field accepts and rejects. Run: `node --test tests/www/` (Node 20.19, 22.7 or later).

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_BPM, MIN_BPM, parseBpm } from "../../www/input.js";

test("whole_numbers_in_range_are_accepted", () => {
  for (const [text, bpm] of [["20", MIN_BPM], ["72", 72], ["400", MAX_BPM], [" 72 ", 72], ["072", 72]]) {
    assert.equal(parseBpm(text), bpm, JSON.stringify(text));
  }
});

test("everything_else_is_rejected", () => {
  const refused = ["", " ", "   ", "abc", "7a", "19", "401", "72.5", "72.0", "1e2", "-1", "-72", "+72", "0x48",
    "7 2", "99999999999999999999", "NaN", "Infinity", "\u{ff17}\u{ff12}", "null"];
  for (const text of refused) assert.equal(parseBpm(text), null, JSON.stringify(text));
});
