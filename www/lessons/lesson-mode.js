//! Runs the lessons' commands on the node, keeps their results as state, and undoes all of them on leaving. The node is
//! this tab's real peer; tampered copies go only to `check` and `dryRun`, which send nothing and change nothing. Never
//! draws.

import { countBlocks, countReadings } from "./branch-outcome.js";
import { expectedTries } from "./pace.js";
import { withChangedReading, withOtherAuthor, withOtherBpm, withRecomputedHashes } from "./tampering.js";

/** How many blocks back from the tip to search for one with readings. */
const SEARCHED_BLOCKS = 64;
/** How many of the tab's own readings to look at after two branches met. */
const OWN_READINGS = 1000;
/** Waiting readings whose sequence numbers a forgery must not reuse: as many as the node may hold. */
const PENDING_READINGS = 16_384;
/** A valid public key (the curve's base point), for rooms without a second author. */
const PLACEHOLDER_AUTHOR = `58${"66".repeat(31)}`;
/** How long a reconnected tab looks for the others before the lesson says what is missing, ms. Relays take some seconds. */
export const LOOKING_MS = 10_000;
/** The most blocks mined while disconnected that are remembered; further ones are not counted. */
const MAX_OWN_BLOCKS = 512;

/**
 * Dispatches "change" whenever `state` changes. Each command is one method. No command rejects: errors are in
 * `state.failure`.
 */
export class LessonMode extends EventTarget {
  #node;
  #state = fresh();
  /** The height and next sequence number at the disconnect, and the blocks mined since; null while connected. */
  #disconnected = null;
  #left = false;
  /** The timer of the search for the others, and whether it took long. */
  #looking = null;
  #lookedLong = false;
  #wait;
  /** The last command that was given: commands take effect in the order in which they are given. */
  #running = Promise.resolve();
  #refreshing = null;
  #refreshAgain = false;

  /**
   * @param {object} node a running node
   * @param {typeof setTimeout} [wait] another one for tests
   */
  constructor(node, wait = (work, ms) => setTimeout(work, ms)) {
    super();
    this.#node = node;
    this.#wait = wait;
    this.#update({ limit: node.status().miningLimit });
    node.addEventListener("status", this.#watch);
    node.addEventListener("chain", this.#watch);
    node.addEventListener("reading", this.#watch);
    this.#watch();
  }

  get state() {
    return this.#state;
  }

  /** Undoes everything and stops following the node. */
  leave() {
    this.#left = true;
    clearTimeout(this.#looking);
    for (const type of ["status", "chain", "reading"]) this.#node.removeEventListener(type, this.#watch);
    try {
      this.#node.isolate(false);
      this.#node.limitMining(null);
    } catch {
      // A broken node is disconnected and no longer mines.
    }
    this.#state = fresh();
  }

  /** Disconnects this tab from its peers. */
  async disconnect() {
    await this.#run(async () => {
      // The button may be pressed twice.
      if (this.#disconnected !== null) return {};
      const { tip } = this.#node.status();
      const [newest] = this.#node.ownReadings(1);
      await this.#node.isolate(true);
      this.#disconnected = { from: tip.index, ownBlocks: [], nextSeq: newest === undefined ? 0 : newest.seq + 1 };
      clearTimeout(this.#looking);
      return { outcome: null, cutAt: tip.index, pinnedFork: null };
    });
  }

  /** Reconnects this tab. */
  async reconnect() {
    await this.#run(async () => {
      await this.#recordOwnBlocks();
      await this.#node.isolate(false);
      if (this.#disconnected === null) return {};
      const { from, ownBlocks, nextSeq } = this.#disconnected;
      this.#disconnected = null;
      this.#look();
      const outcome = { made: ownBlocks.length, from, ownBlocks, nextSeq, kept: ownBlocks.length, left: 0, settled: false, ...NO_READINGS };
      return { missing: null, settled: false, outcome };
    });
  }

  #look() {
    clearTimeout(this.#looking);
    this.#lookedLong = false;
    this.#looking = this.#wait(() => {
      this.#lookedLong = true;
      this.#watch();
    }, LOOKING_MS);
  }

  /** Stops showing the fork of this lesson. */
  dismissFork() {
    this.#update({ pinnedFork: null, outcome: this.#state.outcome && { ...this.#state.outcome, from: null } });
  }

  /** Tampers with a copy of the newest block that has readings. */
  async tamper() {
    await this.#run(async () => {
      const original = await this.#newestWithReadings();
      if (original === null) return { tampered: null, noReading: true };
      return { noReading: false, tampered: await this.#examined(original, withChangedReading(original), "changed") };
    });
  }

