//! What went wrong, in the language of the page. The node speaks English only; what it says is known by how it begins,
//! and what else is in it. Never hides what it does not know: that is shown as it was said.

import { shownInSentence } from "./shown-text.js";
import { say } from "./strings.js";

/** A number near the start of a sentence. */
const NUMBER = /^\D*(\d+)/;

/** What was given, in the quotes that it is repeated in. */
const GIVEN = /"((?:[^"\\]|\\.)*)"/s;

/** The end of what is allowed. */
const MOST = /than (\d+)/;

/** What is taken as a number, not as text. */
const NUMERIC = new Set([NUMBER, MOST]);

/**
 * How each of the node's sentences begins and what else is in it, the key of its words, and what to take from it. A test
 * holds beginnings and contents to the node's source.
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
  { start: "this browser gives no random numbers", key: "error.noChance" },
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
  { start: "the relay address ", has: " is none that a browser can dial", key: "error.relayUndialable", take: { given: GIVEN } },
  { start: "the relay address ", has: " is not encrypted", key: "error.relayUnencrypted", take: { given: GIVEN } },
  { start: "the peer address ", key: "error.peerAddress", take: { given: GIVEN } },
  { start: '"', has: " is no STUN or TURN server", key: "error.iceServer", take: { given: GIVEN } },
  { start: "a room name of ", key: "room.long", take: { found: NUMBER, max: MOST } },
  { start: "relays", has: " has more than the ", key: "error.tooManyRelays", take: { limit: NUMBER } },
  { start: "peers", has: " has more than the ", key: "error.tooManyPeers", take: { limit: NUMBER } },
  { start: "iceServers", has: " has more than the ", key: "error.tooManyIceServers", take: { limit: NUMBER } },
  { start: "blocks ", has: " are changing just now", key: "error.changing" },
  { start: "the export could not be written: ", key: "error.notWritten", take: { reason: /written: (.*)/s } },
];

/** What went wrong in the page itself: it has words in every language. */
export class PageError extends Error {
  /** @param {() => string} words them, in the language in use */
  constructor(words) {
    super(words());
    this.words = words;
  }
}

/**
 * The words that an error has for a person, in the language in use: whoever shows them asks anew when that changes.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function wordsOf(error) {
  if (error instanceof PageError) return error.words();
  const said = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ");
  const known = KNOWN.find(({ start, has = "" }) => said.startsWith(start) && said.includes(has));
  if (known === undefined) return shownInSentence(said);
  const taken = Object.entries(known.take ?? {}).map(([name, pattern]) => {
    const found = pattern.exec(said)?.[1] ?? "";
    return [name, NUMERIC.has(pattern) ? Number(found) : shownInSentence(found)];
  });
  return say(known.key, Object.fromEntries(taken));
}
