//! Both catalogues are complete, and the page uses no missing keys.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { afterEach, test } from "node:test";
import { LANGUAGES, addTexts, chooseLanguage, formatBytes, formatDuration, language, say, setLanguage, loadLanguage } from "../../www/strings.js";
import { KNOWN, errorMessage } from "../../www/messages.js";
import lessonsEn from "../../www/lessons/strings-en.js";
import lessonsKo from "../../www/lessons/strings-ko.js";
import roomsEn from "../../www/rooms/strings-en.js";
import roomsKo from "../../www/rooms/strings-ko.js";
import pageEn from "../../www/strings/en.js";
import pageKo from "../../www/strings/ko.js";

const www = new URL("../../www/", import.meta.url);
const en = { ...pageEn, ...lessonsEn, ...roomsEn };
const ko = { ...pageKo, ...lessonsKo, ...roomsKo };
addTexts({ en: { ...lessonsEn, ...roomsEn }, ko: { ...lessonsKo, ...roomsKo } });

await loadLanguage("ko");
afterEach(() => setLanguage("en"));

test("catalogues_have_the_same_keys_and_types", () => {
  const shape = (catalogue) => Object.entries(catalogue).map(([key, value]) => `${key}: ${typeof value}`);
  assert.deepEqual(shape(ko).sort(), shape(en).sort());
});

