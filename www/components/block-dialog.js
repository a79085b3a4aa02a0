//! All details of one block, with a button to check it. Checks nothing itself: it dispatches "check-requested" and is
//! given the result.

import { closeOnBackdropClick, element, setText } from "../dom.js";
import { errorMessage } from "../error-messages.js";
import { peerIdOf } from "../peer-name.js";
import { formatNumber, formatTime, say } from "../strings.js";
import { expectedHashes } from "../work.js";
import { findings } from "./findings.js";
import { LocalizedElement } from "./localized-element.js";
import { nameTag } from "./name-tag.js";

/** Readings listed at first, and added with each press of the button. */
const LISTED_READINGS = 50;

/**
 * `open(block, tip, self)` shows a block. Dispatches "check-requested" with `{ block }`; reply with `checked(block,
 * check)` or `failed(block, error)`. Dispatches "neighbour-requested" with `{ index }`. Call `follow(tip, hash)` when
 * the chain changes.
 */
export class BlockDialog extends LocalizedElement {
  #shown = null;
  #listed = LISTED_READINGS;
  #outcome = null;

  /** The height of the open block; null if the dialog is closed. */
  get index() {
    return this.#dialog.open ? this.#shown.block.index : null;
  }

  connectedCallback() {
    super.connectedCallback();
    const on = (selector, work) => (this.querySelector(selector).onclick = work);
    on(".dialog-close", () => this.#dialog.close());
    on(".block-check", () => this.#requestCheck());
    on(".block-before", () => this.#requestNeighbour(-1));
    on(".block-after", () => this.#requestNeighbour(1));
    on(".block-more", () => {
      this.#listed += LISTED_READINGS;
      this.render();
    });
    closeOnBackdropClick(this.#dialog);
  }

  open(block, tip, self) {
    if (this.#shown?.block.hash !== block.hash) {
      this.#outcome = null;
      this.#listed = LISTED_READINGS;
    }
    this.#shown = { block, tip, self, inChain: true };
    this.render();
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  /** Updates the dialog: the tip's height, and the hash that the chain now has at the open block's height. */
  follow(tip, hash) {
    if (this.index === null) return;
    const inChain = hash === this.#shown.block.hash;
    if (tip === this.#shown.tip && inChain === this.#shown.inChain) return;
    this.#shown = { ...this.#shown, tip, inChain };
    this.render();
  }

  checked(block, check) {
    this.#finish(block, { check });
  }

  failed(block, error) {
    this.#finish(block, { error });
  }

  render() {
    if (this.#shown === null) return;
    const { block, tip, self, inChain } = this.#shown;
    setText(this.querySelector("h2"), say("chain.block", { index: block.index }));
    this.querySelector(".block-facts").replaceChildren(...facts(block, tip, inChain));
    this.#showReadings(block, self);
    this.querySelector(".block-before").disabled = block.index === 0;
    this.querySelector(".block-after").disabled = block.index >= tip;
    this.#showOutcome(block);
  }

  get #dialog() {
    return this.querySelector("dialog");
  }

  #showReadings(block, self) {
    const { readings } = block;
    const table = this.querySelector("table");
    table.hidden = readings.length === 0;
    setText(this.querySelector(".block-readings"), say("chain.readings", { count: readings.length }));
    table.tBodies[0].replaceChildren(...readings.slice(0, this.#listed).map((reading) => readingRow(reading, self)));
    const left = readings.length - this.#listed;
    const more = this.querySelector(".block-more");
    more.hidden = left <= 0;
    setText(more, say("chain.more", { count: Math.max(0, left) }));
  }

  #showOutcome(block) {
    const list = this.querySelector(".findings");
    const verdict = this.querySelector(".verdict");
    const { check, error } = this.#outcome ?? {};
    if (check !== undefined) {
      setText(verdict, say(check.ok ? "check.good" : "check.bad"));
      list.replaceChildren(...findings(block, check).map(findingItem));
    } else {
      setText(verdict, error === undefined ? "" : say("check.failed", { reason: errorMessage(error) }));
      list.replaceChildren();
    }
    verdict.classList.toggle("error", error !== undefined || check?.ok === false);
  }

  #requestCheck() {
    this.dispatchEvent(new CustomEvent("check-requested", { detail: { block: this.#shown.block } }));
  }

  #requestNeighbour(step) {
    const index = this.#shown.block.index + step;
    this.dispatchEvent(new CustomEvent("neighbour-requested", { detail: { index } }));
  }

  #finish(block, outcome) {
    if (this.#shown?.block.hash !== block.hash) return;
    this.#outcome = outcome;
    this.render();
  }
}

customElements.define("block-dialog", BlockDialog);

function facts(block, tip, inChain) {
  const isFirst = block.index === 0;
  const hashes = expectedHashes(block.bits);
  const rows = [
    ["block.hash", block.hash, "mono"],
    ["block.previous", isFirst ? say("block.noPrevious", { hash: block.prevHash }) : block.prevHash, "mono"],
    ["block.root", block.readingsRoot, "mono"],
    ["block.time", isFirst ? say("block.noTime") : `${formatTime(block.time, Date.now())} (${new Date(block.time).toISOString()})`, ""],
    ["block.work", isFirst ? say("block.noWork") : say("block.workOf", { hashes, bits: block.bits.toString(16) }), ""],
    ["block.nonce", block.nonce, "mono"],
    ["block.depth", depth(block, tip, inChain), ""],
  ];
  return rows.map(([key, value, style]) => element("div", {}, element("dt", {}, say(key)), element("dd", { class: style }, value)));
}

function depth({ index }, tip, inChain) {
  if (!inChain) return say("block.left");
  return index === 0 ? say("block.deepest") : say("block.depthOf", { count: tip - index });
}

function readingRow({ id, author, seq, time, bpm, signature }, self) {
  const peerId = peerIdOf(author);
  const cell = (name, text, title) => element("td", title === undefined ? { class: name } : { class: name, title }, text);
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, nameTag(peerId, peerId === self)),
    cell("number", formatNumber(bpm)),
    cell("", formatTime(time, Date.now())),
    cell("number", formatNumber(seq)),
    cell("mono", `${id.slice(0, 8)}…`, id),
    cell("mono", `${signature.slice(0, 8)}…`, signature),
  );
}

function findingItem({ ok, text, detail }) {
  const mark = element("span", { class: "mark", "aria-hidden": "true" }, ok ? "✓" : "✗");
  const item = element("li", { class: ok ? "finding" : "finding finding-bad" }, mark, element("span", {}, text));
  if (detail !== "") item.append(element("code", {}, detail));
  return item;
}
