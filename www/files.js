//! Files that a person saves and chooses. Never reads one that is larger than the node takes in.

import { PageError } from "./node-words.js";
import { formatBytes, say } from "./strings.js";

/**
 * The largest file that is read, as the node has it: some 70,000 blocks of ten readings. A document is parsed as a whole, and
 * browsers' strings end at twice that.
 */
export const MAX_FILE_BYTES = 256_000_000;

/** How long a saved file's contents are kept for the browser to take them, in ms. */
const TAKEN_MS = 60_000;

/** What no system wants in a file's name. */
const NOT_IN_NAMES = /[^\p{Letter}\p{Number}._-]+/gu;

/**
 * Saves something under a name, as a download.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(NOT_IN_NAMES, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_MS);
}

/**
 * The text of a chosen file.
 *
 * @param {File} file
 * @returns {Promise<string>} rejects with a PageError if it is too large or cannot be read
 */
export async function readText(file) {
  if (file.size > MAX_FILE_BYTES) {
    throw new PageError(() => say("data.tooLarge", { found: formatBytes(file.size), max: formatBytes(MAX_FILE_BYTES) }));
  }
  return file.text();
}
