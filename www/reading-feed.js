//! Fills a `ReadingHistory` from the node: what is new at once, and what is older block by block from the tip down,
//! as far back as the chart looks. Never reads the whole of a long chain, never holds up the page.

import { MAX_READINGS, ReadingHistory } from "./reading-history.js";

/** Blocks asked for at once: few enough for their readings to cross over without a pause. */
export const STEP_BLOCKS = 16;

/** The most blocks read from the past, whatever they hold: empty ones bring nothing to draw. */
export const MAX_PAST_BLOCKS = 4_000;

/** The most readings taken at the beginning from those that wait for a block; later ones come one by one. */
const MAX_PENDING = 1_000;

/** Changes of the chain that wait to be read; older ones are left out, the chart shows the newest anyway. */
const MAX_WAITING_BLOCKS = 512;

/** Dispatches "change" whenever `history` has more to draw. */
export class ReadingFeed extends EventTarget {
  history = new ReadingHistory();
  #node;
  /** The lowest block that was read. */
  #lowest;
  #past = 0;
  /** The time of that block. */
  #lowestTime = Infinity;
  /** New blocks to be read, both included. */
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
   * Reads the past as far as this moment, in steps.
   *
   * @param {number} time Unix ms
   */
  reachBack(time) {
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
      this.#sayWhatIsLeftOut();
    } catch {
      // The chain could not be read: the list of blocks says so. The next change tries again.
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
    // A block is never older than its readings by much, and never younger than the one before.
    if (blocks.length > 0) this.#lowestTime = blocks[0].time;
    if (this.#lowestTime < this.#since) this.#since = Infinity;
    this.#takeBlocks(blocks);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  #wantsPast() {
    return this.#since < Infinity && this.#lowest > 0 && this.#past < MAX_PAST_BLOCKS && this.history.size < MAX_READINGS * 0.9;
  }

  /** More of the past was wished for than is read. */
  #sayWhatIsLeftOut() {
    if (this.#since === Infinity || this.#lowest === 0 || this.#lowestTime === Infinity) return;
    const before = this.history.leftOutUntil;
    this.history.leaveOut(this.#lowestTime);
    if (this.history.leftOutUntil !== before) this.dispatchEvent(new Event("change"));
  }

  #takeBlocks(blocks) {
    this.#take(blocks.flatMap((block) => block.readings));
  }

  #take(readings) {
    if (this.history.add(readings)) this.dispatchEvent(new Event("change"));
  }
}
