//! Starts the node that the page's address asks for, while the components load.

import { directFromSearch, peersFromSearch, relaysFromSearch, roomFromHash, stunFromSearch } from "./input.js";
import { PageError } from "./messages.js";
import { startNode } from "./node.js";
import { say } from "./strings.js";

const { room, link, fault } = roomFromHash(location.hash);

/** What the address asks for. */
export const requested = {
  room,
  link,
  fault,
  relays: relaysFromSearch(location.search),
  peers: peersFromSearch(location.search),
  direct: directFromSearch(location.search),
  stun: stunFromSearch(location.search),
};

/** @type {Promise<import("./pkg/wasm_node.js").HeartchainNode>} rejects with an error for people if the node cannot start */
export const starting =
  fault === undefined ? startNode(requested) : Promise.reject(new PageError(() => say(`address.${fault}`)));
// page.js handles a failure. Without this, one that comes before page.js has loaded would be reported as unhandled.
starting.catch(() => {});
