//! The page's way to its node: the only module on the page's thread that knows the wasm package (in the worker,
//! `miner.js` does). Never decides anything: options go in, the node comes out, failures are Errors in words.

import init, { Node, qrCode } from "./pkg/wasm_node.js";
import { PageError } from "./node-words.js";
import { say } from "./strings.js";

/**
 * Loads the wasm once, for the page and for its miner, and starts a node.
 *
 * @param {{ room?: string, relays: string[], peers: string[], direct: boolean, stun: string[] }} wishes relays as multiaddrs;
 *   none: ask the server of this page; peers: whom to call in any case; direct: whether other tabs may be reached without a
 *   relay; stun: `stun:` URLs; none: the relay's
 * @returns {Promise<Node>}
 */
export async function startNode({ room, relays, peers, direct, stun }) {
  const wasmModule = await compile(new URL("pkg/wasm_node_bg.wasm", import.meta.url));
  await init({ module_or_path: wasmModule });
  return Node.start({
    ...(room === undefined ? {} : { room }),
    ...(relays.length === 0 ? {} : { relays }),
    peers,
    direct,
    ...(stun.length === 0 ? {} : { iceServers: stun.map((urls) => ({ urls })) }),
    relayDocument: new URL("relay.json", document.baseURI).href,
    minerUrl: new URL("miner.js", import.meta.url).href,
    wasmModule,
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

async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new PageError(() => say("error.notLoaded", { file: url.pathname, status: response.status }));
  }
  return WebAssembly.compileStreaming(response);
}
