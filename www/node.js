//! Starts the node. The only module on the main thread that imports the wasm package (in the workers, `miner.js` and `verifier.js` do).
//! Makes no decisions: it maps options to the node's configuration, and failures to errors with a message.

import { PageError } from "./messages.js";
import init, * as wasm from "./pkg/wasm_node.js";
import { say } from "./strings.js";
import { LoadError, wasmModule } from "./wasm.js";

/**
 * Loads the wasm, once for the page and its workers, and starts a node.
 *
 * @param {{ room?: string, link?: string, relays: string[], peers: string[], direct: boolean, stun: string[] }} options relays:
 *   multiaddrs, or empty to ask the server of this page; peers: addresses to dial in any case; direct: whether to connect
 *   to other tabs without a relay; stun: `stun:` URLs, or empty to use the relay's
 * @returns {Promise<wasm.HeartchainNode>}
 */
export async function startNode({ room, link, relays, peers, direct, stun }) {
  await loaded();
  const filter = new URLSearchParams(location.search).get("log");
  if (filter !== null) trace(filter);
  return wasm.HeartchainNode.start({
    ...(room === undefined ? {} : { room }),
    ...(link === undefined ? {} : { room: { link } }),
    ...(relays.length === 0 ? {} : { relays }),
    peers,
    direct,
    ...(stun.length === 0 ? {} : { iceServers: stun.map((urls) => ({ urls })) }),
    relayDocument: new URL("relay.json", document.baseURI).href,
    minerUrl: new URL("miner.js", import.meta.url).href,
    verifierUrl: new URL("verifier.js", import.meta.url).href,
    wasmModule: await wasmModule,
  });
}

/**
 * Encodes a text as a QR code. Call it only after a node has started.
 *
 * @param {string} text
 * @returns {Uint8Array | null} the modules row by row, 1 for dark; null if the text is too long for a QR code
 */
export function qrModules(text) {
  return wasm.qrCode(text) ?? null;
}

/**
 * Makes a new private room.
 *
 * @param {string} label what its members call it
 * @returns {Promise<string>} the part of its link that begins with "#"
 */
export async function newPrivateRoom(label) {
  await loaded();
  return wasm.createPrivateRoom(label);
}

// The rooms on this device. They need no node.

/** @returns {Promise<object[]>} the newest first */
export async function rooms() {
  await loaded();
  return wasm.rooms();
}

/** @param {string} genesis @param {string} label what this device calls the room */
export async function labelRoom(genesis, label) {
  await loaded();
  return wasm.labelRoom(genesis, label);
}

/** @param {string} genesis @returns {Promise<void>} rejects with the code "room-open" while a tab has the room open */
export async function deleteRoom(genesis) {
  await loaded();
  return wasm.deleteRoom(genesis);
}

/**
 * @param {Blob} file as saved on another device
 * @param {string} passphrase
 * @returns {Promise<{ genesis: string, link: string, readings: number }>} the room that opens as that author from now on
 */
export async function importIdentity(file, passphrase) {
  await loaded();
  return wasm.importIdentity(file, passphrase);
}

/** Loads the wasm, unless it is loaded: for an address that names no room, nothing has been. */
async function loaded() {
  await init({ module_or_path: await wasmModule.catch(toPageError) });
}

// Prints on the console what the node does, as far as `?log=` lets it through.
function trace(filter) {
  if (wasm.HeartchainNode.trace) wasm.HeartchainNode.trace(filter);
  else console.warn("?log= prints nothing: this build has no traces. Build it with HEARTCHAIN_WASM_PROFILE=wasm-fast.");
}

function toPageError(error) {
  if (!(error instanceof LoadError)) throw error;
  throw new PageError(() => say("error.notLoaded", { file: error.file, status: error.status }));
}
