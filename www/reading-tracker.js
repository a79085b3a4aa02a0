//! Tracks the progress of the tab's own readings: saved, in a block with a number of confirmations, or back in the
//! queue after a fork. Never asks the node; never touches the page.

/** Readings whose height is remembered, to distinguish one that waits again from one that was never in a block. */
export const MAX_TRACKED = 500;

/**
 * @typedef {{ stage: "kept" | "returned" | "mined", index: number | null, confirmations: number }} Progress
 */

export class ReadingTracker {
  /** @type {Map<string, number>} the height at which each reading was last seen, by ID, oldest first */
  #seen = new Map();

  /**
   * @param {object[]} readings the result of the node's `ownReadings()`
   * @param {number} tip the height of the tip
   * @returns {(object & Progress)[]}
   */
  follow(readings, tip) {
    return readings.map((reading) => ({ ...reading, ...this.#progress(reading, tip) }));
  }

  #progress({ id, index }, tip) {
    if (index === null) return { stage: this.#seen.has(id) ? "returned" : "kept", index, confirmations: 0 };
    this.#seen.delete(id);
    this.#seen.set(id, index);
    if (this.#seen.size > MAX_TRACKED) this.#seen.delete(this.#seen.keys().next().value);
    // The block itself counts as the first confirmation.
    return { stage: "mined", index, confirmations: Math.max(1, tip - index + 1) };
  }
}
