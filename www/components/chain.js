//! The chain as linked cards, newest first, the dialog of a block, a recent fork, and the lists of readings: those that
//! wait for a block, and this tab's own ones with where they are stored.

import { authorChanges, lookOf, nameOf, peerLetters } from "../authors.js";
import { LocalizedElement, closeOnBackdropClick, element, reconcile, setText } from "../dom.js";
import { contentHeight, offsetOf, rowsInView, scrollTopOf } from "../geometry.js";
import { errorMessage, findings, storageMessage, usageMessage } from "../messages.js";
import { ReadingTracker, expectedHashes, recentForks } from "../model.js";
import { formatMoment, formatNumber, formatTime, say } from "../strings.js";

// The tag for an author: a dot in the author's colour, and the name, or letters of the key. The whole key is only in the
// tooltip.

/**
 * @param {string} author
 * @param {boolean} own whether this tab records as this author
 * @returns {HTMLElement} it follows changes of the name and the colour while it is on the page
 */
export function nameTag(author, own) {
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  colour(dot, author);
  const [name, letters] = [element("bdi", { class: "name" }), element("span", { class: "letters" })];
  const tag = element("span", { class: "name-tag", "data-author": author }, dot, name, " ", letters);
  if (own) tag.append(" ", element("span", { class: "own" }, say("reading.own")));
  showName(tag);
  return tag;
}

/** The same for a peer that has not proved which author it acts for. */
export function peerTag(peerId) {
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  return element("span", { class: "name-tag", title: peerId }, dot, element("span", { class: "letters" }, peerLetters(peerId)));
}

/** @param {string} author @returns {string} a tooltip: the whole name and the key */
export function fullName(author) {
  const { name } = nameOf(author);
  return name === null ? author : `${name}\n${author}`;
}

function showName(tag) {
  const { author } = tag.dataset;
  const { name, letters } = nameOf(author);
  setText(tag.querySelector(".name"), name ?? "");
  setText(tag.querySelector(".letters"), letters ?? "");
  tag.title = fullName(author);
}

/**
 * Marks an element with an author's colour and shape, which the style sheet draws.
 *
 * @param {HTMLElement | SVGElement} target
 * @param {string} author
 */
export function colour(target, author) {
  target.dataset.colourOf = author;
  const look = lookOf(author);
  if (look === null) {
    delete target.dataset.shape;
    target.style.removeProperty("--peer-colour");
    return;
  }
  target.dataset.shape = String(look.shape);
  target.style.setProperty("--peer-colour", `var(--peer-${look.colour})`);
}

authorChanges.addEventListener("change", () => {
  for (const target of document.querySelectorAll("[data-colour-of]")) colour(target, target.dataset.colourOf);
  for (const tag of document.querySelectorAll(".name-tag[data-author]")) showName(tag);
});

// A list of readings, each with its author and heart rate. The number of elements is bounded: the rest is behind a
// button.

/** Readings shown before the button is pressed: more would not be readable, and would slow the page down. */
const SHOWN_READINGS = 24;

/** The most readings shown after the button is pressed. */
const MAX_SHOWN_READINGS = 240;

/**
 * How many readings a list shows in its current state.
 *
 * @param {HTMLElement} list a `<ul>`
 */
export function visibleLimit(list) {
  return list.dataset.opened ? MAX_SHOWN_READINGS : SHOWN_READINGS;
}

/**
 * Fills a list. Filling it again reuses the elements of readings that stay.
 *
 * @param {HTMLElement} list a `<ul>`
 * @param {object[]} readings as returned by the node, at most `visibleLimit(list)`
 * @param {number} count how many there are in total
 * @param {string | null} self the author of this tab
 * @param {() => void} onMore called when the user asks for more and the limit has grown
 */
export function fillReadings(list, readings, count, self, onMore) {
  const shown = readings.slice(0, visibleLimit(list));
  const hidden = count - shown.length;
  const items = hidden <= 0 ? shown : [...shown, { id: `more ${hidden}`, hidden }];
  reconcile(list, items, (item) => item.id, (item) => (item.hidden ? moreItem(list, item.hidden, onMore) : readingItem(item, self)));
}

/** @param {object} reading @param {string | null} self */
export function readingItem({ author, bpm, time }, self) {
  const own = author === self;
  const isReadable = bpm !== undefined;
  const value = isReadable
    ? element("data", { value: String(bpm), class: "bpm" }, say("reading.bpm", { bpm }))
    : element("span", { class: "hint" }, say("reading.unreadable"));
  const title = isReadable ? formatTime(time, Date.now()) : say("reading.unreadableHint");
  return element(
    "li",
    { class: own ? "reading reading-own" : "reading", title },
    nameTag(author, own),
    value,
  );
}

