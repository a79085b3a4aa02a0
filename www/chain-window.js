//! The blocks that the page shows, wherever in the chain it looks. Fetches only what is in sight and lacking, and
//! keeps no more than a bounded number; never touches the page's elements.

/** Blocks kept besides those in sight: some screenfuls, so that scrolling back and forth asks for nothing. */
export const MAX_KEPT_BLOCKS = 400;

/** The most blocks that one call asks for: few enough for their readings to come without a pause of the page. */
export const MAX_FETCHED_BLOCKS = 32;

/**
 * Dispatches "change" whenever something that was in sight may be another.
 */
export class ChainWindow extends EventTarget {
  #node;
  /** @type {Map<number, { block: object, stale: boolean }>} by index; what was used last comes last */
  #blocks = new Map();
  /** What is in sight, both included. */
  #range = { first: 0, last: -1 };
  /** The lowest index that changed since the running fetch began. */
  #changedFrom = Infinity;
  #filling = false;
  #fillAgain = false;
  #failure = null;

  /** @param {object} node with `status()`, `blocks(from, to)` and the event "chain" */
  constructor(node) {
    super();
    this.#node = node;
    node.addEventListener("chain", (event) => this.#forgetFrom(event.detail.from));
  }

  /** The height of the tip. */
  get tip() {
    return this.#node.status().tip.index;
  }

  /** What the last read failed with, else null. */
  get failure() {
    return this.#failure;
  }

  /** @param {number} index @returns {object | null} the block, if it is known; for a moment the one that was there before */
  block(index) {
    return index > this.tip ? null : (this.#blocks.get(index)?.block ?? null);
  }

  /**
   * Looks at these blocks, both included, from now on.
   *
   * @param {number} first
   * @param {number} last
   */
  async show(first, last) {
    this.#range = { first, last };
    await this.refresh();
  }

  /** Reads what is in sight and not yet known. Settles when that is whole; never rejects. */
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

  #forgetFrom(index) {
    this.#changedFrom = Math.min(this.#changedFrom, index);
    for (const [known, entry] of this.#blocks) {
      if (known >= index) entry.stale = true;
    }
  }

  async #fill() {
    const tip = this.tip;
    for (const index of this.#blocks.keys()) {
      if (index > tip) this.#blocks.delete(index);
    }
    const last = Math.min(this.#range.last, tip);
    const first = Math.max(0, this.#range.first);
    const lacks = (index) => this.#blocks.get(index)?.stale !== false;
    // From the top down: what a person sees first, and what is new.
    let to = last;
    while (to >= first && !lacks(to)) to -= 1;
    if (to < first) {
      this.#failure = null;
      return;
    }
    let from = Math.max(first, to - MAX_FETCHED_BLOCKS + 1);
    while (!lacks(from)) from += 1;

    this.#changedFrom = Infinity;
    try {
      const fetched = await this.#node.blocks(from, to);
      for (const block of fetched) {
        if (block.index < this.#changedFrom) this.#keep(block);
      }
      this.#failure = null;
      this.#fillAgain ||= this.#changedFrom <= to || (from > first && fetched.length > 0);
    } catch (error) {
      this.#failure = error;
    }
  }

  #keep(block) {
    this.#blocks.delete(block.index);
    this.#blocks.set(block.index, { block, stale: false });
    const { first, last } = this.#range;
    for (const index of this.#blocks.keys()) {
      if (this.#blocks.size <= MAX_KEPT_BLOCKS) return;
      if (index < first || index > last) this.#blocks.delete(index);
    }
  }
}
