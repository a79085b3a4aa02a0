//! The chain as linked cards, newest first, in a virtual list: only the cards in view exist. Fetches nothing itself: it
//! dispatches "range-requested" and is updated when blocks arrive.

import { element, reconcile, setText } from "../dom.js";
import { errorMessage } from "../error-messages.js";
import { contentHeight, offsetOf, rowsInView, scrollTopOf } from "../scroll-map.js";
import { say } from "../strings.js";
import { blockCard, placeholderCard } from "./block-card.js";
import { LocalizedElement } from "./localized-element.js";

/** The assumed height of a row until it is measured, px. */
const INITIAL_ROW_PX = 136;

/** The padding and border of a card, both sides, rem. */
const CARD_PADDING_REM = 2.2;

/** Narrower cards show two lines of readings, rem. */
const NARROW_REM = 26;

/**
 * Property: `chain` = `{ tip, block(index), failure, self, rivals }`, where `rivals` are the dropped blocks by height.
 * Dispatches "range-requested" with `{ first, last }`, heights of blocks, and "block-opened" with `{ index }`.
 */
export class ChainList extends LocalizedElement {
  #chain = null;
  /** Measured on change, not on demand: reading the layout in between would force a reflow. */
  #row = INITIAL_ROW_PX;
  #viewport = 0;
  /** The range last requested. */
  #requested = "";
  /** The block whose card is in the tab order (roving tabindex). */
  #current = null;
  #frame = 0;
  /** The height of the chain when the user asked for a block above it; null if the last jump was valid. */
  #invalidJumpMax = null;
  /** The space for readings on a card. */
  #space = { width: 0, lines: 1 };

  set chain(chain) {
    const before = this.#chain;
    this.#chain = chain;
    if (chain.self !== before?.self) this.#list.replaceChildren();
    if (!this.isConnected) return;
    // Keeps old blocks in view while new ones are added on top.
    const grown = before === null ? 0 : chain.tip - before.tip;
    const offset = offsetOf(this.#boxOf(before ?? chain), this.#scroller.scrollTop);
    this.render();
    if (grown !== 0 && offset > this.#row / 2) {
      this.#scroller.scrollTop = scrollTopOf(this.#box, offset + grown * this.#row);
      this.#draw();
    }
  }

  connectedCallback() {
    super.connectedCallback();
    this.#scroller.onscroll = () => this.#drawSoon();
    this.#scroller.onkeydown = (event) => this.#onKey(event);
    this.#list.onclick = ({ target }) => this.#open(target.closest(".block-open"));
    this.#list.onfocus = null;
    this.#list.addEventListener("focusin", ({ target }) => {
      const row = target.closest("[data-index]");
      if (row) this.#current = Number(row.dataset.index);
    });
    this.querySelector(".newest").onclick = () => {
      this.#scroller.scrollTop = 0;
      this.#focusCard(this.#chain?.tip ?? 0);
    };
    this.querySelector(".jump").onsubmit = (event) => {
      event.preventDefault();
      this.#jump();
    };
    new ResizeObserver(() => this.#remeasure()).observe(this.#scroller);
  }

  languageChanged() {
    this.#list.replaceChildren();
  }

  render() {
    if (this.#chain === null) return;
    const { tip, failure } = this.#chain;
    setText(this.querySelector(".failure"), failure === null ? "" : say("chain.unreadable", { reason: errorMessage(failure) }));
    this.querySelector(".empty").hidden = tip > 0;
    const max = this.#invalidJumpMax;
    setText(this.querySelector("#jump-error"), max === null ? "" : say("chain.jumpInvalid", { max }));
    this.#draw();
    this.querySelector(".jump").hidden = (tip + 1) * this.#row <= 2 * this.#viewport;
  }

  get #scroller() {
    return this.querySelector(".chain-scroll");
  }

