//! Computes the layout of the network picture: this tab in the middle, relays above it, peers around it, and relayed
//! peers near the relay. Never draws and never touches the page.

/** The size of the picture, in SVG user units. */
export const PICTURE = { width: 360, height: 256 };

/** The most peers drawn; the table lists all. */
export const MAX_DRAWN_PEERS = 24;

/** From this many peers on, the layout uses two rings. */
const TWO_RINGS_FROM = 13;

/** The most relays drawn. */
export const MAX_DRAWN_RELAYS = 3;

const CENTRE = { x: 180, y: 136 };
const RINGS = [
  { x: 148, y: 90 },
  { x: 100, y: 58 },
];
const RELAY_Y = 26;
/** The distance between two relays. */
const RELAY_STEP = 92;
/** The sector of the circle reserved for relays, in radians. */
const RELAY_SECTOR = (84 / 180) * Math.PI;

/**
 * @typedef {{ id: string, x: number, y: number }} Position
 * @typedef {{ id: string, kind: "direct" | "relayed" | "relay", path: string }} Link
 */

/**
 * @param {object[]} peers as returned by the node's `peers()`, with or without relays
 * @param {object[]} relays as in the node's `status()`
 * @returns {{ self: { x: number, y: number }, relays: (Position & { connected: boolean })[],
 *   peers: (Position & { path: string })[], links: Link[], hidden: number }}
 */
export function layoutNetwork(peers, relays) {
  const placedRelays = placeRelays(relays);
  const others = peers.filter((peer) => peer.path !== "relay").toSorted(comparePeerIds);
  const relayed = others.filter((peer) => peer.path === "relayed");
  const direct = others.filter((peer) => peer.path === "direct");
  // Relayed peers go to both ends of the arc, close to the relay.
  const half = Math.ceil(relayed.length / 2);
  const inOrder = [...relayed.slice(0, half), ...direct, ...relayed.slice(half)];
  const drawn = inOrder.length <= MAX_DRAWN_PEERS ? inOrder : inOrder.slice(0, MAX_DRAWN_PEERS);
  const placedPeers = drawn.map((peer, i) => ({ id: peer.peerId, path: peer.path, ...onArc(i, drawn.length) }));
  const via = placedRelays.find((relay) => relay.connected) ?? placedRelays[0] ?? { x: CENTRE.x, y: RELAY_Y };
  const links = [
    ...placedRelays.filter((relay) => relay.connected).map((relay) => link("relay", relay, straight(CENTRE, relay))),
    ...placedPeers.map((peer) =>
      peer.path === "direct"
        ? link("direct", peer, straight(CENTRE, peer))
        : link("relayed", peer, bent(CENTRE, via, peer)),
    ),
  ];
  return { self: CENTRE, relays: placedRelays, peers: placedPeers, links, hidden: inOrder.length - drawn.length };
}

/** One position per relay, even if several of its addresses are known. */
function placeRelays(relays) {
  const byId = new Map();
  for (const { peerId, address, connected } of relays) {
    const id = peerId ?? address;
    byId.set(id, (byId.get(id) ?? false) || connected);
  }
  const all = [...byId].map(([id, connected]) => ({ id, connected })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const drawn = all.slice(0, MAX_DRAWN_RELAYS);
  const left = CENTRE.x - ((drawn.length - 1) * RELAY_STEP) / 2;
  return drawn.map((relay, i) => ({ ...relay, x: left + i * RELAY_STEP, y: RELAY_Y }));
}

function onArc(i, count) {
  const ring = RINGS[count < TWO_RINGS_FROM ? 0 : i % 2];
  const arc = 2 * Math.PI - RELAY_SECTOR;
  // A single peer goes below, next to the name of this tab. Several spread over the whole arc, clockwise from the right
  // of the relays.
  const share = count === 1 ? 0.36 : count === 2 ? 0.3 + 0.4 * i : i / (count - 1);
  const angle = -Math.PI / 2 + RELAY_SECTOR / 2 + share * arc;
  return { x: round(CENTRE.x + ring.x * Math.cos(angle)), y: round(CENTRE.y + ring.y * Math.sin(angle)) };
}

function link(kind, { id }, path) {
  return { id: `${kind} ${id}`, kind, path };
}

function straight(a, b) {
  return `M${a.x} ${a.y}L${b.x} ${b.y}`;
}

function bent(a, via, b) {
  return `M${a.x} ${a.y}Q${via.x} ${via.y} ${b.x} ${b.y}`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function comparePeerIds(a, b) {
  return a.peerId < b.peerId ? -1 : 1;
}
