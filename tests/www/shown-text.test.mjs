//! How untrusted names are displayed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { errorMessage, shownInSentence, shownText } from "../../www/messages.js";

test("invisible_characters_are_spelled_out", () => {
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

test("legitimate_names_are_unchanged", () => {
  for (const name of ["class 7", "심박 7반", "東京　二", "école", "שלום", "می\u200cخواهم", "क्\u200dष", "👩‍👩‍👧 ❤️ 👨🏽‍🔬", "<b>&amp;</b>", ""]) {
    assert.equal(shownText(name), name);
  }
});

test("only_right_to_left_text_is_isolated", () => {
  assert.equal(shownInSentence("심박 7"), "심박 7");
  assert.equal(shownInSentence("שלום 7"), "\u2068שלום 7\u2069");
  // A character that would end the isolation is spelled out and ends nothing.
  assert.equal(shownInSentence("שלום\u2069 7"), "\u2068שלום‹U+2069› 7\u2069");
});

test("quoted_input_cannot_change_text_direction", () => {
  const room = 'this file is of the room "a\u202Eb", and this tab is in "lobby": open that room and import it there';
  assert.match(errorMessage(new Error(room)), /“a‹U\+202E›b”/);
  const given = 'the relay address "x\u2067y" is not a multiaddr (so)';
  assert.match(errorMessage(given), /^“x‹U\+2067›y”/);
  assert.equal(errorMessage("who knows\n\u200Fwhat"), "who knows ‹U+200F›what");
});