  /** Recomputes the IDs and hashes of the tampered copy. */
  async recompute() {
    await this.#run(async () => {
      const { tampered } = this.#state;
      if (tampered === null) return {};
      const block = await withRecomputedHashes(tampered.block, async (copy) => this.#node.check(copy));
      return { tampered: await this.#examined(tampered.original, block, "recomputed") };
    });
  }

  /** Discards the tampered copy. */
  async discard() {
    await this.#run(() => ({ tampered: null }));
  }

  /** Forges a reading: "bpm" keeps the signature and changes the heart rate, "author" changes the author. */
  async forge(kind) {
    await this.#run(async () => {
      const known = await this.#recentReadings();
      if (known.length === 0) return { forgery: null, noReading: true };
      const mine = new Set(this.#node.ownReadings(OWN_READINGS).map(({ id }) => id));
      // Prefer another author's reading: forging your own would prove little.
      const original = known.find(({ id }) => !mine.has(id)) ?? known[0];
      const reading = forgeReading(kind, original, [...known, ...this.#node.pending(PENDING_READINGS)]);
      return { noReading: false, forgery: { kind, original, reading, verdict: await this.#node.dryRun({ reading }) } };
    });
  }

  /** @param {number | null} pace hashes per second; null for no limit */
  async slowDown(pace) {
    await this.#run(async () => {
      await this.#node.limitMining(pace);
      return { limit: pace };
    });
  }

  async #examined(original, block, step) {
    const found = await this.#node.check(block);
    return { original, block, step, found, verdict: await this.#node.dryRun({ block }) };
  }

  /** Refreshes the state from the node, once more if an event arrived in between. */
  #watch = () => {
    this.#refreshAgain = true;
    this.#refreshing ??= this.#refreshLoop();
    return this.#refreshing;
  };

