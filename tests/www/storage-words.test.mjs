//! What the page says of storage and of what the node noticed.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { noticeWords, spoken } from "../../www/notice-words.js";
import { storageWords } from "../../www/storage-words.js";
import { LANGUAGES, say, setLanguage } from "../../www/strings.js";

afterEach(() => setLanguage("en"));

const storage = (changed) => ({
  kind: "disk", slot: 0, reason: null, persisted: false, usage: null, quota: null, failing: false, saving: 0, lost: null,
  healed: 0, unchecked: 0, ...changed,
});

const REASONS = ["closed", "full", "stuck", "newer-version", "failed"];

const said = (notice) => {
  const { key, values } = noticeWords(notice);
  return say(key, spoken(values));
};

test("each_reason_for_failing_has_its_own_words", () => {
  for (const code of LANGUAGES) {
    setLanguage(code);
    const words = REASONS.map((reason) => storageWords(storage({ failing: true, reason })));
    assert.equal(new Set(words).size, REASONS.length);
  }
  setLanguage("en");
  assert.match(storageWords(storage({ failing: true, reason: "newer-version" })), /newer version .* Reload/);
  assert.match(storageWords(storage({ failing: true, reason: "closed" })), /reload the page/);
  const inMemory = storage({ kind: "memory", reason: "blocked", failing: true });
  assert.equal(storageWords(inMemory), storageWords(storage({ failing: true, reason: "failed" })));
});

test("readings_that_wait_for_the_disk_are_counted", () => {
  assert.equal(storageWords(storage({ saving: 1 })), "Saving 1 reading …");
  assert.equal(storageWords(storage({ saving: 2 })), "Saving 2 readings …");
  assert.equal(storageWords(storage({ saving: 2, failing: true, reason: "stuck" })), say("storage.failing-stuck"));
});

test("lost_readings_are_told_for_as_long_as_the_tab_runs", () => {
  const kept = storageWords(storage({}));
  assert.equal(storageWords(storage({ lost: 0 })), kept);
  assert.equal(storageWords(storage({ lost: 1 })), `${kept} 1 reading that had not been shared is lost.`);
  assert.equal(storageWords(storage({ lost: 3 })), `${kept} 3 readings that had not been shared are lost.`);
});

test("what_happened_to_the_data_is_told_with_its_numbers", () => {
  assert.match(said({ kind: "storage-reopened", readings: null }), /nothing is lost/);
  assert.match(said({ kind: "storage-reopened", readings: 3 }), /Your key and 3 readings were saved again/);
  assert.match(said({ kind: "storage-lost", readings: 0, saved: 0 }), /Your key is the same\. What was confirmed/);
  const lost = said({ kind: "storage-lost", readings: 2, saved: 20 });
  assert.match(lost, /20 waiting readings were restored from a copy\. .* 2 readings that had not been shared are lost\./);
  assert.equal(said({ kind: "storage-failing", reason: "stuck" }), say("storage.failing-stuck"));
});

test("a_clock_that_was_set_is_told_with_how_far", () => {
  assert.equal(said({ kind: "clock-set-back", byMs: 3 * 3_600_000 }), "This computer's clock was set back by 3 hours.");
  assert.match(said({ kind: "clock-set-ahead", byMs: 120_000 }), /set ahead by 2 minutes/);
  assert.match(say("clock.heldBack", { blocks: 12, time: "14:05" }), /12 newer blocks wait until their time comes/);
});

test("readings_of_another_tab_are_counted", () => {
  const notice = { kind: "readings-adopted", readings: 3, slot: 1 };
  assert.equal(said(notice), "Readings of another tab on this computer were taken over: 3.");
  setLanguage("ko");
  assert.match(said(notice), /3/);
});

test("a_notice_of_an_unknown_kind_has_no_words", () => {
  assert.equal(noticeWords({ kind: "of another version" }), null);
});
