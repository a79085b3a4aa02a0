//! Starts the node. The only module on the main thread that imports the wasm package (in the worker, `miner.js` does).
//! Makes no decisions: it maps options to the node's configuration, and failures to errors with a message.

import { PageError } from "./messages.js";
import init, { HeartchainNode, createPrivateRoom, qrCode } from "./pkg/wasm_node.js";
import { say } from "./strings.js";
import { LoadError, wasmModule } from "./wasm.js";

/**
 * Loads the wasm, once for the page and its miner, and starts a node.
 *
 * @param {{ room?: string, link?: string, relays: string[], peers: string[], direct: boolean, stun: string[] }} options relays:
 *   multiaddrs, or empty to ask the server of this page; peers: addresses to dial in any case; direct: whether to connect
 *   to other tabs without a relay; stun: `stun:` URLs, or empty to use the relay's
 * @returns {Promise<HeartchainNode>}
 */
export async function startNode({ room, link, relays, peers, direct, stun }) {
  await init({ module_or_path: await wasmModule.catch(toPageError) });
  const filter = new URLSearchParams(location.search).get("log");
  if (filter !== null) trace(filter);
  return HeartchainNode.start({
    ...(room === undefined ? {} : { room }),
    ...(link === undefined ? {} : { room: { link } }),
    ...(relays.length === 0 ? {} : { relays }),
    peers,
    direct,
    ...(stun.length === 0 ? {} : { iceServers: stun.map((urls) => ({ urls })) }),
    relayDocument: new URL("relay.json", document.baseURI).href,
    minerUrl: new URL("miner.js", import.meta.url).href,
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
  return qrCode(text) ?? null;
}

/**
 * Makes a new private room.
 *
 * @param {string} label what its members call it
 * @returns {Promise<string>} the part of its link that begins with "#"
 */
export async function newPrivateRoom(label) {
  // Loads nothing again. An address that names no room has loaded nothing.
  await init({ module_or_path: await wasmModule.catch(toPageError) });
  return createPrivateRoom(label);
}

// Prints on the console what the node does, as far as `?log=` lets it through.
function trace(filter) {
  if (HeartchainNode.trace) HeartchainNode.trace(filter);
  else console.warn("?log= prints nothing: this build has no traces. Build it with HEARTCHAIN_WASM_PROFILE=wasm-fast.");
}

function toPageError(error) {
  if (!(error instanceof LoadError)) throw error;
  throw new PageError(() => say("error.notLoaded", { file: error.file, status: error.status }));
}
