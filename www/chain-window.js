//! The part of the chain that the page shows: one page of blocks, following the tip or standing still further
//! back. Fetches only what it shows and lacks; never holds more than a page, never touches the page's elements.

/** Blocks on one page: a screenful or ten, and few enough elements for a phone. */
export const PAGE_BLOCKS = 50;

/**
 * Dispatches "change" whenever `view` is another.
 */
export class ChainWindow extends EventTarget {
  #node;
  /** @type {Map<number, object>} index -> block, only of the page in view */
  #blocks = new Map();
  /** The newest index in view; null while the view follows the tip. */
  #last = null;
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

  /**
   * Newest block first. `failure` holds the words of the last read if that failed, else null.
   *
   * @returns {{ blocks: object[], tip: number, following: boolean, hasOlder: boolean, failure: string | null }}
   */
  get view() {
    const { first, tip } = this.#bounds();
    const blocks = [...this.#blocks.values()].sort((a, b) => b.index - a.index);
    return { blocks, tip, following: this.#last === null, hasOlder: first > 0, failure: this.#failure };
  }

  /** Shows the page before this one. */
  async showOlder() {
    const { first } = this.#bounds();
    if (first > 0) this.#last = first - 1;
    await this.refresh();
  }

  /** Shows the page after this one; the newest page follows the tip again. */
  async showNewer() {
    if (this.#last !== null) {
      const next = this.#last + PAGE_BLOCKS;
      this.#last = next >= this.#bounds().tip ? null : next;
    }
    await this.refresh();
  }

  /** Reads what is in view and not yet known. Settles when the view is whole; never rejects. */
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

  #bounds() {
    const tip = this.#node.status().tip.index;
    const last = Math.min(this.#last ?? tip, tip);
    return { first: Math.max(0, last - PAGE_BLOCKS + 1), last, tip };
  }

  #forgetFrom(index) {
    this.#changedFrom = Math.min(this.#changedFrom, index);
    for (const known of this.#blocks.keys()) {
      if (known >= index) this.#blocks.delete(known);
    }
  }

  async #fill() {
    const { first, last } = this.#bounds();
    for (const index of this.#blocks.keys()) {
      if (index < first || index > last) this.#blocks.delete(index);
    }
    let from = first;
    while (from <= last && this.#blocks.has(from)) from += 1;
    let to = last;
    while (to >= from && this.#blocks.has(to)) to -= 1;
    if (from > to) return;

    this.#changedFrom = Infinity;
    try {
      const fetched = await this.#node.blocks(from, to);
      for (const block of fetched) {
        if (block.index < this.#changedFrom) this.#blocks.set(block.index, block);
      }
      if (this.#changedFrom <= to) this.#fillAgain = true;
      this.#failure = null;
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
    }
  }
}
