//! Where the picture of the network puts everybody: this tab in the middle, relays above, peers around it, those
//! reached through a relay next to it. Never draws and never touches the page.

/** The picture's own size, in its own units. */
export const PICTURE = { width: 360, height: 256 };

/** Peers drawn; the table has them all. */
export const MAX_DRAWN_PEERS = 24;

/** From this many peers on, they stand in two rings. */
const ONE_RING = 13;

/** Relays drawn. */
export const MAX_DRAWN_RELAYS = 3;

const CENTRE = { x: 180, y: 136 };
const RINGS = [
  { x: 148, y: 90 },
  { x: 100, y: 58 },
];
const RELAY_Y = 26;
/** Between two relays. */
const RELAY_STEP = 92;
/** The part of the circle that is left to the relays, in radians. */
const RELAY_SECTOR = (84 / 180) * Math.PI;

/**
 * @typedef {{ id: string, x: number, y: number }} Place
 * @typedef {{ id: string, kind: "direct" | "relayed" | "relay", path: string }} Link
 */

/**
 * @param {object[]} peers as the node's `peers()`, relays included or not
 * @param {object[]} relays as in the node's `status()`
 * @returns {{ self: { x: number, y: number }, relays: (Place & { connected: boolean })[],
 *   peers: (Place & { path: string })[], links: Link[], hidden: number }}
 */
export function layoutNetwork(peers, relays) {
  const placedRelays = placeRelays(relays);
  const others = peers.filter((peer) => peer.path !== "relay").toSorted(byId);
  const relayed = others.filter((peer) => peer.path === "relayed");
  const direct = others.filter((peer) => peer.path === "direct");
  // Those behind the relay at both ends of the arc, where the relay is near.
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

/** One place a relay, however many of its addresses are known. */
function placeRelays(relays) {
  const byName = new Map();
  for (const { peerId, address, connected } of relays) {
    const id = peerId ?? address;
    byName.set(id, (byName.get(id) ?? false) || connected);
  }
  const all = [...byName].map(([id, connected]) => ({ id, connected })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const drawn = all.slice(0, MAX_DRAWN_RELAYS);
  const left = CENTRE.x - ((drawn.length - 1) * RELAY_STEP) / 2;
  return drawn.map((relay, i) => ({ ...relay, x: left + i * RELAY_STEP, y: RELAY_Y }));
}

function onArc(place, count) {
  const ring = RINGS[count < ONE_RING ? 0 : place % 2];
  const arc = 2 * Math.PI - RELAY_SECTOR;
  // One alone stands below, beside the name of this tab; several are spread over the whole arc, clockwise from the relays'
  // right.
  const share = count === 1 ? 0.36 : count === 2 ? 0.3 + 0.4 * place : place / (count - 1);
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

function byId(a, b) {
  return a.peerId < b.peerId ? -1 : 1;
}
