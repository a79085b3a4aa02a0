//! Begins with the node that the page's address asks for, before the modules have come that show it. Shows nothing.

import { startNode } from "./node.js";
import { directFromSearch, peersFromSearch, relaysFromSearch, roomFromHash, stunFromSearch } from "./room-link.js";

/** The room that the address names, if it does. */
export const requestedRoom = roomFromHash(location.hash);
const relays = relaysFromSearch(location.search);
const peers = peersFromSearch(location.search);
const stun = stunFromSearch(location.search);

/** Whether the address asks for nothing: then it is not to blame for what goes wrong. */
export const byDefault = requestedRoom === undefined && [relays, peers, stun].every(({ length }) => length === 0);

/** The node, once it has started. */
export const starting = startNode({ room: requestedRoom, relays, peers, direct: directFromSearch(location.search), stun });
// What goes wrong is told by whoever puts the page together.
starting.catch(() => {});
