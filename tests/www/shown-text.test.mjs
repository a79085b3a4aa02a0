//! What strangers chose to be called, as the page shows it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { wordsOf } from "../../www/node-words.js";
import { shownInSentence, shownText } from "../../www/shown-text.js";

test("what_turns_text_around_or_is_not_seen_is_shown_by_its_number", () => {
  assert.equal(shownText("class\u202E7\u202C"), "class‹U+202E›7‹U+202C›");
  const unseen = [
    0x9, 0xa, 0x7f, 0x85, 0xa0, 0xad, 0x61c, 0x115f, 0x1160, 0x180e, 0x2003, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029,
    0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2066, 0x2067, 0x2068, 0x2069, 0x2800, 0x3164, 0xfe0f, 0xfeff, 0xffa0, 0xe0041,
  ];
  for (const code of unseen) {
    const name = code.toString(16).toUpperCase().padStart(4, "0");
    assert.equal(shownText(`a${String.fromCodePoint(code)}b`), `a‹U+${name}›b`);
  }
});

test("names_that_people_write_are_shown_as_they_write_them", () => {
  for (const name of ["class 7", "심박 7반", "東京　二", "école", "שלום", "می\u200cخواهم", "क्\u200dष", "👩‍👩‍👧 ❤️ 👨🏽‍🔬", "<b>&amp;</b>", ""]) {
    assert.equal(shownText(name), name);
  }
});

test("within_a_sentence_only_what_runs_from_right_to_left_is_set_apart", () => {
  assert.equal(shownInSentence("심박 7"), "심박 7");
  assert.equal(shownInSentence("שלום 7"), "\u2068שלום 7\u2069");
  // What would end its own isolation is seen, and ends nothing.
  assert.equal(shownInSentence("שלום\u2069 7"), "\u2068שלום‹U+2069› 7\u2069");
});

test("what_a_sentence_repeats_turns_nothing_around", () => {
  const room = 'this file is of the room "a\u202Eb", and this tab is in "lobby": open that room and import it there';
  assert.match(wordsOf(new Error(room)), /“a‹U\+202E›b”/);
  const given = 'the relay address "x\u2067y" is not a multiaddr (so)';
  assert.match(wordsOf(given), /^“x‹U\+2067›y”/);
  assert.equal(wordsOf("who knows\n\u200Fwhat"), "who knows ‹U+200F›what");
});
