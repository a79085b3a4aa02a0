//! The network as this tab sees it, as a picture. The table next to it has the same information as text. The layout is
//! computed in `network-layout.js`.

import { reconcile, setText, svgElement } from "../dom.js";
import { PICTURE, layoutNetwork } from "../network-layout.js";
import { shortName } from "../peer-name.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";
import { colour } from "./name-tag.js";

/** With more peers, names would overlap: the table has them. */
const MAX_NAMED_PEERS = 14;

/** Above this line, names are drawn above their node. */
const MIDDLE_Y = PICTURE.height / 2;

const RADIUS = { self: 13, peer: 9, relay: 10 };

/** Property: `network` = `{ peers, relays, self }`. */
export class NetworkPicture extends LocalizedElement {
  #network = null;
  #drawn = "";

  set network(network) {
    this.#network = network;
    this.invalidate();
  }

  languageChanged() {
    this.#drawn = "";
  }

  render() {
    if (this.#network === null) return;
    const { peers, relays, self } = this.#network;
    const layout = layoutNetwork(peers, relays);
    // Round-trip times change all the time, but the picture does not show them.
    const drawn = JSON.stringify([layout, self]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const picture = this.querySelector("svg");
    picture.setAttribute("viewBox", `0 0 ${PICTURE.width} ${PICTURE.height}`);
    const direct = layout.links.filter(({ kind }) => kind === "direct").length;
    const relayed = layout.links.filter(({ kind }) => kind === "relayed").length;
    picture.setAttribute("aria-label", say("network.summary", { direct, relayed, relays: layout.relays.length }));
    reconcile(picture.querySelector(".links"), layout.links, ({ id }) => id, makeLink, (line, { path }) => line.setAttribute("d", path));
    const named = layout.peers.length <= MAX_NAMED_PEERS;
    const nodes = [
      ...layout.relays.map((relay) => ({ ...relay, kind: "relay", name: say("network.relay"), off: !relay.connected })),
      ...layout.peers.map((peer) => ({ ...peer, kind: "peer", name: named ? shortName(peer.id) : "", off: false })),
      { id: self, ...layout.self, kind: "self", name: say("reading.own"), off: false },
    ];
    reconcile(picture.querySelector(".nodes"), nodes, ({ id, kind }) => `${kind} ${id}`, makeNode, updateNode);
    setText(this.querySelector(".network-more"), layout.hidden === 0 ? "" : say("network.hidden", { count: layout.hidden }));
  }
}

customElements.define("network-picture", NetworkPicture);

function makeLink({ kind, path }) {
  return svgElement("path", { class: `link link-${kind}`, d: path });
}

function makeNode(node) {
  const { id, kind } = node;
  const radius = RADIUS[kind];
  const shape =
    kind === "relay"
      ? svgElement("rect", { x: -radius, y: -radius, width: 2 * radius, height: 2 * radius, rx: 4 })
      : svgElement("circle", { r: radius });
  const title = svgElement("title", {});
  title.textContent = id;
  const label = svgElement("text", {});
  const group = svgElement("g", { class: `node node-${kind}` }, title, shape, label);
  if (kind !== "relay") colour(group, id);
  updateNode(group, node);
  return group;
}

/** Names are drawn on the side away from the middle, where no link runs. */
function updateNode(group, { kind, x, y, name, off }) {
  const radius = RADIUS[kind];
  const below = kind === "self" ? radius + 15 : radius + 13;
  group.lastElementChild.setAttribute("y", String(kind !== "self" && y < MIDDLE_Y ? -radius - 5 : below));
  group.style.setProperty("transform", `translate(${x}px, ${y}px)`);
  group.classList.toggle("node-off", off);
  setText(group.lastElementChild, name);
}
