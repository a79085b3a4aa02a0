//! A bounded cache of the blocks in view. Fetches only blocks that are in view and missing or stale; never touches the
//! page's elements.

/** Blocks cached in addition to those in view: some screenfuls, so that scrolling back and forth fetches nothing. */
export const MAX_CACHED_BLOCKS = 400;

/** The most blocks per call: few enough that converting their readings does not block the page. */
export const MAX_FETCHED_BLOCKS = 32;

/**
 * Dispatches "change" whenever blocks in view may have changed.
 */
export class ChainWindow extends EventTarget {
  #node;
  /** @type {Map<number, { block: object, stale: boolean }>} by index; the most recently stored last */
  #blocks = new Map();
  /** The heights in view, both inclusive. */
  #range = { first: 0, last: -1 };
  /** The lowest height that changed since the current fetch started. */
  #changedFrom = Infinity;
  #filling = false;
  #fillAgain = false;
  #failure = null;

  /** @param {object} node with `status()`, `blocks(from, to)` and the event "chain" */
  constructor(node) {
    super();
    this.#node = node;
    node.addEventListener("chain", (event) => this.#markStaleFrom(event.detail.from));
  }

  /** The height of the tip. */
  get tip() {
    return this.#node.status().tip.index;
  }

  /** The error of the last read, or null. */
  get failure() {
    return this.#failure;
  }

  /** @param {number} index @returns {object | null} the cached block, which may be stale until the next fetch */
  block(index) {
    return index > this.tip ? null : (this.#blocks.get(index)?.block ?? null);
  }

  /**
   * Sets the heights in view, both inclusive.
   *
   * @param {number} first
   * @param {number} last
   */
  async show(first, last) {
    this.#range = { first, last };
    await this.refresh();
  }

  /** Fetches the missing blocks in view. Resolves when all are there; never rejects. */
  async refresh() {
    this.#fillAgain = true;
    if (this.#filling) return;
    this.#filling = true;
    while (this.#fillAgain) {
      this.#fillAgain = false;
      await this.#fill();
      this.dispatchEvent(new Event("change"));
    }
    this.#filling = false;
  }

  #markStaleFrom(index) {
    this.#changedFrom = Math.min(this.#changedFrom, index);
    for (const [height, entry] of this.#blocks) {
      if (height >= index) entry.stale = true;
    }
  }

  async #fill() {
    const tip = this.tip;
    for (const index of this.#blocks.keys()) {
      if (index > tip) this.#blocks.delete(index);
    }
    const last = Math.min(this.#range.last, tip);
    const first = Math.max(0, this.#range.first);
    const isMissing = (index) => this.#blocks.get(index)?.stale !== false;
    // From the top down: users see the newest blocks first.
    let to = last;
    while (to >= first && !isMissing(to)) to -= 1;
    if (to < first) {
      this.#failure = null;
      return;
    }
    let from = Math.max(first, to - MAX_FETCHED_BLOCKS + 1);
    while (!isMissing(from)) from += 1;

    this.#changedFrom = Infinity;
    try {
      const fetched = await this.#node.blocks(from, to);
      for (const block of fetched) {
        if (block.index < this.#changedFrom) this.#store(block);
      }
      this.#failure = null;
      this.#fillAgain ||= this.#changedFrom <= to || (from > first && fetched.length > 0);
    } catch (error) {
      this.#failure = error;
    }
  }

  #store(block) {
    this.#blocks.delete(block.index);
    this.#blocks.set(block.index, { block, stale: false });
    const { first, last } = this.#range;
    for (const index of this.#blocks.keys()) {
      if (this.#blocks.size <= MAX_CACHED_BLOCKS) return;
      if (index < first || index > last) this.#blocks.delete(index);
    }
  }
}