function moreItem(list, count, onMore) {
  if (list.dataset.opened) return element("li", { class: "more" }, say("chain.moreOf", { count }));
  const more = element("button", { type: "button", class: "quiet" }, say("chain.more", { count }));
  more.onclick = () => {
    list.dataset.opened = "true";
    onMore();
  };
  return element("li", {}, more);
}

// The readings recorded in this tab, newest first, with the progress of each. Hidden while empty.

/** The most readings requested and shown. */
export const MAX_OWN_SHOWN = 4;

/** Confirmations at which a reading counts as settled and its bar is full. */
const SETTLED_CONFIRMATIONS = 6;

/** Property: `own` = `{ readings, tip, saved }`, the result of the node's `ownReadings()`, the height of its tip, and whether they are on disk. */
export class OwnReadings extends LocalizedElement {
  #tracker = new ReadingTracker();
  #own = [];

  set own({ readings, tip, saved }) {
    const own = this.#tracker.follow(readings, tip);
    this.#own = own.map((reading) => (reading.stage === "kept" && !saved ? { ...reading, stage: "unsaved" } : reading));
    this.invalidate();
  }

  languageChanged() {
    this.querySelector("ul").replaceChildren();
  }

  render() {
    this.hidden = this.#own.length === 0;
    reconcile(this.querySelector("ul"), this.#own, ({ id }) => id, makeItem, updateItem);
  }
}

customElements.define("own-readings", OwnReadings);

function makeItem(reading) {
  const { bpm, time } = reading;
  const item = element(
    "li",
    { class: "life" },
    element("strong", { class: "life-bpm" }, formatNumber(bpm)),
    element(
      "span",
      { class: "life-line" },
      element("span", { class: "life-words" }),
      element("time", { datetime: new Date(time).toISOString(), title: formatTime(time, Date.now()) }, formatMoment(time, Date.now())),
    ),
    element("span", { class: "life-bar", "aria-hidden": "true" }),
  );
  updateItem(item, reading);
  return item;
}

function updateItem(item, { stage, index, confirmations }) {
  item.dataset.stage = stage;
  setText(item.querySelector(".life-words"), say(`life.${stage}`, { index, count: confirmations }));
  item.style.setProperty("--progress", String(Math.min(1, confirmations / SETTLED_CONFIRMATIONS)));
}

// The readings that wait for a block. Never hidden: otherwise the layout would jump with each block.

/**
 * Properties: `pending` = `{ readings, count, self }`, some of the readings and how many there are; `limit`, how many
 * are shown. Dispatches "more-requested" when the limit has grown.
 */
export class PendingList extends LocalizedElement {
  /** Null before the node runs: nothing is known then. */
  #pending = null;

  get limit() {
    return visibleLimit(this.querySelector("ul"));
  }

  set pending(pending) {
    this.#pending = pending;
    this.invalidate();
  }

  languageChanged() {
    this.querySelector("ul").replaceChildren();
  }

  render() {
    if (this.#pending === null) return;
    const { readings, count, self } = this.#pending;
    this.classList.toggle("pending-none", count === 0);
    setText(this.querySelector("h3"), say("reading.waiting", { count }));
    fillReadings(this.querySelector("ul"), readings, count, self, () => this.dispatchEvent(new Event("more-requested")));
  }
}

customElements.define("pending-list", PendingList);

// Where this tab stores its chain and why, in one sentence. Stores nothing itself.

/**
 * Properties: `storage`, as in the node's `status()`; `browser`, the result of `capabilities()`. Dispatches
 * "persistence-requested" when the person wants the browser to keep the data.
 */
export class StorageLine extends LocalizedElement {
  #storage = null;
  #browser = { asksForStorage: false, forgetsAfterWeek: false };

  set browser(browser) {
    this.#browser = browser;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.querySelector(".storage-keep").onclick = () => this.dispatchEvent(new Event("persistence-requested"));
  }

  set storage(storage) {
    this.#storage = storage;
    this.invalidate();
  }

