//! Short names and colours for peers and authors, derived from their keys alone: every tab shows the same
//! ones without asking anybody. Never an identity: two peers may share a colour, or by rare chance a name.

/** What precedes an Ed25519 key in its PeerId: identity multihash, 36 bytes, key type 1, 32 bytes of key. */
const PEER_ID_PREFIX = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** PeerIds remembered, because each takes long to compute and is needed for every reading that is shown. */
const MAX_KNOWN = 1_024;
const known = new Map();

/** Letters of a PeerId that are shown. Its end, because all Ed25519 PeerIds begin alike ("12D3KooW"). */
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
 * Whether its colour is of the second lightness: in a room of a dozen some hues are alike.
 *
 * @param {string} peerId
 * @returns {0 | 1}
 */
export function shadeOf(peerId) {
  return Math.floor(fnv1a(peerId) / 360) % 2;
}

/** 32 bits. */
function fnv1a(text) {
  let hash = 0x811c9dc5;
  for (const letter of text) {
    hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  }
  return hash >>> 0;
}

/**
 * The PeerId of the peer that signs with this key (libp2p's peer id specification, base58btc).
 *
 * @param {string} author Ed25519 public key, 64 hex digits
 * @returns {string}
 */
export function peerIdOf(author) {
  let peerId = known.get(author);
  if (peerId === undefined) {
    if (known.size >= MAX_KNOWN) known.clear();
    peerId = computePeerId(author);
    known.set(author, peerId);
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
