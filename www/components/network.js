//! The network as a picture, and the lists of peers and relays.

import { authorChanges, nameOf, peerLetters } from "../authors.js";
import { LocalizedElement, element, reconcile, setText, svgElement } from "../dom.js";
import { PICTURE, labelShift, layoutNetwork } from "../geometry.js";
import { noPeersKey, shownText } from "../messages.js";
import { peerRows } from "../model.js";
import { formatNumber, say } from "../strings.js";
import { colour, fullName, nameTag, peerTag } from "./chain.js";

// The network as this tab sees it, as a picture. The table next to it has the same information as text. The layout is
// computed in `geometry.js`.

/** With more peers, names would overlap: the table has them. */
const MAX_NAMED_PEERS = 14;

/** Above this line, names are drawn above their node. */
const MIDDLE_Y = PICTURE.height / 2;

const RADIUS = { self: 13, peer: 9, relay: 10 };

/** A longer name is cut, because it would cover others, in characters. */
const MAX_NAME = 12;

/** Property: `network` = `{ peers, relays, self, isPrivate }`: as returned by the node, the author of this tab, the room's kind. */
export class NetworkPicture extends LocalizedElement {
  #network = null;
  #drawn = "";

  set network(network) {
    this.#network = network;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    authorChanges.addEventListener("change", this.#onAuthors);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    authorChanges.removeEventListener("change", this.#onAuthors);
  }

