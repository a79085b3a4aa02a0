//! A file is read only if the node takes it in; why not is said in a sentence that says what to do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_FILE_BYTES, readText } from "../../www/files.js";
import { wordsOf } from "../../www/node-words.js";
import { setLanguage } from "../../www/strings.js";

const file = (size) => ({ size, text: async () => "its text" });

test("a_file_as_large_as_may_be_is_read", async () => {
  assert.equal(await readText(file(MAX_FILE_BYTES)), "its text");
});

test("a_larger_one_is_refused_unread_and_the_sentence_says_what_to_do_instead", async () => {
  const unread = { size: MAX_FILE_BYTES + 1, text: () => assert.fail("it was read") };
  await assert.rejects(readText(unread), ({ message }) => {
    assert.match(message, /256 MB.*70,000 blocks.*over the network instead/u);
    return true;
  });
});

test("the_sentence_follows_the_language", async () => {
  const refusal = await readText(file(MAX_FILE_BYTES + 1)).catch((error) => error);
  const english = wordsOf(refusal);
  setLanguage("ko");
  assert.match(wordsOf(refusal), /256MB.*70,000/u);
  assert.doesNotMatch(wordsOf(refusal), /instead/u);
  setLanguage("en");
  assert.equal(wordsOf(refusal), english);
});
