//! How far an own reading has come: kept, in a block, buried under more of them, or back in the queue after a fork.
//! Never asks the node; never touches the page.

/** Readings whose blocks are remembered, to tell one that waits anew from one that never was in a block. */
export const MAX_REMEMBERED = 500;

/**
 * @typedef {{ stage: "kept" | "returned" | "mined", index: number | null, confirmations: number }} Life
 */

export class ReadingLives {
  /** @type {Map<string, number>} the height at which a reading was seen last, by its id; the oldest first */
  #seen = new Map();

  /**
   * @param {object[]} readings as the node's `ownReadings()`
   * @param {number} tip the height of the tip
   * @returns {(object & Life)[]}
   */
  follow(readings, tip) {
    return readings.map((reading) => ({ ...reading, ...this.#life(reading, tip) }));
  }

  #life({ id, index }, tip) {
    if (index === null) return { stage: this.#seen.has(id) ? "returned" : "kept", index, confirmations: 0 };
    this.#seen.delete(id);
    this.#seen.set(id, index);
    if (this.#seen.size > MAX_REMEMBERED) this.#seen.delete(this.#seen.keys().next().value);
    // The block itself is the first to confirm.
    return { stage: "mined", index, confirmations: Math.max(1, tip - index + 1) };
  }
}
