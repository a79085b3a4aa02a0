//! The peers this tab is connected to, as a table. Relays are in `relay-list.js`.

import { element, reconcile, setText } from "../dom.js";
import { formatNumber, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";
import { nameTag } from "./name-tag.js";

/** Properties: `network` = `{ peers, isolated }`, as returned by the node, and `self`, this tab's peer ID. */
export class PeerList extends LocalizedElement {
  #peers = [];
  #isolated = false;
  #self = null;

  set network({ peers, isolated }) {
    this.#peers = peers.filter((peer) => peer.path !== "relay");
    this.#isolated = isolated;
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
    const table = this.querySelector("table");
    const none = this.#peers.length === 0;
    table.hidden = none;
    this.querySelector(".peers-hint").hidden = none;
    const empty = this.querySelector(".empty");
    empty.hidden = !none;
    setText(empty, say(this.#isolated ? "peers.cut" : "peers.none"));
    const peers = this.#peers.toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1));
    reconcile(table.tBodies[0], peers, (peer) => peer.peerId, createRow, updateRow);
  }
}

customElements.define("peer-list", PeerList);

function createRow(peer) {
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, nameTag(peer.peerId, false)),
    element("td"),
    element("td", { class: "number" }),
    element("td", { class: "number" }),
  );
  updateRow(row, peer);
  return row;
}

function updateRow(row, { path, rttMs, index }) {
  const [, pathCell, rttCell, heightCell] = row.cells;
  setText(pathCell, say(path === "direct" ? "peers.direct" : "peers.relayed"));
  setText(rttCell, rttMs === null ? say("peers.unknown") : say("peers.ms", { ms: Math.max(1, Math.round(rttMs)) }));
  setText(heightCell, index === null ? say("peers.unknown") : formatNumber(index));
}
