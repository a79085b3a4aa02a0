//! The relays that connect this tab with other peers, and the state of each.

import { element, reconcile, setText } from "../dom.js";
import { shownText } from "../shown-text.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** Property: `network` = `{ relays, isolated }`, as in the node's `status()`. */
export class RelayList extends LocalizedElement {
  #relays = [];
  #isolated = false;

  set network({ relays, isolated }) {
    this.#relays = relays;
    this.#isolated = isolated;
    this.invalidate();
  }

  render() {
    const list = this.querySelector("ul");
    const none = this.#relays.length === 0;
    list.hidden = none;
    this.querySelector(".empty").hidden = !none;
    const relays = this.#relays.map((relay) => ({ ...relay, isolated: this.#isolated }));
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

function updateItem(item, { connected, reserved, isolated }) {
  const lost = isolated ? "cut" : "lost";
  const state = connected ? (reserved ? "reserved" : "connected") : lost;
  item.dataset.state = state;
  setText(item.querySelector(".relay-state"), say(`relays.${state}`));
}

/** The part of an address that users need: host and transport. The peer ID stays in the tooltip. */
function withoutPeerId(address) {
  return address.replace(/\/p2p\/[^/]+$/, "");
}
