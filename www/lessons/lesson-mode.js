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
/** Waiting readings that a forgery must not collide with: as many as the node may have. */
const PENDING_READINGS = 16_384;
/** A key that is one (the curve's base point), for rooms in which nobody else has recorded. */
const SOMEBODY = `58${"66".repeat(31)}`;
/** Blocks made alone that are remembered; more are counted no further. */
const MAX_ALONE = 512;

/**
 * Dispatches "change" whenever `state` is another. Each wish is one method; none rejects: what went wrong is in
 * `state.failure`.
 */
export class LessonMode extends EventTarget {
  #node;
  #state = fresh();
  /** Where this tab stood when it was cut off, and the blocks since. */
  #cut = null;
  #left = false;
  #looking = null;
  #lookAgain = false;

  /** @param {object} node a running node */
  constructor(node) {
    super();
    this.#node = node;
    this.#update({ limit: node.status().miningLimit });
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
    try {
      this.#node.isolate(false);
      this.#node.limitMining(null);
    } catch {
      // A node that broke is cut off and mines no more.
    }
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

  /** Forges a reading: "bpm" puts an old signature under another heart rate, "author" another name over it. */
  async forge(kind) {
    await this.#try(async () => {
      const known = await this.#recentReadings();
      if (known.length === 0) return { lie: null, noReading: true };
      const mine = new Set(this.#node.ownReadings(OWN_READINGS).map(({ id }) => id));
      // Somebody else's if there is one: forging oneself is no great lie.
      const original = known.find(({ id }) => !mine.has(id)) ?? known[0];
      const reading = forged(kind, original, [...known, ...this.#node.pending(PENDING_READINGS)]);
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

  /** Looks at the running node, once more if it had news meanwhile. */
  #watch = () => {
    this.#lookAgain = true;
    this.#looking ??= this.#lookOn();
    return this.#looking;
  };

  async #lookOn() {
    while (this.#lookAgain && !this.#left) {
      this.#lookAgain = false;
      await this.#look();
    }
    this.#looking = null;
  }

  async #look() {
    const { tip, state, isolated, hashesPerSecond, mempool, peers } = this.#node.status();
    if (isolated) await this.#noteAlone();
    const settled = state === "synced" && peers > 0;
    const change = { tip: tip.index, settled, isolated, hashesPerSecond, mempool, peers };
    if (this.#state.tries === null || this.#state.tip !== tip.index) change.tries = await this.#triesAt(tip.index);
    const met = await this.#metAgain();
    if (met !== null) change.met = met;
    if (this.#cut !== null) change.own = whereabouts(this.#node.ownReadings(OWN_READINGS), this.#cut.nextSeq);
    // There may be one now.
    if (this.#state.tip !== tip.index) change.noReading = false;
    this.#update({ ...change, alone: this.#cut?.alone.length ?? 0 });
  }

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
      this.#update(change);
    } catch (error) {
      this.#update({ failure: error });
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

/** A forgery of one reading, beside all that are known. */
function forged(kind, original, known) {
  const next = (author) => Math.max(-1, ...known.filter((one) => one.author === author).map(({ seq }) => seq)) + 1;
  if (kind === "bpm") return withOtherBpm(original, next(original.author));
  const other = known.find(({ author }) => author !== original.author)?.author ?? SOMEBODY;
  return withOtherAuthor(original, other, next(other));
}

const NOBODY = { all: 0, waiting: 0, inChain: 0 };

function fresh() {
  return {
    busy: false, failure: null, tip: 0, settled: false, isolated: false, peers: 0, mempool: 0, hashesPerSecond: null, tries: null,
    limit: null, cutAt: null, alone: 0, own: NOBODY, met: null, noReading: false, forged: null, lie: null,
  };
}