  async #refreshLoop() {
    while (this.#refreshAgain && !this.#left) {
      this.#refreshAgain = false;
      await this.#refresh();
    }
    this.#refreshing = null;
  }

  async #refresh() {
    // What commands set is read together with the status: they may change it while the node is read.
    const { outcome: known, tip: knownTip, tries } = this.#state;
    const { tip, state, isolated, hashesPerSecond, mempool, peers, relays } = this.#node.status();
    // A new block may have readings.
    if (knownTip !== tip.index) this.#update({ tip: tip.index, noReading: false });
    if (isolated) await this.#recordOwnBlocks();
    const change = { isolated, hashesPerSecond, mempool, peers };
    if (tries === null || knownTip !== tip.index) change.tries = await this.#triesAt(tip.index);
    if (known !== null) {
      const outcome = await this.#updated(known);
      // What two branches came to stays known when the peers are gone later.
      outcome.settled ||= state === "synced" && peers > 0;
      const missing = outcome.settled || !this.#lookedLong ? null : missingOf(peers, relays);
      // Never in place of what a command has set since, such as that the fork is dismissed.
      if (this.#state.outcome === known) Object.assign(change, { outcome, missing, settled: outcome.settled, pinnedFork: forkOf(outcome) });
      else this.#refreshAgain = true;
    }
    if (this.#disconnected !== null) {
      change.own = countReadings(this.#node.ownReadings(OWN_READINGS), this.#disconnected.nextSeq);
    }
    this.#update({ ...change, ownBlockCount: this.#disconnected?.ownBlocks.length ?? 0 });
  }

  async #recordOwnBlocks() {
    const disconnected = this.#disconnected;
    if (disconnected === null) return;
    const { index } = this.#node.status().tip;
    const last = Math.min(index, disconnected.from + MAX_OWN_BLOCKS);
    const blocks = index > disconnected.from ? await this.#blocks(disconnected.from + 1, last) : [];
    disconnected.ownBlocks = blocks.map(({ index, hash }) => ({ index, hash }));
  }

  /** This outcome of the branch mined while disconnected, as the chain is now. */
  async #updated(outcome) {
    const { ownBlocks, nextSeq } = outcome;
    const { tip } = this.#node.status();
    const [first, last] = [ownBlocks.at(0)?.index ?? 1, Math.min(ownBlocks.at(-1)?.index ?? 0, tip.index)];
    const blocks = last >= first ? await this.#blocks(first, last) : [];
    const chain = new Map(blocks.map(({ index, hash }) => [index, hash]));
    return { ...outcome, ...countBlocks(ownBlocks, chain), ...countReadings(this.#node.ownReadings(OWN_READINGS), nextSeq) };
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

  /** Readings of the last blocks, newest first. */
  async #recentReadings() {
    const { index } = this.#node.status().tip;
    const blocks = await this.#blocks(Math.max(0, index - SEARCHED_BLOCKS + 1), index);
    return blocks.reverse().flatMap(({ readings }) => readings);
  }

  /** Returns nothing if the best branch changes during the read; the next event refreshes again. */
  async #blocks(from, to) {
    return this.#node.blocks(from, to).catch(() => []);
  }

  /** Runs one command after those before it, stores its change or its error, and refreshes the state. */
  async #run(command) {
    this.#running = this.#running.then(() => this.#perform(command));
    await this.#running;
    await this.#watch();
  }

  async #perform(command) {
    if (this.#left) return;
    this.#update({ busy: true, failure: null });
    try {
      const change = await command();
      this.#update(change);
    } catch (error) {
      this.#update({ failure: error });
    }
    this.#update({ busy: false });
  }

  #update(change) {
    if (this.#left) return;
    this.#state = { ...this.#state, ...change };
    this.dispatchEvent(new Event("change"));
  }
}

/** Forges a reading with a sequence number that no known reading uses. */
function forgeReading(kind, original, known) {
  const next = (author) => Math.max(-1, ...known.filter((one) => one.author === author).map(({ seq }) => seq)) + 1;
  if (kind === "bpm") return withOtherBpm(original, next(original.author));
  const other = known.find(({ author }) => author !== original.author)?.author ?? PLACEHOLDER_AUTHOR;
  return withOtherAuthor(original, other, next(other));
}

/** The fork between this tab's branch and the others', while it is worth a look. */
function forkOf({ from, ownBlocks, left, settled }) {
  if (from === null || !settled || ownBlocks.length === 0) return null;
  return { fork: from, blocks: left > 0 ? ownBlocks : [] };
}

/** What keeps a reconnected tab from the others: the relay, or that no one is there; null while it catches up with them. */
function missingOf(peers, relays) {
  if (peers > 0) return null;
  return relays.some(({ connected }) => connected) ? "others" : "relay";
}

const NO_READINGS = { all: 0, waiting: 0, inChain: 0 };

function fresh() {
  return {
    busy: false, failure: null, tip: 0, settled: false, isolated: false, peers: 0, mempool: 0, hashesPerSecond: null, tries: null,
    limit: null, cutAt: null, missing: null, ownBlockCount: 0, own: NO_READINGS, outcome: null, pinnedFork: null, noReading: false, tampered: null, forgery: null,
  };
}