  #onAuthors = () => {
    this.languageChanged();
    this.invalidate();
  };

  languageChanged() {
    this.#drawn = "";
  }

  render() {
    if (this.#network === null) return;
    const { peers, relays, self, isPrivate } = this.#network;
    const layout = layoutNetwork(peers, relays);
    const rows = new Map(peerRows(peers, isPrivate).map((row) => [row.peerId, row]));
    // Round-trip times change all the time, but the picture does not show them.
    const drawn = JSON.stringify([layout, self, [...rows.values()].map(({ key, isWithoutKey }) => [key, isWithoutKey])]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    // Of this tab alone, a picture says nothing.
    this.hidden = layout.peers.length === 0 && layout.relays.length === 0;
    const picture = this.querySelector("svg");
    picture.setAttribute("viewBox", `0 0 ${PICTURE.width} ${PICTURE.height}`);
    const direct = layout.links.filter(({ kind }) => kind === "direct").length;
    const relayed = layout.links.filter(({ kind }) => kind === "relayed").length;
    picture.setAttribute("aria-label", say("network.summary", { direct, relayed, relays: layout.relays.length }));
    reconcile(picture.querySelector(".links"), layout.links, ({ id }) => id, makeLink, (line, { path }) => line.setAttribute("d", path));
    const named = layout.peers.length <= MAX_NAMED_PEERS;
    const nodes = [
      ...layout.relays.map((relay) => ({ ...relay, kind: "relay", name: say("network.relay"), off: !relay.connected })),
      ...layout.peers.map((peer) => {
        const { author, isWithoutKey } = rows.get(peer.id);
        return { ...peer, kind: "peer", author, name: named ? labelOf(author, peer.id) : "", off: isWithoutKey, isWithoutKey };
      }),
      { id: self, author: self, ...layout.self, kind: "self", name: say("reading.own"), off: false },
    ];
    reconcile(picture.querySelector(".nodes"), nodes, ({ id, kind }) => `${kind} ${id}`, makeNode, updateNode);
    setText(this.querySelector(".network-more"), layout.hidden === 0 ? "" : say("network.hidden", { count: layout.hidden }));
  }
}

customElements.define("network-picture", NetworkPicture);

function makeLink({ kind, path }) {
  return svgElement("path", { class: `link link-${kind}`, d: path });
}

/** A name that fits into the picture. */
function labelOf(author, peerId) {
  if (author === null) return peerLetters(peerId);
  const { name, letters } = nameOf(author);
  if (name === null) return letters;
  const all = [...name];
  const short = all.length > MAX_NAME ? `${all.slice(0, MAX_NAME - 1).join("")}…` : name;
  return letters === null ? short : `${short} ${letters}`;
}

function makeNode(node) {
  const { kind } = node;
  const radius = RADIUS[kind];
  const shape =
    kind === "relay"
      ? svgElement("rect", { x: -radius, y: -radius, width: 2 * radius, height: 2 * radius, rx: 4 })
      : svgElement("circle", { r: radius });
  const group = svgElement("g", { class: `node node-${kind}` }, svgElement("title", {}), shape, svgElement("text", {}));
  updateNode(group, node);
  return group;
}

/** Names are drawn on the side away from the middle, where no link runs. */
function updateNode(group, { id, kind, author = null, x, y, name, off, isWithoutKey = false }) {
  const title = author === null ? id : fullName(author);
  setText(group.firstElementChild, isWithoutKey ? `${title}\n${say("peers.withoutKey")}` : title);
  if (author !== null) colour(group, author);
  const radius = RADIUS[kind];
  const below = kind === "self" ? radius + 15 : radius + 13;
  group.lastElementChild.setAttribute("x", String(labelShift(x, name)));
  group.lastElementChild.setAttribute("y", String(kind !== "self" && y < MIDDLE_Y ? -radius - 5 : below));
  group.style.setProperty("transform", `translate(${x}px, ${y}px)`);
  group.classList.toggle("node-off", off);
  setText(group.lastElementChild, name);
}

// The peers this tab is connected to, as a table.

/** Properties: `network` = `{ peers, status }`, as returned by the node, and `self`, the author of this tab. */
export class PeerList extends LocalizedElement {
  /** As `peerRows()` returns them. */
  #peers = [];
  #status = null;
  #self = null;

  set network({ peers, status }) {
    this.#peers = peerRows(peers, status.private);
    this.#status = status;
    this.invalidate();
  }

  set self(self) {
    if (self === this.#self) return;
    this.#self = self;
    this.#showSelf();
  }

  languageChanged() {
    this.#showSelf();
  }

  #showSelf() {
    if (this.#self === null) return;
    const line = this.querySelector(".self");
    line.hidden = false;
    line.replaceChildren(`${say("peers.self")} `, nameTag(this.#self, true));
  }

  render() {
    if (this.#status === null) return;
    const table = this.querySelector("table");
    const none = this.#peers.length === 0;
    table.hidden = none;
    this.querySelector(".peers-hint").hidden = none;
    const empty = this.querySelector(".empty");
    const key = none ? noPeersKey(this.#status) : null;
    empty.hidden = key === null;
    setText(empty, key === null ? "" : say(key));
    const without = this.querySelector(".peers-without");
    without.hidden = !this.#peers.some(({ isWithoutKey }) => isWithoutKey);
    setText(without, without.hidden ? "" : say("peers.withoutKeyHint"));
    reconcile(table.tBodies[0], this.#peers, ({ key }) => key, createRow, updateRow);
  }
}

customElements.define("peer-list", PeerList);

function createRow(peer) {
  const row = element(
    "tr",
    {},
    element(
      "th",
      { scope: "row" },
      peer.author === null ? peerTag(peer.peerId) : nameTag(peer.author, false),
      " ",
      element("span", { class: "badge", hidden: true }),
    ),
    element("td"),
    element("td", { class: "number" }),
    element("td", { class: "number" }),
  );
  updateRow(row, peer);
  return row;
}

function updateRow(row, { path, rttMs, index, isWithoutKey }) {
  const [nameCell, pathCell, rttCell, heightCell] = row.cells;
  nameCell.lastElementChild.hidden = !isWithoutKey;
  setText(nameCell.lastElementChild, isWithoutKey ? say("peers.withoutKey") : "");
  setText(pathCell, say(path === "direct" ? "peers.direct" : "peers.relayed"));
  setText(rttCell, rttMs === null ? say("peers.unknown") : say("peers.ms", { ms: Math.max(1, Math.round(rttMs)) }));
  setText(heightCell, index === null ? say("peers.unknown") : formatNumber(index));
}

// The relays that connect this tab with other peers, and the state of each.

/** Property: `network` = `{ relays, isolated }`, as in the node's `status()`. */
export class RelayList extends LocalizedElement {
  #network = null;

  set network(network) {
    this.#network = network;
    this.invalidate();
  }

  render() {
    if (this.#network === null) return;
    const { isolated } = this.#network;
    const relays = this.#network.relays.map((relay) => ({ ...relay, isolated }));
    const list = this.querySelector("ul");
    const none = relays.length === 0;
    list.hidden = none;
    this.querySelector(".empty").hidden = !none;
    reconcile(list, relays, (relay) => relay.address, createItem, updateItem);
  }
}

customElements.define("relay-list", RelayList);

function createItem(relay) {
  const shown = shownText(relay.address);
  const address = element("bdi", { class: "address", title: shown }, withoutPeerId(shown));
  const item = element("li", {}, address, element("span", { class: "relay-state" }));
  updateItem(item, relay);
  return item;
}

function updateItem(item, { connected, reserved, full, isolated }) {
  const lost = isolated ? "cut" : "lost";
  const notReserved = connected ? "connected" : lost;
  const state = reserved ? "reserved" : full && !isolated ? "full" : notReserved;
  item.dataset.state = state;
  setText(item.querySelector(".relay-state"), say(`relays.${state}`));
}

/** The part of an address that users need: host and transport. The peer ID stays in the tooltip. */
function withoutPeerId(address) {
  return address.replace(/\/p2p\/[^/]+$/, "");
}
