//! What the page's address says: `#room=<name>`, `?relay=<multiaddr>`, `?peer=<multiaddr>` and `?stun=<url>` (repeatable) and
//! `?direct=no`, read and written.
//! Never judges a multiaddr: the node does, and says in words what is wrong with it.

/** The longest room name in bytes of UTF-8, as the chain's rules have it. */
export const MAX_ROOM_BYTES = 64;

/**
 * The room that an address asks for, trimmed and in NFC (so that all who type one name share one room).
 *
 * @param {string} hash `location.hash`
 * @returns {string | undefined} undefined when none is named
 */
export function roomFromHash(hash) {
  const name = new URLSearchParams(hash.replace(/^#/, "")).get("room");
  return name === null ? undefined : normalizeRoom(name) || undefined;
}

/**
 * The relays that an address asks for, in its order, each once.
 *
 * @param {string} search `location.search`
 * @returns {string[]} empty when the relay that served the page is meant
 */
export function relaysFromSearch(search) {
  return addressesFromSearch(search, "relay");
}

/**
 * The peers that are to be called in any case, in their order, each once.
 *
 * @param {string} search `location.search`
 * @returns {string[]} mostly empty, because relays name peers
 */
export function peersFromSearch(search) {
  return addressesFromSearch(search, "peer");
}

/**
 * The STUN servers that an address asks for, in its order, each once.
 *
 * @param {string} search `location.search`
 * @returns {string[]} empty when the relays' own are meant
 */
export function stunFromSearch(search) {
  return addressesFromSearch(search, "stun");
}

/**
 * Whether the address lets other tabs be reached directly, which tells them this computer's addresses.
 *
 * @param {string} search `location.search`
 * @returns {boolean} false for `?direct=no`
 */
export function directFromSearch(search) {
  return new URLSearchParams(search).get("direct") !== "no";
}

/** @param {string} text @returns {string} the text as a room would be named */
export function normalizeRoom(text) {
  return text.trim().normalize("NFC");
}

/**
 * What is wrong with a room name, before the page leaves for it.
 *
 * @param {string} name already normalised
 * @returns {"empty" | "long" | null}
 */
export function roomFault(name) {
  if (name === "") return "empty";
  return new TextEncoder().encode(name).length > MAX_ROOM_BYTES ? "long" : null;
}

/** @param {string} name @returns {string} the fragment that names this room */
export function hashForRoom(name) {
  return `#room=${encodeURIComponent(name)}`;
}

/**
 * The link that brings somebody else to this room, over the same relays.
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
 * Whether a link leads nowhere from any other computer.
 *
 * @param {string} link
 */
export function isOnlyHere(link) {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|.*\.localhost)$/.test(new URL(link).hostname);
}

function addressesFromSearch(search, name) {
  const given = new URLSearchParams(search).getAll(name).map((address) => address.trim());
  return [...new Set(given)].filter((address) => address !== "");
}
