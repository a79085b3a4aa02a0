//! Fills a `ReadingHistory` from the node: new readings at once, older ones block by block from the tip down, as far
//! back as the chart's range. Never reads all of a long chain, never blocks the page.

import { MAX_READINGS, ReadingHistory } from "./reading-history.js";

/** Blocks per read: few enough that converting their readings does not block the page. */
export const STEP_BLOCKS = 16;

/** The most old blocks read, even if they hold few readings. */
export const MAX_PAST_BLOCKS = 4_000;

/** The most waiting readings loaded at the start; later ones arrive one by one. */
const MAX_PENDING = 1_000;

/** The most changed blocks queued for reading; older ones are skipped, because the chart shows the newest. */
const MAX_WAITING_BLOCKS = 512;

/** Dispatches "change" whenever `history` has more to draw. */
export class ReadingFeed extends EventTarget {
  history = new ReadingHistory();
  #node;
  /** The height of the lowest block read so far. */
  #lowest;
  #past = 0;
  /** The time of that block, in Unix ms. */
  #lowestTime = Infinity;
  /** The range of new blocks to read, both inclusive. */
  #fresh = null;
  #since = Infinity;
  #running = false;

  /** @param {object} node with `status()`, `blocks(from, to)`, `pending(limit)` and the events "chain" and "reading" */
  constructor(node) {
    super();
    this.#node = node;
    this.#lowest = node.status().tip.index + 1;
    this.#take(node.pending(MAX_PENDING));
    node.addEventListener("reading", ({ detail }) => this.#take([detail]));
    node.addEventListener("chain", ({ detail }) => {
      const from = Math.min(detail.from, this.#fresh?.from ?? Infinity);
      this.#fresh = { from: Math.max(from, detail.to - MAX_WAITING_BLOCKS + 1), to: detail.to };
      this.#run();
    });
  }

  /**
   * Reads older blocks back to this time, in steps.
   *
   * @param {number} time Unix ms
   */
  loadSince(time) {
    this.#since = Math.min(this.#since, time);
    return this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    try {
      for (;;) {
        if (this.#fresh !== null) await this.#readFresh();
        else if (this.#wantsPast()) await this.#readPast();
        else break;
      }
      this.#markOmitted();
    } catch {
      // The block list reports the error. The next change retries.
    } finally {
      this.#running = false;
    }
  }

  async #readFresh() {
    const { from, to } = this.#fresh;
    const end = Math.min(to, from + STEP_BLOCKS - 1);
    this.#fresh = end < to ? { from: end + 1, to } : null;
    this.#takeBlocks(await this.#node.blocks(from, end));
    this.#lowest = Math.min(this.#lowest, from);
  }

  async #readPast() {
    const to = this.#lowest - 1;
    const from = Math.max(0, to - STEP_BLOCKS + 1);
    const blocks = await this.#node.blocks(from, to);
    this.#lowest = from;
    this.#past += to - from + 1;
    // A block is never much older than its readings, and never older than the block before it.
    if (blocks.length > 0) this.#lowestTime = blocks[0].time;
    if (this.#lowestTime < this.#since) this.#since = Infinity;
    this.#takeBlocks(blocks);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  #wantsPast() {
    return this.#since < Infinity && this.#lowest > 0 && this.#past < MAX_PAST_BLOCKS && this.history.size < MAX_READINGS * 0.9;
  }

  /** Records that the requested range goes further back than the readings loaded. */
  #markOmitted() {
    if (this.#since === Infinity || this.#lowest === 0 || this.#lowestTime === Infinity) return;
    const before = this.history.omittedUntil;
    this.history.markOmitted(this.#lowestTime);
    if (this.history.omittedUntil !== before) this.dispatchEvent(new Event("change"));
  }

  #takeBlocks(blocks) {
    this.#take(blocks.flatMap((block) => block.readings));
  }

  #take(readings) {
    if (this.history.add(readings)) this.dispatchEvent(new Event("change"));
  }
}