  get #list() {
    return this.querySelector(".blocks");
  }

  get #box() {
    return this.#boxOf(this.#chain);
  }

  #boxOf({ tip }) {
    return { count: tip + 1, row: this.#row, viewport: this.#viewport };
  }

  #drawSoon() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    if (this.#chain === null) return;
    const { tip, block, self, rivals } = this.#chain;
    const list = this.#list;
    list.style.setProperty("--height", `${contentHeight(this.#box)}px`);
    const scrollTop = this.#scroller.scrollTop;
    const { first, last, shift } = rowsInView(this.#box, scrollTop);
    const rows = [];
    for (let row = first; row <= last; row += 1) rows.push(tip - row);
    const hasFocus = list.contains(document.activeElement);
    if (this.#current !== null && this.#current > tip) this.#current = tip;
    if (!hasFocus) this.#current = tip - Math.min(tip, Math.ceil(offsetOf(this.#box, scrollTop) / this.#row));
    // The focused card stays in the list even when it is scrolled out of view.
    else if (!rows.includes(this.#current)) rows[this.#current > rows[0] ? "unshift" : "push"](this.#current);
    const items = rows.map((index) => ({ index, block: block(index), rival: rivals.get(index) }));
    reconcile(
      list,
      items,
      ({ index, block, rival }) => `${index} ${block?.hash} ${rival}`,
      (item) => makeRow(item, self, this.#space),
    );
    for (const row of list.children) {
      const index = Number(row.dataset.index);
      row.style.setProperty("--place", `${(tip - index) * this.#row + shift}px`);
      row.setAttribute("aria-posinset", String(tip - index + 1));
      row.setAttribute("aria-setsize", String(tip + 1));
      row.querySelector(".block-open").tabIndex = index === this.#current ? 0 : -1;
    }
    if (hasFocus && !list.contains(document.activeElement)) this.#cardOf(this.#current)?.focus({ preventScroll: true });
    this.querySelector(".newest").hidden = offsetOf(this.#box, scrollTop) < 2 * this.#row;
    this.#requestRange(Math.max(0, tip - last), tip - first);
  }

  #requestRange(first, last) {
    const requested = `${first} ${last}`;
    if (requested === this.#requested) return;
    this.#requested = requested;
    this.dispatchEvent(new CustomEvent("range-requested", { detail: { first, last } }));
  }

  #remeasure() {
    const style = getComputedStyle(document.documentElement);
    const rem = Number.parseFloat(style.fontSize);
    const width = this.#list.clientWidth / rem - CARD_PADDING_REM;
    // Another width fits another number of readings on a card.
    if (width !== this.#space.width) this.#list.replaceChildren();
    this.#space = { width, lines: width < NARROW_REM ? 2 : 1 };
    const row = Number.parseFloat(style.getPropertyValue("--row-height")) * rem;
    if (this.#chain !== null && row !== this.#row) {
      const rows = offsetOf(this.#box, this.#scroller.scrollTop) / this.#row;
      this.#row = row;
      this.#viewport = this.#scroller.clientHeight;
      this.#scroller.scrollTop = scrollTopOf(this.#box, rows * row);
    }
    this.#row = row;
    this.#viewport = this.#scroller.clientHeight;
    this.render();
  }

  #cardOf(index) {
    return this.#list.querySelector(`[data-index="${index}"] .block-open`);
  }

  #open(button) {
    if (!button) return;
    const { index } = button.closest("[data-index]").dataset;
    this.dispatchEvent(new CustomEvent("block-opened", { detail: { index: Number(index) } }));
  }

  #onKey(event) {
    if (this.#chain === null || event.target.closest(".blocks") === null) return;
    const page = Math.max(1, Math.floor(this.#viewport / this.#row) - 1);
    const steps = { ArrowDown: -1, ArrowUp: 1, PageDown: -page, PageUp: page, Home: Infinity, End: -Infinity };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.#focusCard(Math.min(this.#chain.tip, Math.max(0, this.#current + step)));
  }

  /** Scrolls a block's card into view if needed and focuses it. */
  #focusCard(index) {
    const row = this.#chain.tip - index;
    const top = offsetOf(this.#box, this.#scroller.scrollTop);
    const bottom = top + this.#viewport;
    if (row * this.#row < top) this.#scroller.scrollTop = scrollTopOf(this.#box, row * this.#row);
    else if ((row + 1) * this.#row > bottom) {
      this.#scroller.scrollTop = scrollTopOf(this.#box, (row + 1) * this.#row - this.#viewport);
    }
    this.#current = index;
    this.#draw();
    this.#cardOf(index)?.focus({ preventScroll: true });
  }

  #jump() {
    const field = this.querySelector("#jump-to");
    const index = /^[0-9]+$/.test(field.value.trim()) ? Number(field.value) : NaN;
    const tip = this.#chain?.tip ?? 0;
    const fits = index >= 0 && index <= tip;
    field.setAttribute("aria-invalid", String(!fits));
    this.#invalidJumpMax = fits ? null : tip;
    this.render();
    if (!fits) return;
    this.#scroller.scrollTop = scrollTopOf(this.#box, (tip - index) * this.#row);
    this.#focusCard(index);
  }
}

customElements.define("chain-list", ChainList);

function makeRow({ index, block, rival }, self, space) {
  const card = block === null ? placeholderCard(index) : blockCard(block, rival, self, space);
  return element("li", { class: "row", "data-index": String(index) }, card);
}
