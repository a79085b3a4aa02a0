//! Short names and colours of peers and authors, derived only from their keys, so every tab shows the same ones without
//! coordination. They are not an identity: two peers may share a colour, or in rare cases a name.

/** The prefix of an Ed25519 key in its peer ID: identity multihash, 36 bytes, key type 1, 32 bytes of key. */
const PEER_ID_PREFIX = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** Cached peer IDs: each is slow to compute, and every reading on the page needs one. */
const MAX_CACHED = 1_024;
const cache = new Map();

/** Length of a short name: the end of the peer ID, because all Ed25519 peer IDs start with "12D3KooW". */
const SHORT_NAME_LETTERS = 6;

/** @param {string} peerId @returns {string} */
export function shortName(peerId) {
  return peerId.slice(-SHORT_NAME_LETTERS);
}

/**
 * The colour of a peer.
 *
 * @param {string} peerId
 * @returns {number} a hue in whole degrees
 */
export function hueOf(peerId) {
  return fnv1a(peerId) % 360;
}

/**
 * Which of two lightnesses its colour has: in a room of a dozen peers, some hues are close.
 *
 * @param {string} peerId
 * @returns {0 | 1}
 */
export function shadeOf(peerId) {
  return Math.floor(fnv1a(peerId) / 360) % 2;
}

/** The 32-bit FNV-1a hash of a text. */
function fnv1a(text) {
  let hash = 0x811c9dc5;
  for (const letter of text) {
    hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  }
  return hash >>> 0;
}

/**
 * The peer ID for an author's key (libp2p's peer ID specification, base58btc).
 *
 * @param {string} author Ed25519 public key, 64 hex digits
 * @returns {string}
 */
export function peerIdOf(author) {
  let peerId = cache.get(author);
  if (peerId === undefined) {
    if (cache.size >= MAX_CACHED) cache.clear();
    peerId = computePeerId(author);
    cache.set(author, peerId);
  }
  return peerId;
}

function computePeerId(author) {
  const key = author.match(/../g)?.map((byte) => Number.parseInt(byte, 16)) ?? [];
  return base58([...PEER_ID_PREFIX, ...key]);
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
