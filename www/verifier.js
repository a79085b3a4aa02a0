//! The verification worker: verifies the signatures of long answers, and parses and verifies long files, so that the page's thread
//! stays free. Decides nothing else.
//!
//! In:  `{ module, room, sealed }` once: the room's ID, and whether its readings are sealed; then `{ id, bodies }` or, in a worker
//!      for a file, `{ text }`: some of its lines.
//! Out: `{ id, verified }` or `{ blocks }` for each task, in order; `blocks` is undefined if the lines have a fault. `{ error }` with a
//!      message, after which this worker is of no use.

import init, { readBlocks, verifyBodies } from "./pkg/wasm_node.js";

/** @type {Promise<{ verify: (bodies: Uint8Array) => Uint8Array, read: (text: string) => Uint8Array | undefined }>} */
let loaded;

self.onmessage = async ({ data }) => {
  if (data.module) loaded = load(data);
  try {
    const { verify, read } = await loaded;
    if (data.bodies) self.postMessage({ id: data.id, verified: verify(data.bodies) });
    if (data.text !== undefined) self.postMessage({ blocks: read(data.text) });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    self.postMessage({ error: `the verification worker failed: ${reason}` });
  }
};

async function load({ module, room, sealed }) {
  await init({ module_or_path: module });
  return {
    verify: (bodies) => verifyBodies(room, sealed, bodies),
    read: (text) => readBlocks(room, sealed, text),
  };
}
