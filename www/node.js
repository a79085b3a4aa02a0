//! The page's way to its node: the only module on the page's thread that knows the wasm package (in the worker,
//! `miner.js` does). Never decides anything: options go in, the node comes out, failures are Errors in words.

import init, { Node, qrCode } from "./pkg/wasm_node.js";
import { PageError } from "./node-words.js";
import { say } from "./strings.js";
import { NotLoaded, wasmModule } from "./wasm.js";

/**
 * Loads the wasm once, for the page and for its miner, and starts a node.
 *
 * @param {{ room?: string, relays: string[], peers: string[], direct: boolean, stun: string[] }} wishes relays as multiaddrs;
 *   none: ask the server of this page; peers: whom to call in any case; direct: whether other tabs may be reached without a
 *   relay; stun: `stun:` URLs; none: the relay's
 * @returns {Promise<Node>}
 */
export async function startNode({ room, relays, peers, direct, stun }) {
  await init({ module_or_path: await wasmModule.catch(inWords) });
  return Node.start({
    ...(room === undefined ? {} : { room }),
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
 * The QR code of a text; only after a node has started.
 *
 * @param {string} text
 * @returns {Uint8Array | null} its modules row by row, 1 for dark; null if it is too long for a code
 */
export function qrModules(text) {
  return qrCode(text) ?? null;
}

function inWords(error) {
  if (!(error instanceof NotLoaded)) throw error;
  throw new PageError(() => say("error.notLoaded", { file: error.file, status: error.status }));
}
