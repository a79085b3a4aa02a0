//! One page of the chain as linked cards, newest first. Never fetches: it is given the view and dispatches
//! "older-wanted" and "newer-wanted".

import { element, reconcile, setText } from "../dom.js";
import { formatTime, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";
import { fillReadings } from "./readings.js";

/** Hex digits shown at either end of a hash: the zeros of its work, and enough to compare with a neighbour's. */
const HASH_START = 8;
const HASH_END = 6;

/** Property: `chain` = `{ view, self }`, the view of a `ChainWindow` and this tab's PeerId. */
export class ChainList extends LocalizedElement {
  #chain = null;

  set chain(chain) {
    if (chain.self !== this.#chain?.self) this.#list.replaceChildren();
    this.#chain = chain;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.querySelector(".older").onclick = () => this.#turn("older-wanted");
    this.querySelector(".newer").onclick = () => this.#turn("newer-wanted");
  }

  languageChanged() {
    this.#list.replaceChildren();
  }

  render() {
    if (this.#chain === null) return;
    const { view, self } = this.#chain;
    const { failure } = view;
    setText(this.querySelector(".failure"), failure === null ? "" : say("chain.unreadable", { reason: failure }));
    this.querySelector(".empty").hidden = view.tip > 0;
    this.querySelector(".older").hidden = !view.hasOlder;
    this.querySelector(".newer").hidden = view.following;
    reconcile(this.#list, view.blocks, (block) => block.hash, (block) => blockCard(block, self));
  }

  get #list() {
    return this.querySelector(".blocks");
  }

  #turn(wish) {
    this.dispatchEvent(new CustomEvent(wish));
    this.scrollIntoView({ block: "start" });
  }
}

customElements.define("chain-list", ChainList);

function blockCard(block, self) {
  const { index, readings } = block;
  const head = element("header", {}, element("h3", {}, say("chain.block", { index })));
  const card = element("li", { class: "block" }, head);
  if (index === 0) {
    card.append(element("p", { class: "hint" }, say("chain.genesis")));
  } else {
    const count = say("chain.readings", { count: readings.length });
    head.append(element("span", { class: "count" }, count), timeOf(block));
  }
  card.append(hashLine(block));
  if (readings.length > 0) {
    const list = element("ul", { class: "readings", role: "list" });
    fillReadings(list, readings, self);
    card.append(list);
  }
  return card;
}

function timeOf({ time }) {
  return element("time", { datetime: new Date(time).toISOString() }, formatTime(time, Date.now()));
}

function hashLine({ hash, prevHash }) {
  return element(
    "dl",
    { class: "hashes" },
    element("div", {}, element("dt", {}, say("chain.hash")), element("dd", { title: hash }, shortHash(hash))),
    element("div", {}, element("dt", {}, say("chain.previous")), element("dd", { title: prevHash }, shortHash(prevHash))),
  );
}

function shortHash(hash) {
  return `${hash.slice(0, HASH_START)}…${hash.slice(-HASH_END)}`;
}