  render() {
    if (this.#storage === null) return;
    const { failing, kind, saving, persisted } = this.#storage;
    setText(this.querySelector(".storage-words"), storageMessage(this.#storage, this.#browser));
    this.querySelector(".storage-keep").hidden = !(this.#browser.asksForStorage && kind === "disk" && persisted === false);
    setText(this.querySelector(".storage-usage"), usageMessage(this.#storage));
    this.dataset.tone = failing ? "warning" : kind === "disk" && saving === 0 ? "good" : "busy";
  }
}

customElements.define("storage-line", StorageLine);

// A block as a card of fixed height: its number, its hash and the previous hash, and as many readings as fit. The
// dialog shows the rest.

/** Hex digits shown at each end of a hash: the zeros of its work, and enough to compare it with the next card's. */
const HASH_START = 8;
const HASH_END = 6;

/** The largest width of a reading on a card, and the extra width of the "you" mark, in rem. */
const READING_REM = 10.4;
const OWN_MARK_REM = 2.4;

/** The extra width of the letters after a name that others have, too, in rem. */
const LETTERS_REM = 3.4;

/** The width of the count of hidden readings, in rem. */
const MORE_REM = 3.5;

/**
 * @param {object} block
 * @param {string | undefined} rival the hash of a dropped block at the same height
 * @param {string} self the author of this tab
 * @param {{ width: number, lines: number }} space the space for readings, in rem and lines
 * @returns {HTMLElement}
 */
export function blockCard(block, rival, self, space) {
  const { index, readings, time } = block;
  const head = headOf(index);
  if (index > 0) {
    head.append(
      element("span", { class: "count" }, say("chain.readings", { count: readings.length })),
      element("time", { datetime: new Date(time).toISOString() }, formatTime(time, Date.now())),
    );
  }
  if (rival !== undefined) {
    const mark = element("span", { class: "rival", title: say("fork.rival", { hash: rival }) }, say("fork.badge"));
    mark.append(element("code", {}, ` ${shortHash(rival)}`));
    head.querySelector("h3").after(mark);
  }
  const card = element("article", { class: "block" }, head, hashLine(block));
  card.append(index === 0 ? element("p", { class: "hint" }, say("chain.genesis")) : readingLine(readings, self, space));
  return card;
}

/** A placeholder until the block has been fetched. */
export function placeholderCard(index) {
  return element("article", { class: "block block-unread" }, headOf(index));
}

/** @param {string} hash @returns {string} */
function shortHash(hash) {
  return `${hash.slice(0, HASH_START)}…${hash.slice(-HASH_END)}`;
}

function headOf(index) {
  const open = element("button", { type: "button", class: "block-open", tabindex: "-1" }, say("chain.block", { index }));
  return element("header", {}, element("h3", {}, open));
}

function hashLine({ hash, prevHash }) {
  return element(
    "dl",
    { class: "hashes" },
    element("div", {}, element("dt", {}, say("chain.hash")), element("dd", {}, shortHash(hash))),
    element("div", {}, element("dt", {}, say("chain.previous")), element("dd", {}, shortHash(prevHash))),
  );
}

function readingLine(readings, self, space) {
  const shown = readings.slice(0, fitting(readings, self, space));
  const list = element("ul", { class: "readings", role: "list" }, ...shown.map((reading) => readingItem(reading, self)));
  const line = element("div", { class: "reading-line" }, list);
  const more = readings.length - shown.length;
  if (more > 0) line.append(element("span", { class: "more" }, say("chain.moreOf", { count: more })));
  return line;
}

/** How many readings fit, at least one. */
function fitting(readings, self, { width, lines }) {
  let count = 0;
  for (let line = 0; line < lines; line += 1) {
    let left = width - (line === lines - 1 ? MORE_REM : 0);
    while (count < readings.length) {
      left -= widthOf(readings[count], self);
      if (left < 0) break;
      count += 1;
    }
  }
  return Math.max(1, count);
}

function widthOf({ author }, self) {
  const { name, letters } = nameOf(author);
  return READING_REM + (author === self ? OWN_MARK_REM : 0) + (name !== null && letters !== null ? LETTERS_REM : 0);
}

// The chain as linked cards, newest first, in a virtual list: only the cards in view exist. Fetches nothing itself: it
// dispatches "range-requested" and is updated when blocks arrive.

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
  /** Whether an empty chain asks for the first reading. */
  #asksForFirst = false;
  /** The space for readings on a card. */
  #space = { width: 0, lines: 1 };

  set asksForFirst(asks) {
    if (asks === this.#asksForFirst) return;
    this.#asksForFirst = asks;
    this.invalidate();
  }

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
    this.querySelector(".empty").hidden = tip > 0 || !this.#asksForFirst;
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

  /** Focuses the card of a block whose dialog has closed, if the card that had the focus was drawn again meanwhile. */
  returnFocus(index) {
    // A browser takes the focus from what is no longer shown with the next frame only.
    const { activeElement } = document;
    if (activeElement === document.body || activeElement.closest("dialog:not([open])")) this.#cardOf(index)?.focus({ preventScroll: true });
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

// A recent fork: the branch this tab follows and the other branch, from their common block on. Hidden without a fork.

/** Hex digits shown of a hash, so that five blocks of a branch fit side by side. */
const LANE_HASH_END = 6;

/**
 * Properties: `chain` = `{ branches, tip, block(index) }`, the result of the node's `branches()`, the height of its tip,
 * and its blocks; `pinned`, a fork that stays in view, see `recentForks`, or null. Dispatches "fork-dismissed".
 */
export class ForkView extends LocalizedElement {
  #forks = [];
  #chain = null;
  #pinned = null;

  set chain(chain) {
    this.#chain = chain;
    this.#update();
  }

  set pinned(pinned) {
    this.#pinned = pinned;
    this.#update();
  }

  #update() {
    if (this.#chain === null) return;
    const { branches, tip, block } = this.#chain;
    this.#forks = recentForks(branches, tip, this.#pinned).map((fork) => ({
      ...fork,
      ours: fork.ours.map((index) => ({ index, hash: block(index)?.hash })),
    }));
    this.invalidate();
  }

  languageChanged() {
    this.replaceChildren();
  }

  render() {
    this.hidden = this.#forks.length === 0;
    const key = ({ tip, ours, theirs, oursAbove }) => `${tip} ${JSON.stringify(ours)} ${theirs.length} ${oursAbove}`;
    reconcile(this, this.#forks, key, (fork) => {
      const figure = forkFigure(fork);
      if (fork.pinned) figure.append(this.#dismissal());
      return figure;
    });
  }

  #dismissal() {
    const button = element("button", { type: "button", class: "quiet" }, say("notice.dismiss"));
    button.onclick = () => this.dispatchEvent(new Event("fork-dismissed"));
    return button;
  }
}

customElements.define("fork-view", ForkView);

function forkFigure({ fork, ours, oursLeft, oursAbove, theirs, theirsLeft, theirsAbove }) {
  const values = { fork, ours: ours.length + oursLeft + oursAbove, theirs: theirs.length + theirsLeft + theirsAbove };
  const more = (count) => (count > 0 ? [element("li", { class: "lane-left" }, say("chain.moreOf", { count }))] : []);
  const lane = (name, label, left, boxes, above) =>
    element(
      "div",
      { class: `lane lane-${name}` },
      element("span", { class: "lane-label" }, label),
      element("ol", { role: "list" }, ...more(left), ...boxes, ...more(above)),
    );
  const box = (index, hash) => {
    const item = element("li", { class: "lane-block" }, element("strong", {}, say("fork.block", { index })));
    if (hash !== undefined) item.append(element("code", { title: hash }, `…${hash.slice(-LANE_HASH_END)}`));
    return item;
  };
  return element(
    "figure",
    { class: "fork" },
    element("figcaption", {}, element("strong", {}, say("fork.heading")), " ", say("fork.sentence", values)),
    element(
      "div",
      { class: "fork-picture", role: "region", tabindex: "0", "aria-label": say("fork.picture") },
      element("div", { class: "lane-block fork-root" }, element("strong", {}, say("fork.block", { index: fork }))),
      element(
        "div",
        { class: "lanes" },
        lane("ours", say("fork.ours"), oursLeft, ours.map(({ index, hash }) => box(index, hash)), oursAbove),
        lane("theirs", say("fork.theirs"), theirsLeft, theirs.map(({ index, hash }) => box(index, hash)), theirsAbove),
      ),
    ),
  );
}

// All details of one block, with a button to check it. Checks nothing itself: it dispatches "check-requested" and is
// given the result.

/** Readings listed at first, and added with each press of the button. */
const LISTED_READINGS = 50;

/**
 * `open(block, tip, self)` shows a block. Dispatches "check-requested" with `{ block }`; reply with `checked(block,
 * check)` or `failed(block, error)`. Dispatches "neighbour-requested" with `{ index }`, and "closed". Call `follow(tip, hash)` when
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
    this.#dialog.addEventListener("close", () => this.dispatchEvent(new Event("closed")));
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
  const cell = (name, text, title) => element("td", title === undefined ? { class: name } : { class: name, title }, text);
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, nameTag(author, author === self)),
    bpm === undefined ? cell("hint", say("reading.unreadable"), say("reading.unreadableHint")) : cell("number", formatNumber(bpm)),
    cell("", time === undefined ? "" : formatTime(time, Date.now())),
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
