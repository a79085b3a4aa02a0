//! What the page says about errors, notices, storage, the node's state and checked blocks, and how it shows text that comes
//! from peers. Pure: takes what the node returned, and draws nothing.

import { formatBytes, formatDuration, formatNumber, say } from "./strings.js";

// Makes untrusted text (a room's name, an address in a link, a strap's name) safe to display: it cannot change the
// direction of the text around it, and invisible characters become visible. Changes only what is displayed, never the
// name.

/**
 * Characters that are invisible or look like a plain space: controls, direction marks, joiners, fillers, variation
 * selectors and other spaces. The wide space of Japanese is visible, so it is not included.
 */
const INVISIBLE = /(?![ \u{3000}])[\p{Control}\p{Format}\p{Default_Ignorable_Code_Point}\p{Separator}\u{2800}]/gu;

/** Where such a character is legitimate: in an emoji, and between letters of scripts that use joiners. */
const LEGITIMATE = new RegExp(
  [
    String.raw`(?<=\p{Extended_Pictographic}[\p{Emoji_Modifier}\u{FE0F}]?)\u{200D}(?=\p{Extended_Pictographic})`,
    String.raw`(?<=\p{Extended_Pictographic})\u{FE0F}`,
    ...["Arabic", "Devanagari", "Bengali", "Sinhala", "Malayalam", "Kannada", "Telugu"].map(
      (script) => String.raw`(?<=\p{Script=${script}})[\u{200C}\u{200D}](?=\p{Script=${script}})`,
    ),
  ].join("|"),
  "gu",
);