test("no_text_contains_undefined", () => {
  const values = {
    all: 3, direct: 2, relayed: 1, block: 1, known: 2, max: 9, min: 1, found: 8, bpm: 72, reason: "so",
    ms: 4, index: 5, count: 6, features: "this", by: "1 minute", battery: 87,
    people: 2, name: "abc", time: "now", fork: 3, ours: 2, theirs: 1,
    notStored: { ownKey: 1, numberTaken: 0, unreadable: 0, noRoom: 0 },
    hashes: 9, bits: "1f00ffff", bad: 1, blocks: 2, newBlocks: 1, readings: 3, newReadings: 2, relays: 1, usage: "1 MB",
    quota: "2 MB", room: "lobby", limit: 8, position: 3, hash: "00ab", seq: 4, records: 5,
    at: 3, tip: 4, left: 1, kept: 2, waiting: 1, inChain: 1, was: 72, now: 112, next: 5, other: "author", ok: false,
    low: 60, high: 90, tab: 2, saved: 2, pace: 200, given: "x", option: "--x", file: "f", status: 404, tries: 65_536, speed: 1_000_000,
  };
  for (const code of LANGUAGES) {
    setLanguage(code);
    for (const key of Object.keys(en)) assert.doesNotMatch(say(key, values), /undefined|NaN|\[object/, `${code} ${key}`);
  }
});

test("korean_lines_break_between_paths_only", () => {
  setLanguage("ko");
  const said = say("status.inSync", { block: 7, all: 11, direct: 9, relayed: 2 });
  assert.deepEqual(said.split(" · ").at(-1).split(" "), ["피어", "11개(직접\u00a0연결\u00a09개,", "릴레이\u00a0경유\u00a02개)"]);
});

test("markup_matches_the_english_catalogue", async () => {
  const html = await readFile(new URL("index.html", www), "utf8");
  const said = [...html.matchAll(/data-say="([^"]+)"[^>]*>([^<]*)</g)];
  const labelled = [...html.matchAll(/data-say-label="([^"]+)" aria-label="([^"]*)"/g)];
  assert.ok(said.length > 10 && labelled.length > 2, "the patterns still match the markup");
  for (const [, key, text] of [...said, ...labelled]) assert.equal(text, en[key], key);
});

test("every_key_used_by_a_module_exists", async () => {
  const files = [...(await readdir(www)), ...(await readdir(new URL("components/", www))).map((file) => `components/${file}`)];
  let found = 0;
  for (const file of files.filter((file) => file.endsWith(".js"))) {
    const source = await readFile(new URL(file, www), "utf8");
    for (const [, key] of source.matchAll(/say\("([^"]+)"/g)) {
      found += 1;
      assert.ok(key in en, `${file} says ${key}`);
    }
  }
  assert.ok(found > 10);
});

test("import_says_what_is_not_stored_and_why", () => {
  const found = { blocks: 3, newBlocks: 1, readings: 30, newReadings: 10 };
  const none = { ownKey: 0, numberTaken: 0, unreadable: 0, noRoom: 0 };
  const all = say("data.imported", { ...found, notStored: none });
  assert.match(all, /New and stored: 1 block and 10 readings. Already here: 2 blocks and 20 readings.$/);
  const reasons = [["ownKey", /your own key/], ["numberTaken", /another reading of the author/], ["unreadable", /does not open/], ["noRoom", /too many/]];
  for (const [reason, words] of reasons) {
    const said = say("data.imported", { ...found, notStored: { ...none, [reason]: 4 } });
    assert.match(said, /Already here: 2 blocks and 16 readings. Not stored: 4 waiting readings /);
    assert.match(said, words);
    assert.equal(said.endsWith("Keep the file."), reason === "ownKey" || reason === "noRoom", reason);
    setLanguage("ko");
    assert.match(say("data.imported", { ...found, notStored: { ...none, [reason]: 4 } }), /이미 있음: 블록 2개, 기록 16개. 저장하지 않은 .+ 4개/);
    setLanguage("en");
  }
  const both = say("data.imported", { ...found, notStored: { ...none, numberTaken: 1, unreadable: 2 } });
  assert.match(both, /Not stored: 1 waiting reading with .+; 2 waiting readings that .+\.$/);
});

test("first_supported_language_is_chosen", () => {
  assert.equal(chooseLanguage(["ko-KR", "en"]), "ko");
  assert.equal(chooseLanguage([null, "fr", "ko"]), "ko");
  assert.equal(chooseLanguage([undefined, "fr-FR"]), "en");
  assert.equal(chooseLanguage([]), "en");
});

test("unknown_language_is_ignored", () => {
  setLanguage("xx");
  assert.equal(language(), "en");
});

test("duration_has_the_best_unit", () => {
  const spans = [[31_000, "31 seconds"], [89_000, "89 seconds"], [90_000, "2 minutes"], [600_000, "10 minutes"],
    [7_200_000, "2 hours"], [260_000_000, "3 days"]];
  for (const [ms, words] of spans) assert.equal(formatDuration(ms), words);
  setLanguage("ko");
  assert.equal(formatDuration(600_000), "10분");
});

test("storage_amount_has_the_best_unit", () => {
  for (const [bytes, words] of [[0, "0 bytes"], [1, "1 byte"], [999, "999 bytes"], [1_234_567, "1.23 MB"], [2.3e9, "2.3 GB"], [5e15, "5,000 TB"]]) {
    assert.equal(formatBytes(bytes), words);
  }
});

test("every_dry_run_kind_has_a_text", async () => {
  const types = await readFile(new URL("../../wasm-node/src/types.d.ts", import.meta.url), "utf8");
  const [, union] = /type DryRunKind =([^;]+);/.exec(types);
  const kinds = [...union.matchAll(/"([^"]+)"/g)].map(([, kind]) => `why.${kind}`);
  const source = await readFile(new URL("../../wasm-node/src/dry_run/kind.rs", import.meta.url), "utf8");
  const names = [...source.matchAll(/Self::\w+ => "([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(kinds, names.map((name) => `why.${name}`));
  assert.deepEqual(Object.keys(en).filter((key) => key.startsWith("why.")).sort(), kinds.toSorted());
});

test("every_known_node_error_exists_in_its_source", async () => {
  const root = new URL("../../wasm-node/", import.meta.url);
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith(".rs"));
  const sources = await Promise.all(files.map((file) => readFile(new URL(file, root), "utf8")));
  for (const { start, has = "", key } of KNOWN) {
    assert.ok(sources.some((source) => source.includes(start) && source.includes(has)), `no source has "${start}${has}"`);
    assert.ok(key in en, key);
  }
});

test("node_errors_are_translated", () => {
  setLanguage("ko");
  const words = errorMessage(new Error("too many readings at once: 64 already wait to be kept; wait a moment and enter it again"));
  assert.match(words, /64개/);
  assert.doesNotMatch(words, /[a-z]/);
  for (const [said, given] of [
    ['the relay address "<b>" is not a multiaddr (no protocol); one looks like /ip4/1', "“<b>”"],
    ['the relay address "/ip4/1.2.3.4/tcp/1" is not one that a browser can dial: it must', "“/ip4/1.2.3.4/tcp/1”"],
    ['the relay address "/ip4/1.2.3.4/tcp/1/ws" is not encrypted, and', "“/ip4/1.2.3.4/tcp/1/ws”"],
    ['the peer address "x" does not name a relay', "“x”"],
    ['"http://x" is not a STUN or TURN server: one looks', "“http://x”"],
    ["a room name of 70 bytes is longer than 64", "64"],
    ["relays has more than the 16 entries allowed", "16"],
  ]) {
    const words = errorMessage(new Error(said));
    assert.match(words, /[가-힣]/, said);
    assert.ok(words.includes(given), words);
  }
  assert.equal(errorMessage(new Error("something new")), "something new");
  assert.equal(errorMessage("text"), "text");
});
