//! The verification worker: verifies the signatures of long answers and files, so that the page's thread stays free. Decides
//! nothing else.
//!
//! In:  `{ module, room, sealed }` once: the room's ID, and whether its readings are sealed; then `{ id, bodies }`.
//! Out: `{ id, verified }` for each task, in order; `{ error }` with a message, after which this worker is of no use.

import init, { verifyBodies } from "./pkg/wasm_node.js";

/** @type {Promise<(bodies: Uint8Array) => Uint8Array>} */
let verify;

self.onmessage = async ({ data }) => {
  if (data.module) verify = load(data);
  try {
    const verifyTask = await verify;
    if (data.bodies) self.postMessage({ id: data.id, verified: verifyTask(data.bodies) });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    self.postMessage({ error: `the verification worker failed: ${reason}` });
  }
};

async function load({ module, room, sealed }) {
  await init({ module_or_path: module });
  return (bodies) => verifyBodies(room, sealed, bodies);
}
