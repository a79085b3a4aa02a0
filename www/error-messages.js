//! Translates the node's error messages into the page's language. The node reports errors in English; each is
//! recognized by its beginning and by other text in it. Unknown errors are shown unchanged, never hidden.

import { shownInSentence } from "./shown-text.js";
import { say } from "./strings.js";

/** The first number in a message. */
const NUMBER = /^\D*(\d+)/;

/** The rejected input, which the message repeats in quotes. */
const GIVEN = /"((?:[^"\\]|\\.)*)"/s;

/** The upper limit. */
const MOST = /than (\d+)/;

/** Patterns whose match is a number, not text. */
const NUMERIC = new Set([NUMBER, MOST]);

/**
 * How each of the node's messages starts and what else it contains, the key of its translation, and the values to
 * extract. A test checks `start` and `has` against the node's source.
 *
 * @type {{ start: string, has?: string, key: string, take?: Record<string, RegExp> }[]}
 */
export const KNOWN = [
  { start: "the reading could not be kept on this computer", key: "error.notStored" },
  { start: "you have recorded ", key: "error.journalFull", take: { limit: NUMBER } },
  { start: "too many readings at once: ", key: "error.tooManyReadings", take: { limit: NUMBER } },
  { start: "too much at once: ", key: "error.busy", take: { limit: NUMBER } },
  { start: "this node has stopped", key: "error.stopped" },
  { start: "storage failed: ", key: "error.storage", take: { reason: /^storage failed: (.*)/s } },
  { start: "storage is too slow: ", key: "error.slowStorage", take: { limit: NUMBER } },
  { start: "this browser gives no random numbers", key: "error.noRandomness" },
  { start: "heartchain broke and must be reloaded: ", key: "error.broke", take: { reason: /reloaded: (.*)/s } },
  { start: "this is no file that Heartchain exported", key: "error.noDocument" },
  { start: "this file has the format ", key: "error.format", take: { found: /format "(.*?)"/ } },
  { start: "this file is of the room ", key: "error.otherRoom", take: { found: /^this file is of the room "(.*?)", and/ } },
  { start: "this file is of another room with the name ", key: "error.otherRules" },
  { start: "block number ", key: "error.badBlock", take: { position: NUMBER } },
  { start: "the import has ended, and what came before is kept: ", key: "error.import", take: { reason: /is kept: (.*)/s } },
  { start: "what is imported must be a string", key: "error.noDocument" },
  { start: "the chain changed too much while it was written", key: "error.leftBehind" },
  { start: "waiting reading number ", key: "error.badReading", take: { position: NUMBER } },
  { start: "the relay address ", has: " is not a multiaddr (", key: "error.relayUnreadable", take: { given: GIVEN } },
  { start: "the relay address ", has: " is not one that a browser can dial", key: "error.relayUndialable", take: { given: GIVEN } },
  { start: "the relay address ", has: " is not encrypted", key: "error.relayUnencrypted", take: { given: GIVEN } },
  { start: "the peer address ", key: "error.peerAddress", take: { given: GIVEN } },
  { start: '"', has: " is not a STUN or TURN server", key: "error.iceServer", take: { given: GIVEN } },
  { start: "a room name of ", key: "room.long", take: { found: NUMBER, max: MOST } },
  { start: "relays", has: " has more than the ", key: "error.tooManyRelays", take: { limit: NUMBER } },
  { start: "peers", has: " has more than the ", key: "error.tooManyPeers", take: { limit: NUMBER } },
  { start: "iceServers", has: " has more than the ", key: "error.tooManyIceServers", take: { limit: NUMBER } },
  { start: "blocks ", has: " are changing just now", key: "error.changing" },
  { start: "the export could not be written: ", key: "error.notWritten", take: { reason: /written: (.*)/s } },
];

/** An error raised by the page itself, with a message in every language. */
export class PageError extends Error {
  /** @param {() => string} localized returns the message in the current language */
  constructor(localized) {
    super(localized());
    this.localized = localized;
  }
}

/**
 * The message of an error in the current language. Call it again when the language changes.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function errorMessage(error) {
  if (error instanceof PageError) return error.localized();
  const message = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ");
  const known = KNOWN.find(({ start, has = "" }) => message.startsWith(start) && message.includes(has));
  if (known === undefined) return shownInSentence(message);
  const values = Object.entries(known.take ?? {}).map(([name, pattern]) => {
    const found = pattern.exec(message)?.[1] ?? "";
    return [name, NUMERIC.has(pattern) ? Number(found) : shownInSentence(found)];
  });
  return say(known.key, Object.fromEntries(values));
}
