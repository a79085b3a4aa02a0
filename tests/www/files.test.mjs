//! A file is read only if the node can import it; otherwise the error says what to do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_FILE_BYTES, readText } from "../../www/model.js";
import { errorMessage } from "../../www/messages.js";
import { setLanguage, loadLanguage } from "../../www/strings.js";

await loadLanguage("ko");

const file = (size) => ({ size, text: async () => "its text" });

test("file_of_maximum_size_is_read", async () => {
  assert.equal(await readText(file(MAX_FILE_BYTES)), "its text");
});

test("larger_file_is_rejected_unread_with_advice", async () => {
  const unread = { size: MAX_FILE_BYTES + 1, text: () => assert.fail("it was read") };
  await assert.rejects(readText(unread), ({ message }) => {
    assert.match(message, /256 MB.*70,000 blocks.*over the network instead/u);
    return true;
  });
});

test("error_message_follows_the_language", async () => {
  const refusal = await readText(file(MAX_FILE_BYTES + 1)).catch((error) => error);
  const english = errorMessage(refusal);
  setLanguage("ko");
  assert.match(errorMessage(refusal), /256MB.*70,000/u);
  assert.doesNotMatch(errorMessage(refusal), /instead/u);
  setLanguage("en");
  assert.equal(errorMessage(refusal), english);
});
