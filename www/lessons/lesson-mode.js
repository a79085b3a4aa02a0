//! The lessons' one way to the node: does what a person tries out, keeps what came of it, and undoes it all on leaving.
//! Everything is the real peer of this tab; copies that were tampered with go to `check` and `rehearse` alone, which
//! send nothing and change nothing. Never draws.

import { whereabouts, whoseBlocks } from "./meeting.js";
import { expectedTries } from "./pace.js";
import { withFittingSums, withOtherAuthor, withOtherBpm, withOtherReading } from "./tampering.js";

/** Blocks back from the tip that are searched for one with readings. */
const SEARCHED_BLOCKS = 64;
/** Own readings that are looked at after two branches met. */
const OWN_READINGS = 1000;
/** Blocks made alone that are remembered; more are counted no further. */
const MAX_ALONE = 512;

/**
 * Dispatches "change" whenever `state` is another. Each wish is one method; none rejects: what went wrong is in
 * `state.failure`, in the node's words.
 */
export class LessonMode extends EventTarget {
  #node;
  #state = fresh();
  /** Where this tab stood when it was cut off, and the blocks since. */
  #cut = null;
  #left = false;

  /** @param {object} node a running node */
  constructor(node) {
    super();
    this.#node = node;
    this.#update({ limit: node.status().miningLimit ?? null });
    node.addEventListener("status", this.#watch);
    node.addEventListener("chain", this.#watch);
    node.addEventListener("reading", this.#watch);
    this.#watch();
  }

  get state() {
    return this.#state;
  }

  /** Undoes everything, and does nothing more. */
  leave() {
    this.#left = true;
    for (const type of ["status", "chain", "reading"]) this.#node.removeEventListener(type, this.#watch);
    this.#node.isolate(false);
    this.#node.limitMining(null);
    this.#state = fresh();
  }

  /** Cuts this tab off. */
  async cutOff() {
    await this.#try(async () => {
      const { tip } = this.#node.status();
      const [newest] = this.#node.ownReadings(1);
      this.#cut = { from: tip.index, alone: [], nextSeq: newest === undefined ? 0 : newest.seq + 1 };
      await this.#node.isolate(true);
      return { met: null, cutAt: tip.index };
    });
  }

  /** Joins the others again. */
  async joinAgain() {
    await this.#try(async () => {
      await this.#noteAlone();
      await this.#node.isolate(false);
      const { alone, nextSeq } = this.#cut ?? { alone: [], nextSeq: 0 };
      this.#cut = null;
      return { met: { made: alone.length, alone, nextSeq, kept: alone.length, left: 0, ...NOBODY } };
    });
    await this.#watch();
  }

  /** Takes a copy of the newest block with readings, and tampers with it. */
  async tamper() {
    await this.#try(async () => {
      const original = await this.#newestWithReadings();
      if (original === null) return { forged: null, noReading: true };
      return { noReading: false, forged: await this.#judged(original, withOtherReading(original), "changed") };
    });
  }

  /** Makes the copy's sums fit, as far as that goes. */
  async mend() {
    const { forged } = this.#state;
    if (forged === null) return;
    await this.#try(async () => {
      const block = await withFittingSums(forged.block, async (copy) => this.#node.check(copy));
      return { forged: await this.#judged(forged.original, block, "mended") };
    });
  }

  /** Throws the copy away. */
  restore() {
    this.#update({ forged: null });
  }

  /** Changes somebody's reading under its signature, or puts this tab's name under it. */
  async forge(kind) {
    await this.#try(async () => {
      const original = await this.#somebodysReading();
      if (original === null) return { lie: null, noReading: true };
      const reading = kind === "bpm" ? withOtherBpm(original) : withOtherAuthor(original, await this.#anotherAuthor(original));
      return { noReading: false, lie: { kind, original, reading, verdict: await this.#node.rehearse({ reading }) } };
    });
  }

  /** @param {number | null} pace hashes a second; null: as fast as it can */
  async slowDown(pace) {
    await this.#try(async () => {
      await this.#node.limitMining(pace);
      return { limit: pace };
    });
  }

  async #judged(original, block, step) {
    const found = await this.#node.check(block);
    return { original, block, step, found, verdict: await this.#node.rehearse({ block }) };
  }

  /** What is shown of the running node. */
  #watch = async () => {
    if (this.#left) return;
    const { tip, isolated, hashesPerSecond, mempool, peers } = this.#node.status();
    if (isolated) await this.#noteAlone();
    const change = { tip: tip.index, isolated: isolated === true, hashesPerSecond, mempool, peers };
    if (this.#state.tries === null || this.#state.tip !== tip.index) change.tries = await this.#triesAt(tip.index);
    const met = await this.#metAgain();
    if (met !== null) change.met = met;
    if (!this.#left) this.#update({ ...change, alone: this.#cut?.alone.length ?? 0 });
  };

  async #noteAlone() {
    const cut = this.#cut;
    if (cut === null) return;
    const { index } = this.#node.status().tip;
    const blocks = index > cut.from ? await this.#blocks(cut.from + 1, Math.min(index, cut.from + MAX_ALONE)) : [];
    cut.alone = blocks.map(({ index, hash }) => ({ index, hash }));
  }

  /** What became of the branch that was made alone, as of now. */
  async #metAgain() {
    const { met } = this.#state;
    if (met === null) return null;
    const { alone, nextSeq } = met;
    const { tip } = this.#node.status();
    const [first, last] = [alone.at(0)?.index ?? 1, Math.min(alone.at(-1)?.index ?? 0, tip.index)];
    const blocks = last >= first ? await this.#blocks(first, last) : [];
    const chain = new Map(blocks.map(({ index, hash }) => [index, hash]));
    return { ...met, ...whoseBlocks(alone, chain), ...whereabouts(this.#node.ownReadings(OWN_READINGS), nextSeq) };
  }

  async #triesAt(index) {
    const [block] = await this.#blocks(index, index);
    if (block === undefined) return null;
    const { work } = await this.#node.check(block);
    return expectedTries(work.target);
  }

  async #newestWithReadings() {
    const { index } = this.#node.status().tip;
    const blocks = await this.#blocks(Math.max(0, index - SEARCHED_BLOCKS + 1), index);
    return blocks.findLast(({ readings }) => readings.length > 0) ?? null;
  }

  /** Somebody else's if there is one: forging oneself is no great lie. */
  async #somebodysReading() {
    const readings = await this.#recentReadings();
    const mine = new Set(this.#node.ownReadings(OWN_READINGS).map(({ id }) => id));
    return readings.find(({ id }) => !mine.has(id)) ?? readings[0] ?? null;
  }

  /** Whoever else has recorded here, this tab rather than others. */
  async #anotherAuthor({ author }) {
    const readings = await this.#recentReadings();
    const mine = new Set(this.#node.ownReadings(OWN_READINGS).map(({ id }) => id));
    const others = readings.filter((reading) => reading.author !== author);
    const other = others.find(({ id }) => mine.has(id)) ?? others[0];
    // Nobody else has: any name that differs will do.
    return other?.author ?? author.replace(/^../, (start) => (start === "00" ? "01" : "00"));
  }

  /** The newest first. */
  async #recentReadings() {
    const { index } = this.#node.status().tip;
    const blocks = await this.#blocks(Math.max(0, index - SEARCHED_BLOCKS + 1), index);
    return blocks.reverse().flatMap(({ readings }) => readings);
  }

  /** The best branch may change while it is read; what is gone then is simply not there. */
  async #blocks(from, to) {
    return this.#node.blocks(from, to).catch(() => []);
  }

  /** Does one wish after the other's state is known, and keeps the words if it fails. */
  async #try(wish) {
    this.#update({ busy: true, failure: null });
    try {
      const change = await wish();
      if (!this.#left) this.#update(change);
    } catch (error) {
      this.#update({ failure: error instanceof Error ? error.message : String(error) });
    }
    this.#update({ busy: false });
    await this.#watch();
  }

  #update(change) {
    if (this.#left) return;
    this.#state = { ...this.#state, ...change };
    this.dispatchEvent(new Event("change"));
  }
}

const NOBODY = { all: 0, waiting: 0, inChain: 0 };

function fresh() {
  return {
    busy: false, failure: null, tip: 0, isolated: false, peers: 0, mempool: 0, hashesPerSecond: null, tries: null,
    limit: null, cutAt: null, alone: 0, met: null, noReading: false, forged: null, lie: null,
  };
}
