//! Texts about storage and the node's notices.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { noticeMessage, messageValues, storageMessage, usageMessage } from "../../www/messages.js";
import { LANGUAGES, say, setLanguage, loadLanguage } from "../../www/strings.js";

await loadLanguage("ko");
afterEach(() => setLanguage("en"));

const storage = (changed) => ({
  kind: "disk", slot: 0, reason: null, persisted: false, usage: null, quota: null, failing: false, saving: 0, lost: null,
  repaired: 0, unchecked: 0, ...changed,
});

const REASONS = ["closed", "full", "stuck", "newer-version", "failed"];

const text = (notice) => {
  const { key, values } = noticeMessage(notice);
  return say(key, messageValues(values));
};

test("each_failure_reason_has_its_own_text", () => {
  for (const code of LANGUAGES) {
    setLanguage(code);
    const words = REASONS.map((reason) => storageMessage(storage({ failing: true, reason })));
    assert.equal(new Set(words).size, REASONS.length);
  }
  setLanguage("en");
  assert.match(storageMessage(storage({ failing: true, reason: "newer-version" })), /newer version .* Reload/);
  assert.match(storageMessage(storage({ failing: true, reason: "closed" })), /reload the page/);
  const inMemory = storage({ kind: "memory", reason: "blocked", failing: true });
  assert.equal(storageMessage(inMemory), storageMessage(storage({ failing: true, reason: "failed" })));
});

test("words_about_storage_are_true_in_a_private_window", () => {
  // Private windows have a disk, too, as far as a page can tell.
  for (const persisted of [false, null, true]) {
    assert.match(storageMessage(storage({ persisted })), /private window forgets/);
    assert.doesNotMatch(storageMessage(storage({ persisted })), /for good|can close this tab without/);
  }
});

test("week_of_safari_is_told_only_there", () => {
  assert.match(storageMessage(storage({}), { forgetsAfterWeek: true }), /7 days .* export/);
  assert.doesNotMatch(storageMessage(storage({}), { forgetsAfterWeek: false }), /7 days/);
  assert.doesNotMatch(storageMessage(storage({ persisted: true }), { forgetsAfterWeek: true }), /7 days/);
  assert.doesNotMatch(storageMessage(storage({ kind: "memory" }), { forgetsAfterWeek: true }), /7 days/);
});

test("second_tab_of_a_browser_is_explained", () => {
  for (const code of LANGUAGES) {
    setLanguage(code);
    assert.ok(!storageMessage(storage({ slot: 0 })).includes(say("storage.otherTab", { tab: 1 })));
    assert.ok(storageMessage(storage({ slot: 1 })).endsWith(say("storage.otherTab", { tab: 2 })));
  }
});

test("readings_waiting_for_the_disk_are_counted", () => {
  assert.equal(storageMessage(storage({ saving: 1 })), "Saving 1 reading …");
  assert.equal(storageMessage(storage({ saving: 2 })), "Saving 2 readings …");
  assert.equal(storageMessage(storage({ saving: 2, failing: true, reason: "stuck" })), say("storage.failing-stuck"));
});

test("lost_readings_stay_reported", () => {
  const kept = storageMessage(storage({}));
  assert.equal(storageMessage(storage({ lost: 0 })), kept);
  assert.equal(storageMessage(storage({ lost: 1 })), `${kept} 1 unshared reading was lost.`);
  assert.equal(storageMessage(storage({ lost: 3 })), `${kept} 3 unshared readings were lost.`);
});

test("storage_notices_include_their_numbers", () => {
  assert.match(text({ kind: "storage-reopened", readings: null }), /nothing is lost/);
  assert.match(text({ kind: "storage-reopened", readings: 3 }), /Your key and 3 readings were saved again/);
  assert.match(text({ kind: "storage-lost", readings: 0, saved: 0 }), /Your key is the same\. Confirmed readings/);
  const lost = text({ kind: "storage-lost", readings: 2, saved: 20 });
  assert.match(lost, /20 waiting readings were restored from a copy\. .* 2 unshared readings were lost\./);
  assert.equal(text({ kind: "storage-failing", reason: "stuck" }), say("storage.failing-stuck"));
});

test("clock_change_is_reported_with_its_size", () => {
  assert.equal(text({ kind: "clock-set-back", byMs: 3 * 3_600_000 }), "This device's clock was set back by 3 hours.");
  assert.match(text({ kind: "clock-set-ahead", byMs: 120_000 }), /set ahead by 2 minutes/);
  assert.match(say("clock.heldBack", { blocks: 12, time: "14:05" }), /12 newer blocks are waiting, the first until 14:05/);
});

test("adopted_readings_are_counted", () => {
  const notice = { kind: "readings-adopted", readings: 3, slot: 1 };
  assert.equal(text(notice), "Took over 3 readings from another tab on this device.");
  setLanguage("ko");
  assert.match(text(notice), /3/);
});

test("unknown_notice_has_no_text", () => {
  assert.equal(noticeMessage({ kind: "of another version" }), null);
});

test("full_storage_has_no_quota_left_to_show", () => {
  const used = { usage: 1_390_000, quota: 10_700_000_000 };
  assert.equal(usageMessage(storage(used)), "1.39 MB of 10.7 GB used.");
  assert.equal(usageMessage(storage({ ...used, failing: true, reason: "stuck" })), "1.39 MB of 10.7 GB used.");
  assert.equal(usageMessage(storage({ ...used, failing: true, reason: "full" })), "");
  assert.equal(usageMessage(storage({ usage: 1 })), "");
});
