//! What people and their browsers give the page: heart rates, the parameters in the page's address, and features.
//!
//! The address has `#room=<name>` or the link of a private room, `?direct=no`, and the repeatable `?relay=<multiaddr>`, `?peer=<multiaddr>` and
//! `?stun=<url>`. Multiaddrs are not validated here: the node does that.

// Parses and validates the text of the heart-rate field. Never rounds or corrects it.

/** The slowest and the fastest heart rate that the chain's rules accept, in beats per minute. */
export const MIN_BPM = 20;
export const MAX_BPM = 400;

const DIGITS_ONLY = /^[0-9]+$/;

/**
 * Parses a heart rate. Accepts digits only, so "1e2", "72.5" and "-1" are rejected although JavaScript parses them as
 * numbers.
 *
 * @param {string} text
 * @returns {number | null} beats per minute, or null if the text is not a whole number in range
 */
export function parseBpm(text) {
  const trimmed = text.trim();
  if (!DIGITS_ONLY.test(trimmed)) return null;
  const bpm = Number(trimmed);
  return bpm >= MIN_BPM && bpm <= MAX_BPM ? bpm : null;
}

// Reads and writes the parameters in the page's address: `#room=<name>` or `#private=<key>&label=<label>`, `?direct=no`, and the
// repeatable `?relay=<multiaddr>`, `?peer=<multiaddr>` and `?stun=<url>`. Does not validate multiaddrs, nor the links of private
// rooms: the node does.

/** The longest room name that the chain's rules allow, in bytes of UTF-8. */
export const MAX_ROOM_BYTES = 64;

/** The part of an address that names its room. */
const ROOM_PART = "room=";

/** How the link of a private room begins. */
const LINK_PARTS = ["private=", "label="];

/** The key in a link, with its checksum: 48 characters. */
const KEY = /^[\w-]{48}$/;

/** Where a link begins in a text; the first is a whole one. */
const LINK = /https?:\/\/.*|#private=.*|^#(label|room)=.*|^private=.*/is;

/**
 * What no open room may be called, because it is, or may be, the key of a private one, which everyone would then read in the room's
 * name. 43 of the 48 characters are the key, so one that was cut off counts, too.
 */
