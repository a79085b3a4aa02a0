//! Authors of readings as the page shows them: the names that they chose, the letters of their keys, their colours and shapes.
//! Draws nothing.

import { shownInSentence, shownText } from "./messages.js";

// Letters of a key: they are not an identity, and two authors may in rare cases share them.

/** The prefix of an Ed25519 key in its peer ID: identity multihash, 36 bytes, key type 1, 32 bytes of key. */
const PEER_ID_PREFIX = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** Cached letters: they are slow to compute, and every reading on the page needs them. Twice the authors that have an order. */
export const MAX_CACHED = 8_192;
const cache = new Map();

/** How many letters: the end of a peer ID, because all Ed25519 peer IDs start with "12D3KooW". */
const LETTERS = 6;

/** @param {string} peerId @returns {string} the letters that stand for a peer which has proved no author */
export function peerLetters(peerId) {
  return peerId.slice(-LETTERS);
}

/**
 * The letters of an author's key, which the CSV export has, too.
 *
 * @param {string} author Ed25519 public key, 64 hex digits
 * @returns {string}
 */
export function keyLetters(author) {
  let letters = cache.get(author);
  if (letters === undefined) {
    if (cache.size >= MAX_CACHED) cache.clear();
    letters = peerLetters(peerIdOf(author));
    cache.set(author, letters);
  }
  return letters;
}

/**
 * The peer ID for a key (libp2p's peer ID specification, base58btc). No peer of a room has the one of its author.
 *
 * @param {string} key Ed25519 public key, 64 hex digits
 * @returns {string}
 */
export function peerIdOf(key) {
  const bytes = key.match(/../g)?.map((byte) => Number.parseInt(byte, 16)) ?? [];
  return base58([...PEER_ID_PREFIX, ...bytes]);
}

/** @param {number[]} bytes */
function base58(bytes) {
  let rest = bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
  let text = "";
  while (rest > 0n) {
    text = BASE58.charAt(Number(rest % 58n)) + text;
    rest /= 58n;
  }
  const leadingZeros = bytes.findIndex((byte) => byte !== 0);
  return BASE58.charAt(0).repeat(Math.max(leadingZeros, 0)) + text;
}

// Names that authors chose. Anyone may choose any name, so names that look alike come with the letters of the keys.

/** @type {Map<string, { name: string, shared: boolean }>} by author */
let names = new Map();

/** Dispatches "change" after names, or the order of authors, have changed. */
export const authorChanges = new EventTarget();

/**
 * Sets the names of all authors.
 *
 * @param {{ author: string, name: string }[]} known as the node's `names()`
 */
export function setNames(known) {
  const counts = new Map();
  for (const { name } of known) counts.set(folded(name), (counts.get(folded(name)) ?? 0) + 1);
  names = new Map(known.map(({ author, name }) => [author, { name, shared: counts.get(folded(name)) > 1 }]));
  authorChanges.dispatchEvent(new Event("change"));
}

/** What two names that look alike have in common. */
function folded(name) {
  return name.normalize("NFKC").toLowerCase().replace(/\s+/gu, " ");
}

/**
 * What to show for an author. The name is a peer's text: only for `textContent` of an element that isolates it.
 *
 * @param {string} author
 * @returns {{ name: string | null, letters: string | null }} letters: those of the key, null if the name is enough
 */
export function nameOf(author) {
  const { name = null, shared = false } = names.get(author) ?? {};
  return { name: name === null ? null : shownText(name), letters: name === null || shared ? keyLetters(author) : null };
}

/** @param {string} author @returns {string} the same for a sentence */
export function nameText(author) {
  const { name, letters } = nameOf(author);
  if (name === null) return letters;
  return letters === null ? shownInSentence(name) : `${shownInSentence(name)} (${letters})`;
}

/** The longest name of a person that the node publishes, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 40;

/**
 * Validates the name by which others see a person. Invisible characters are allowed only where scripts and emoji need them.
 *
 * @param {string} name trimmed and in NFC; empty erases the name
 * @returns {"long" | "invisible" | null}
 */
export function nameFault(name) {
  if (shownText(name) !== name) return "invisible";
  return new TextEncoder().encode(name).length > MAX_NAME_BYTES ? "long" : null;
}

/** @param {string} author @returns {string} the name that this author chose, empty for none */
export function chosenName(author) {
  return names.get(author)?.name ?? "";
}

// Colours and shapes of authors, in the order in which they first appear in the room's chain, so that every tab shows the
// same ones. Authors who have recorded nothing have none.

/** Colours of the palette, `--peer-0` and on in the style sheet. */
export const PEER_COLOURS = 8;

/** Shapes, which tell authors apart for those who cannot tell colours apart. */
export const PEER_SHAPES = 6;

/** Authors with a look of their own: every colour with every shape once. Later ones share the looks of the first. */
export const MAX_LOOKS = PEER_COLOURS * PEER_SHAPES;

/** How much the shapes shift with each round through the colours, so that no look comes twice before all are used. */
const SHAPE_SHIFT = 5;

/** @type {Map<string, number>} the place of each author in the order */
let places = new Map();

/**
 * Sets who came first, second and so on.
 *
 * @param {string[]} authors in the order of their first reading
 */
export function setAuthorOrder(authors) {
  if (authors.length === places.size && authors.every((author, place) => places.get(author) === place)) return;
  places = new Map(authors.map((author, place) => [author, place]));
  authorChanges.dispatchEvent(new Event("change"));
}

/**
 * The look of an author.
 *
 * @param {string} author
 * @returns {{ colour: number, shape: number, place: number } | null} null if no reading of this author is known
 */
export function lookOf(author) {
  const place = places.get(author);
  return place === undefined ? null : lookAt(place);
}

/** @param {number} place in the order of authors, from 0 */
export function lookAt(place) {
  const round = Math.floor(place / PEER_COLOURS);
  return { colour: place % PEER_COLOURS, shape: (place + SHAPE_SHIFT * round) % PEER_SHAPES, place };
}
