//! Starts the node that the page's address asks for, while the components load.

import { directFromSearch, peersFromSearch, relaysFromSearch, roomFromHash, stunFromSearch } from "./input.js";
import { startNode } from "./node.js";

/** What the address asks for. */
export const requested = {
  room: roomFromHash(location.hash),
  relays: relaysFromSearch(location.search),
  peers: peersFromSearch(location.search),
  direct: directFromSearch(location.search),
  stun: stunFromSearch(location.search),
};

/** @type {Promise<import("./pkg/wasm_node.js").Node>} rejects with an error for people if the node cannot start */
export const starting = startNode(requested);
// page.js handles a failure. Without this, one that comes before page.js has loaded would be reported as unhandled.
starting.catch(() => {});