const MAYBE_KEY = [/private\s*=/i, /(?<![\w-])[\w-]{48}(?![\w-])/, /(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[\w-]{40}/];

/**
 * The room named by an address, trimmed and in NFC, so that everyone who types the same name joins the same room. All after
 * `#room=` is the name, as percent-encoded text: `+`, `&` and `=` stand for themselves. The link of a private room is left to the
 * node, which reads it or refuses it in words.
 *
 * @param {string} hash `location.hash`
 * @returns {{ room?: string, link?: string, fault?: "unknown" | "escape" | "key" }} no room if the address names none; `fault`: no
 *   room may be opened: the address has another part than the room, or a malformed escape, or a key in the room's name
 */
export function roomFromHash(hash) {
  const text = hash.replace(/^#/, "");
  if (text === "") return {};
  if (LINK_PARTS.some((part) => text.startsWith(part))) return { link: hash };
  if (!text.startsWith(ROOM_PART)) return { fault: "unknown" };
  const name = decoded(text.slice(ROOM_PART.length));
  if (name === null) return { fault: "escape" };
  const room = normalizeRoom(name);
  if (hasKey(room)) return { fault: "key" };
  return room === "" ? {} : { room };
}

/**
 * What a person wants to open, who typed the name of an open room, or pasted a link, or the key of a private room.
 *
 * @param {string} text
 * @param {string} href the page's own address
 * @returns {{ room: string } | { link: string } | { fault: "empty" | "long" | "key" | "badLink" }} link: a whole address, with the
 *   key of a private room or the name of an open one
 */
export function roomFromText(text, href) {
  const given = normalizeRoom(text);
  const address = addressIn(given, href);
  if (address === null) {
    const fault = roomFault(given);
    return fault === null ? { room: given } : { fault };
  }
  const { room, link, fault } = roomFromHash(address.hash);
  if (link === undefined ? room === undefined : !KEY.test(keyFromLink(link))) return { fault: fault === "key" ? "key" : "badLink" };
  return { link: address.href };
}

/** The link in a text, also in a message with other words before it; null without one. */
function addressIn(text, href) {
  const link = KEY.test(text) ? `private=${text}` : LINK.exec(text)?.[0];
  if (link === undefined) return null;
  try {
    return new URL(/^(http|#)/i.test(link) ? link : `#${link}`, href);
  } catch {
    return null;
  }
}

/** Whether a text has, or may have, the key of a private room. */
function hasKey(text) {
  return MAYBE_KEY.some((pattern) => pattern.test(text));
}

function keyFromLink(link) {
  const part = link.slice(1).split("&").find((part) => part.startsWith("private="));
  return part?.slice("private=".length) ?? "";
}

/**
 * What the people who made the link of a private room call it.
 *
 * @param {string} hash `location.hash`
 * @returns {string} empty if the link does not say
 */
export function labelFromHash(hash) {
  const label = hash.replace(/^#/, "").split("&").find((part) => part.startsWith("label="));
  return label === undefined ? "" : normalizeRoom(decoded(label.slice("label=".length)) ?? "");
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/**
 * The relays named by an address, in order, without duplicates.
 *
 * @param {string} search `location.search`
 * @returns {string[]} empty to use the relay that served the page
 */
export function relaysFromSearch(search) {
  return addressesFromSearch(search, "relay");
}

/**
 * The peers to dial in any case, in order, without duplicates.
 *
 * @param {string} search `location.search`
 * @returns {string[]} usually empty, because relays announce peers
 */
export function peersFromSearch(search) {
  return addressesFromSearch(search, "peer");
}

/**
 * The STUN servers named by an address, in order, without duplicates.
 *
 * @param {string} search `location.search`
 * @returns {string[]} empty to use those of the relays
 */
export function stunFromSearch(search) {
  return addressesFromSearch(search, "stun");
}

/**
 * Whether the address allows direct connections, which reveal this device's addresses to other tabs.
 *
 * @param {string} search `location.search`
 * @returns {boolean} false for `?direct=no`
 */
export function directFromSearch(search) {
  return new URLSearchParams(search).get("direct") !== "no";
}

/** @param {string} text @returns {string} the text as a room name */
export function normalizeRoom(text) {
  return text.trim().normalize("NFC");
}

/**
 * Validates the name of an open room, or the label of a private one, before the page switches to it.
 *
 * @param {string} name already normalised
 * @returns {"empty" | "key" | "long" | null} key: it has, or may have, the key of a private room
 */
export function roomFault(name) {
  if (name === "") return "empty";
  if (hasKey(name)) return "key";
  return new TextEncoder().encode(name).length > MAX_ROOM_BYTES ? "long" : null;
}

/** @param {string} name @returns {string} the fragment for this room */
export function hashForRoom(name) {
  return `#room=${encodeURIComponent(name)}`;
}

/**
 * The link to share: it opens this room over the same relays.
 *
 * @param {string} href the page's own address
 * @param {string} name
 */
export function linkToRoom(href, name) {
  const link = new URL(href);
  link.hash = hashForRoom(name);
  return link.href;
}

/**
 * Whether a link works only on this computer.
 *
 * @param {string} link
 */
export function isLocalOnly(link) {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|.*\.localhost)$/.test(new URL(link).hostname);
}

function addressesFromSearch(search, name) {
  const given = new URLSearchParams(search).getAll(name).map((address) => address.trim());
  return [...new Set(given)].filter((address) => address !== "");
}

// Addresses that only devices nearby reach. A browser may ask before a page from elsewhere connects to one.

/** Hosts of this computer and of private networks (RFC 1918, 3927, 4193, 4291). */
const PRIVATE_HOST = new RegExp(
  "^(localhost|.*\\.(localhost|local|home\\.arpa)|127\\..*|10\\..*|192\\.168\\..*|172\\.(1[6-9]|2[0-9]|3[01])\\..*|169\\.254\\..*" +
    "|\\[?(::1|f[cd][0-9a-f]*:.*|fe[89ab][0-9a-f]*:.*)\\]?)$",
  "i",
);

/** @param {string} host as in `location.hostname` */
export function isPrivateHost(host) {
  return PRIVATE_HOST.test(host);
}

/** @param {string} address a multiaddr */
export function isPrivateAddress(address) {
  const host = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)/.exec(address)?.[1];
  return host !== undefined && isPrivateHost(host);
}

// Detects optional browser features. A page opened over plain http from another computer is not a "secure context", and
// browsers disable some features there, such as storage locks and Bluetooth. Recording and syncing need none of them.

/**
 * What this browser lacks, and how it treats data.
 *
 * @param {typeof globalThis} scope the page's global object
 * @returns {{ secure: boolean, missing: ("insecure" | "webrtc")[], clipboard: boolean, share: boolean, bluetooth: boolean,
 *   asksForStorage: boolean, forgetsAfterWeek: boolean }} missing: what a person should know; asksForStorage: the browser asks
 *   the person before it keeps data when the disk is full; forgetsAfterWeek: it deletes data after a week without a visit
 */
export function capabilities(scope) {
  const { navigator = {} } = scope;
  const secure = scope.isSecureContext === true;
  const missing = [];
  if (!secure) missing.push("insecure");
  if (typeof scope.RTCPeerConnection !== "function") missing.push("webrtc");
  return {
    secure,
    missing,
    clipboard: typeof navigator.clipboard?.writeText === "function",
    share: typeof navigator.share === "function",
    bluetooth: navigator.bluetooth !== undefined,
    asksForStorage: "mozInnerScreenX" in scope,
    // WebKit has this vendor on other systems, too. On iPhone and iPad all browsers are WebKit.
    forgetsAfterWeek: navigator.vendor === "Apple Computer, Inc." && /^(Mac|iP)/.test(navigator.platform) && !isInstalled(scope),
  };
}

function isInstalled({ navigator, matchMedia }) {
  return navigator.standalone === true || matchMedia?.("(display-mode: standalone)").matches === true;
}
