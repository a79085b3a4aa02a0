//! Saves and reads files chosen by the user. Never reads a file larger than the node can import.

import { PageError } from "./error-messages.js";
import { formatBytes, say } from "./strings.js";

/**
 * The largest file that is read, as in the node: about 70,000 blocks of ten readings. A document is parsed as a whole,
 * and browsers limit strings to about twice that size.
 */
export const MAX_FILE_BYTES = 256_000_000;

/** How long the browser has to read a saved file's contents, in ms. */
const REVOKE_AFTER_MS = 60_000;

/** Characters that are not safe in file names on all systems. */
const UNSAFE_IN_NAMES = /[^\p{Letter}\p{Number}._-]+/gu;

/**
 * Saves a blob as a download.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(UNSAFE_IN_NAMES, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_AFTER_MS);
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