/** Right-to-left letters, by the blocks that Unicode reserves for them. */
const RIGHT_TO_LEFT = /[\u{590}-\u{8FF}\u{FB1D}-\u{FDFF}\u{FE70}-\u{FEFC}\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;

/**
 * The text with invisible characters spelled out (‹U+202E›), so that texts that differ look different. For an element
 * that isolates it, such as `<bdi>`.
 *
 * @param {string} text
 * @returns {string}
 */
export function shownText(text) {
  const legitimate = new Set([...text.matchAll(LEGITIMATE)].map(({ index }) => index));
  return text.replace(INVISIBLE, (found, offset) =>
    legitimate.has(offset) ? found : `‹U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`,
  );
}

/**
 * The same within a sentence: right-to-left text is isolated from the words around it.
 *
 * @param {string} text
 * @returns {string}
 */
export function shownInSentence(text) {
  const shown = shownText(text);
  return RIGHT_TO_LEFT.test(shown) ? `\u{2068}${shown}\u{2069}` : shown;
}

// Translates the node's error messages into the page's language. The node reports errors in English; each is
// recognized by its beginning and by other text in it. Unknown errors are shown unchanged, never hidden.

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
  { start: "the name could not be kept on this computer", key: "error.nameNotStored" },
  { start: "too many names at once: ", key: "error.tooManyNames", take: { limit: NUMBER } },
  { start: "this computer's clock is wrong", key: "error.nameClock" },
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
  { start: "this file is of another room than this tab: ", key: "error.otherPrivateRoom" },
  { start: "this link has no key of a private room", key: "error.linkWithoutKey" },
  { start: "this link has the part ", key: "error.linkPart", take: { given: GIVEN } },
  { start: "the key in this link ", key: "error.linkKey" },
  { start: "this tab does not have the key of the room", key: "error.noRoomKey" },
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

// Maps the node's notices to texts: a key of the catalogues and the values of its placeholders. Displays nothing.

const MESSAGES = {
  equivocation: ({ author, seq }) => ["notice.equivocation", { author, seq }],
  "key-replaced": ({ author }) => ["notice.keyReplaced", { author }],
  repaired: ({ records }) => ["notice.repaired", { records }],
  "storage-failing": ({ reason }) => [`storage.failing-${reason}`, {}],
  "storage-reopened": ({ readings }) =>
    readings === null ? ["notice.storageReopened", {}] : ["notice.storageReset", { readings }],
  "storage-lost": ({ readings, saved }) => ["notice.storageLost", { readings, saved }],
  "clock-set-back": ({ byMs }) => ["notice.clockSetBack", { ms: byMs }],
  "clock-set-ahead": ({ byMs }) => ["notice.clockSetAhead", { ms: byMs }],
  "readings-adopted": ({ readings }) => ["notice.readingsAdopted", { readings }],
};

/**
 * The text of a notice, or null for kinds that users need not know about.
 *
 * @param {{ kind: string }} detail the detail of the node's "notice" event
 * @returns {{ key: string, values: object } | null}
 */
export function noticeMessage(detail) {
  const [key, values] = MESSAGES[detail.kind]?.(detail) ?? [];
  return key === undefined ? null : { key, values };
}

/** The values of a notice's placeholders in the current language, with durations formatted. */
export function messageValues({ ms, ...values }) {
  return ms === undefined ? values : { ...values, by: formatDuration(ms) };
}

// Describes the node's storage for users, from its `status()`. Does not query the browser.

/**
 * Where this tab stores its chain, and the state of that storage.
 *
 * @param {object} storage as in the node's `status()`
 * @param {{ forgetsAfterWeek?: boolean }} [browser] the result of `capabilities()`
 */
export function storageMessage(storage, { forgetsAfterWeek = false } = {}) {
  const { kind, slot, reason, persisted, failing, unchecked, saving, lost } = storage;
  if (failing) return say(`storage.failing-${kind === "disk" ? reason : "failed"}`);
  if (saving > 0) return say("storage.saving", { readings: saving });
  if (unchecked > 0) return say("storage.checking", { blocks: unchecked });
  if (kind === "disk") {
    const parts = [say(persisted === true ? "storage.persisted" : "storage.disk")];
    if ((lost ?? 0) > 0) parts.push(say("storage.lost", { readings: lost }));
    if (forgetsAfterWeek && persisted !== true) parts.push(say("storage.week"));
    if ((slot ?? 0) > 0) parts.push(say("storage.otherTab", { tab: slot + 1 }));
    return parts.join(" ");
  }
  return reason === null ? say("storage.memory") : `${say("storage.memory")} ${say(`storage.because-${reason}`)}`;
}

/** How much of its quota the browser reports as used. Chromium reports 10 GB even if the disk has less, so not while it is full. */
export function usageMessage({ usage, quota, failing, reason }) {
  if (usage === null || quota === null || (failing && reason === "full")) return "";
  return say("storage.usage", { usage: formatBytes(usage), quota: formatBytes(quota) });
}

// Describes the node's state in one sentence. Pure: takes what the node returned.

/**
 * `spoken` is what screen readers announce: without numbers, which change with every block.
 *
 * @typedef {{ sentence: string, spoken: string, tone: "good" | "calm" | "busy" | "warning" }} StatusLine
 */

/** The separator between the parts of the sentence. */
export const SEPARATOR = " · ";

/**
 * @param {object | null} status the result of `status()`, null before the node runs
 * @param {object[]} peers the result of `peers()`
 * @param {(key: string, values?: object) => string} say
 * @returns {StatusLine}
 */
export function statusSentence(status, peers, say) {
  const line = shownStatus(status, peers, say);
  return { ...line, spoken: line.sentence.split(SEPARATOR)[0] };
}

function shownStatus(status, peers, say) {
  if (status === null || (status.state === "starting" && !status.isolated)) {
    return { sentence: say(startupKey(status)), tone: "busy" };
  }
  if (status.state === "stopped") return { sentence: say("status.failed"), tone: "warning" };
  if (status.isolated) return { sentence: say(savedOrNot("status.isolated", status)), tone: "warning" };
  const counts = countPaths(peers.filter((peer) => isMember(peer, status)));
  const without = peers.filter((peer) => isWithoutKey(peer, status)).length;
  const line = sentenceOf(status, peers, counts, without, say);
  if (without === 0 || (counts.all === 0 && line.tone === "warning")) return line;
  return { ...line, sentence: `${line.sentence}${SEPARATOR}${say("status.withoutKey", { count: without })}` };
}

function sentenceOf(status, peers, counts, without, say) {
  const relayLost = !status.relays.some((relay) => relay.connected);
  const block = status.tip.index;
  // Peers without the key have the chain, too.
  if (counts.all === 0 && (without === 0 || status.state !== "syncing")) {
    const lost = savedOrNot(relayLost ? "status.aloneWithoutRelay" : "status.alone", status);
    const key = isFull(status.relays) ? "status.relayFull" : lost;
    if (without > 0) return { sentence: say(savedOrNot("status.noMember", status)), tone: "warning" };
    // Nothing is wrong with being the first one here.
    return { sentence: say(key), tone: key === "status.alone" ? "calm" : "warning" };
  }
  if (status.state === "syncing") {
    const known = status.target ?? Math.max(...peers.map((peer) => peer.index ?? 0));
    const key = known > block ? "status.catchingUpTo" : "status.catchingUp";
    return { sentence: say(key, { block, known, ...counts }), tone: "busy" };
  }
  return relayLost
    ? { sentence: say("status.withoutRelay", counts), tone: "warning" }
    : { sentence: say("status.inSync", { block, ...counts }), tone: "good" };
}

/** The sentence about readings that are saved, or the one for a tab that saves nothing at present. */
function savedOrNot(key, { storage }) {
  return storage?.kind === "memory" || storage?.failing ? `${key}Unsaved` : key;
}

/** Whether other tabs cannot find this one, because no relay has room for it. */
function isFull(relays) {
  return relays.some((relay) => relay.full) && !relays.some((relay) => relay.reserved);
}

/** What the node is still doing before its state is known. It accepts readings in the meantime. */
function startupKey(status) {
  if (status === null) return "status.starting";
  return (status.storage?.unchecked ?? 0) > 0 ? "status.checking" : "status.looking";
}

/**
 * Whether a peer of a private room has told its state, but not proved that it has the room's key.
 *
 * @param {object} peer as in the node's `peers()`
 * @param {{ private: boolean }} room the node's `status()`
 */
export function isWithoutKey({ author, index, path }, { private: isPrivate }) {
  return isPrivate && path !== "relay" && author === null && index !== null;
}

/** Whether a peer counts as one of the room: in a private room, after it has proved its key. */
function isMember({ author }, { private: isPrivate }) {
  return !isPrivate || author !== null;
}

/** How many peers are connected by which path. Relays are not counted. */
function countPaths(peers) {
  const direct = peers.filter((peer) => peer.path === "direct").length;
  const relayed = peers.filter((peer) => peer.path === "relayed").length;
  return { all: direct + relayed, direct, relayed };
}

/**
 * The key of the text in place of the peers' table while that is empty; null if there is nothing to say.
 *
 * @param {{ state: string, isolated: boolean, relays: object[] }} status the node's `status()`
 */
export function noPeersKey({ state, isolated, relays }) {
  if (state === "stopped") return null;
  if (isolated) return "peers.cut";
  if (state === "starting") return "peers.looking";
  // Who cannot be found does not know whether others are here.
  return relays.some((relay) => relay.connected || relay.reserved) && !isFull(relays) ? "peers.none" : "peers.withoutRelay";
}

/**
 * Whether the node knows what the room has: it has asked those who are here, or no one is.
 *
 * @param {{ state: string, isolated: boolean, relays: object[] }} status the node's `status()`
 */
export function knowsRoom(status) {
  return status.state === "synced" || (status.state === "alone" && noPeersKey(status) === "peers.none");
}

// Describes the results of a block's check, one sentence each. Checks nothing itself.

/**
 * @param {object} block
 * @param {object} check the result of the node's `check(block)`
 * @returns {{ ok: boolean, text: string, detail: string }[]}
 */
export function findings(block, check) {
  const found = ({ ok }, key, detail = "") => ({ ok, text: say(`check.${key}${ok ? "Good" : "Bad"}`), detail });
  const list = [found(check.hash, "hash", check.hash.computed)];
  if (block.index > 0) {
    list.push(found(check.work, "work", check.work.target ?? ""), found(check.link, "link", check.link.expected ?? ""));
  }
  list.push(found(check.root, "root", check.root.computed));
  if (block.index > 0) {
    const { expected } = check.difficulty;
    list.push(found(check.difficulty, "difficulty", expected === null ? "" : expected.toString(16)), found(check.time, "time"));
  }
  if (check.readings.length > 0) list.push(signatures(check.readings));
  return list;
}

function signatures(readings) {
  const bad = readings.filter(({ ok }) => !ok);
  const values = { count: readings.length, bad: bad.length };
  return {
    ok: bad.length === 0,
    text: say(bad.length === 0 ? "check.signaturesGood" : "check.signaturesBad", values),
    detail: bad.slice(0, 3).map(({ id }) => id).join(" ") + (bad.length > 3 ? ` … ${formatNumber(bad.length - 3)}` : ""),
  };
}
