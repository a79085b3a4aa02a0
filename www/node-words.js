//! What the node says when it refuses, in the language of the page. The node speaks English only; what it says is
//! known by how it begins. Never hides what it does not know: that is shown as it was said.

import { say } from "./strings.js";

/**
 * How each of the node's sentences begins, the key of its words, and what to take from it. A test holds the beginnings
 * to the node's source.
 */
export const KNOWN = [
  { start: "the reading could not be kept on this computer", key: "error.notStored" },
  { start: "you have recorded ", key: "error.journalFull", limit: /^\D*(\d+)/ },
  { start: "too many readings at once: ", key: "error.tooManyReadings", limit: /^\D*(\d+)/ },
  { start: "too much at once: ", key: "error.busy", limit: /^\D*(\d+)/ },
  { start: "this node has stopped", key: "error.stopped" },
  { start: "storage failed: ", key: "error.storage", reason: /^storage failed: (.*)/ },
  { start: "storage is too slow: ", key: "error.slowStorage", limit: /^\D*(\d+)/ },
  { start: "this browser gives no random numbers", key: "error.noChance" },
  { start: "heartchain broke and must be reloaded: ", key: "error.broke", reason: /^heartchain broke and must be reloaded: (.*)/s },
];

/**
 * The words that an error has for a person.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function wordsOf(error) {
  const said = error instanceof Error ? error.message : String(error);
  const known = KNOWN.find(({ start }) => said.startsWith(start));
  if (known === undefined) return said;
  const { key, limit, reason } = known;
  return say(key, { limit: Number(limit?.exec(said)?.[1] ?? 0), reason: reason?.exec(said)?.[1] ?? "" });
}
