//! The data behind the components: the blocks in view, the readings in the chart, this tab's own readings, the side
//! branches, files, and how often the components are redrawn. Draws nothing.

import { PageError, isWithoutKey } from "./messages.js";
import { formatBytes, say } from "./strings.js";

// Coalesces many refresh requests into one run per frame, and runs slow work less often. Still runs in hidden tabs,
// which get no animation frames.

/** The longest wait for a frame, which never comes if the tab is hidden or covered, in ms. */
const FRAME_TIMEOUT_MS = 100;

/** Once the work of a frame has taken this long, further work waits for the next frame, in ms. */
const FRAME_BUDGET_MS = 12;

/** After each run, the same work rests this many times as long as the run took. */
const REST_FACTOR = 4;

/** Rests shorter than a frame are skipped, in ms. */
const SHORTEST_REST_MS = 16;

/** The longest rest in ms, so that the page is never more outdated than this. */
const LONGEST_REST_MS = 1_000;

/** A frame that comes later than this after its request shows that others need the processor, in ms: two frames, one may be due. */
const ON_TIME_MS = 34;

/** While frames come late, all work rests this many times as long as they are late. */
const LATE_FACTOR = 20;

/** The longest rest while frames come late, in ms: what tabs say to each other comes before what they show. */
export const LONGEST_LATE_REST_MS = 3_000;

/** The share of the latest frame in the mean lateness: one late frame delays little. */
const LATEST_SHARE = 0.25;

/** The current frame, identified by its timestamp, and the time spent on it so far. */
let current = { frame: 0, spent: 0 };

/** How late frames come, in ms, as a mean that forgets, and until when all work rests because of it. */
let lateness = 0;
let lateUntil = 0;

/**
 * @param {() => void} work
 * @param {number} [minRest] the shortest pause between two runs, in ms
 * @returns {() => void} requests a run; cheap to call often
 */
export function coalesce(work, minRest = 0) {
  let requested = false;
  // The first run never rests: a page that starts on a slow computer is complete as soon as it can be.
  let restUntil = null;
  return () => {
    if (requested) return;
    requested = true;
    const rest = restUntil === null ? 0 : Math.max(restUntil, lateUntil) - performance.now();
    if (rest > 0) setTimeout(awaitFrame, rest);
    else awaitFrame();
  };

  function awaitFrame() {
    let frame = 0;
    let asked = performance.now();
    const hidden = document.visibilityState === "hidden";
    const run = () => {
      requested = false;
      const began = performance.now();
      work();
      const took = performance.now() - began;
      current.spent += took;
      restUntil = began + took + Math.max(minRest, restAfter(took));
    };
    const inFrame = (time) => {
      if (current.frame !== time) {
        current = { frame: time, spent: 0 };
        noteFrame(performance.now() - asked);
      }
      if (current.spent >= FRAME_BUDGET_MS) return askForFrame();
      clearTimeout(timer);
      run();
    };
    const askForFrame = () => {
      asked = performance.now();
      frame = requestAnimationFrame(inFrame);
    };
    const withoutFrame = () => {
      cancelAnimationFrame(frame);
      // Browsers delay the timers of hidden tabs in any case.
      if (!hidden) noteFrame(performance.now() - asked);
      run();
    };
    const timer = setTimeout(withoutFrame, hidden ? 0 : FRAME_TIMEOUT_MS);
    if (!hidden) askForFrame();
  }
}

/** Notes how long a frame took to come, in ms, or that none came, and how long all work rests. */
function noteFrame(waited) {
  lateness += LATEST_SHARE * (Math.max(0, waited - ON_TIME_MS) - lateness);
  lateUntil = performance.now() + restWhenLate(lateness);
}

/**
 * How long to rest while frames come late: the computer has more to do than to draw this page.
 *
 * @param {number} ms by how much they are late
 * @returns {number} ms
 */
export function restWhenLate(ms) {
  const rest = ms * LATE_FACTOR;
  return rest < SHORTEST_REST_MS ? 0 : Math.min(rest, LONGEST_LATE_REST_MS);
}

/**
 * How long to rest after a run.
 *
 * @param {number} ms the duration of the run
 * @returns {number} ms
 */
export function restAfter(ms) {
  const rest = ms * REST_FACTOR;
  return rest < SHORTEST_REST_MS ? 0 : Math.min(rest, LONGEST_REST_MS);
}

/**
 * Lets only the newest of several reads count: an older one may end later.
 *
 * @template Given, Result
 * @param {(given: Given) => Promise<Result>} read
 * @returns {(given: Given) => Promise<Result | null>} null if another call has been made meanwhile
 */
export function newestOnly(read) {
  let newest = null;
  return async (given) => {
    const reading = read(given);
    newest = reading;
    const result = await reading;
    return newest === reading ? result : null;
  };
}

// Converts a block's compact target to an expected number of hashes, for display. The node does all verification.

/**
 * The average number of hashes needed to meet a target.
 *
 * @param {number} bits the target in compact form: one byte of length and the three leading bytes
 * @returns {number}
 */
export function expectedHashes(bits) {
  const length = bits >>> 24;
  const mantissa = bits & 0x00ff_ffff;
  if (mantissa === 0) return Infinity;
  // 2^256 / (mantissa * 256^(length - 3)), within the precision of a double.
  return 2 ** (256 - 8 * (length - 3)) / mantissa;
}

// A bounded cache of the blocks in view. Fetches only blocks that are in view and missing or stale; never touches the
// page's elements.

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

// The readings that the chart draws: by author, in order of time, without duplicates. The total is bounded; the oldest
// are dropped first. Never fetches (see `ReadingFeed`), never touches the page.

/** The most readings kept: an hour of one reading per second from five people, about 1 MB. */
export const MAX_READINGS = 20_000;

/** The most authors kept; those silent the longest are dropped first. */
export const MAX_AUTHORS = 256;

/** Dropping shrinks the history to this share of the bound, so that it need not shrink with each new reading. */
const SHRINK_TO = 0.9;

/**
 * @typedef {{ time: number, bpm: number, seq: number, id: string }} Point
 */

export class ReadingHistory {
  /** @type {Map<string, { points: Point[], seqs: Set<number> }>} by author */
  #authors = new Map();
  #count = 0;
  #omittedUntil = null;

  /** Readings up to this time, in Unix ms, may be missing; null if none were omitted. */
  get omittedUntil() {
    return this.#omittedUntil;
  }

  /** Notes that readings up to this time are missing or were dropped. */
  markOmitted(time) {
    this.#omittedUntil = Math.max(this.#omittedUntil ?? time, time);
  }

  /** The number of readings kept. */
  get size() {
    return this.#count;
  }

  /**
   * Adds readings as returned by the node. Known ones are ignored.
   *
   * @param {object[]} readings
   * @returns {boolean} whether any of them was new
   */
  add(readings) {
    const before = this.#count;
    // A reading of a private room that this tab cannot read has neither a time nor a heart rate.
    for (const reading of readings) if (reading.bpm !== undefined) this.#insert(reading);
    const changed = this.#count !== before;
    if (this.#count > MAX_READINGS) this.#dropOldest();
    if (this.#authors.size > MAX_AUTHORS) this.#dropSilent();
    return changed;
  }

  /** @returns {Map<string, Point[]>} each author's readings, oldest first; do not modify */
  get authors() {
    return new Map([...this.#authors].map(([author, { points }]) => [author, points]));
  }

  /** @returns {number | null} the time of the oldest reading kept */
  get oldest() {
    let oldest = null;
    for (const { points } of this.#authors.values()) {
      if (oldest === null || points[0].time < oldest) oldest = points[0].time;
    }
    return oldest;
  }

  #insert({ author, time, bpm, seq, id }) {
    let known = this.#authors.get(author);
    if (known === undefined) {
      known = { points: [], seqs: new Set() };
      this.#authors.set(author, known);
    }
    if (known.seqs.has(seq)) return;
    known.seqs.add(seq);
    known.points.splice(indexAfter(known.points, time), 0, { time, bpm, seq, id });
    this.#count += 1;
  }

  #dropOldest() {
    // Numbers of their own kind are sorted several times as fast as values that are compared by a function.
    const times = new Float64Array(this.#count);
    let at = 0;
    for (const { points } of this.#authors.values()) {
      for (const { time } of points) times[at++] = time;
    }
    times.sort();
    let surplus = this.#count - Math.floor(MAX_READINGS * SHRINK_TO);
    const threshold = times[surplus - 1];
    this.markOmitted(threshold);
    for (const [author, { points, seqs }] of this.#authors) {
      const gone = points.splice(0, Math.min(surplus, indexAfter(points, threshold)));
      for (const { seq } of gone) seqs.delete(seq);
      surplus -= gone.length;
      this.#count -= gone.length;
      if (points.length === 0) this.#authors.delete(author);
    }
  }

  #dropSilent() {
    const bySilence = [...this.#authors].sort(([, a], [, b]) => b.points.at(-1).time - a.points.at(-1).time);
    for (const [author, { points }] of bySilence.slice(Math.floor(MAX_AUTHORS * SHRINK_TO))) {
      this.#authors.delete(author);
      this.#count -= points.length;
    }
  }
}

/**
 * The index of the first point later than `time`.
 *
 * @param {Point[]} points oldest first
 * @param {number} time
 */
export function indexAfter(points, time) {
  let low = 0;
  let high = points.length;
  // Fast path: new readings are usually the latest.
  if (high > 0 && points[high - 1].time <= time) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (points[middle].time <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Fills a `ReadingHistory` from the node: new readings at once, older ones block by block from the tip down, as far
// back as the chart's range. Never reads all of a long chain, never blocks the page.

/** Blocks per read, and about how many readings: few enough that taking them in does not block a phone. */
export const STEP_BLOCKS = 16;
export const STEP_READINGS = 2_048;

/** How much longer a pause is than the read of new blocks before it, and the longest, ms: an import is not slowed down by the chart. */
const FRESH_PAUSE_FACTOR = 3;
const LONGEST_FRESH_PAUSE_MS = 1_000;

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
  /** Readings in a block, on average of the last read; null before the first one. */
  #perBlock = null;
  /** What was read in all. */
  #read = { blocks: 0, readings: 0 };
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
    const began = performance.now();
    const { from: changed, to } = this.#fresh;
    // Of more blocks, the history would drop the first ones.
    const few = this.#read.readings < MAX_READINGS / 4;
    const kept = few ? Infinity : Math.max(STEP_BLOCKS, Math.ceil((MAX_READINGS * this.#read.blocks) / this.#read.readings));
    const from = Math.max(changed, to - kept + 1);
    const end = Math.min(to, from + this.#step() - 1);
    this.#fresh = end < to ? { from: end + 1, to } : null;
    const blocks = await this.#node.blocks(from, end);
    if (from > changed && blocks.length > 0) this.history.markOmitted(blocks[0].time);
    this.#takeBlocks(blocks);
    this.#lowest = Math.min(this.#lowest, from);
    const pause = Math.min(FRESH_PAUSE_FACTOR * (performance.now() - began), LONGEST_FRESH_PAUSE_MS);
    if (this.#fresh !== null) await new Promise((resolve) => setTimeout(resolve, pause));
  }

  async #readPast() {
    const to = this.#lowest - 1;
    const from = Math.max(0, to - this.#step() + 1);
    const blocks = await this.#node.blocks(from, to);
    this.#lowest = from;
    this.#past += to - from + 1;
    // A block is never much older than its readings, and never older than the block before it.
    if (blocks.length > 0) this.#lowestTime = blocks[0].time;
    if (this.#lowestTime < this.#since) this.#since = Infinity;
    this.#takeBlocks(blocks);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  /** How many blocks to read next. */
  #step() {
    if (this.#perBlock === null) return 1;
    return Math.max(1, Math.min(STEP_BLOCKS, Math.floor(STEP_READINGS / this.#perBlock)));
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
    const readings = blocks.flatMap((block) => block.readings);
    this.#perBlock = Math.max(1, readings.length / Math.max(1, blocks.length));
    this.#read.blocks += blocks.length;
    this.#read.readings += readings.length;
    this.#take(readings);
  }

  #take(readings) {
    if (this.history.add(readings)) this.dispatchEvent(new Event("change"));
  }
}

// Tracks the progress of the tab's own readings: saved, in a block with a number of confirmations, or back in the
// queue after a fork. Never asks the node; never touches the page.

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

// The rows of the table of peers. Several peers may have proved the same author, as after a profile was copied, so that a row
// belongs to a peer and not to an author.

/**
 * @param {object[]} peers as the node's `peers()`
 * @param {boolean} isPrivate whether the room is private
 * @returns {(object & { key: string, isWithoutKey: boolean })[]} in an order that does not change. A row with another `key` must be
 *   made again
 */
export function peerRows(peers, isPrivate) {
  return peers
    .filter(({ path }) => path !== "relay")
    .map((peer) => ({ ...peer, key: `${peer.peerId} ${peer.author}`, isWithoutKey: isWithoutKey(peer, { private: isPrivate }) }))
    .toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1));
}

// Selects the side branches worth showing and lays them out next to the best branch. Never asks the node.

/** A branch is shown until the best branch is this many blocks ahead of it. */
export const RECENT_FORK_BLOCKS = 6;

/** A shorter branch is routine: two tabs found a block at the same time. Only the card of the block mentions it. */
export const MIN_FORK_BLOCKS = 2;

/** The most branches shown at a time. */
export const MAX_SHOWN_FORKS = 1;

/** The most blocks shown per branch: its newest. */
export const MAX_SHOWN_BLOCKS = 5;

/**
 * @param {object[]} branches as the node's `branches()`: { tip, index, fork, blocks (newest first) }
 * @param {number} tip the height of the best branch
 * @param {{ fork: number, blocks: { index: number, hash: string }[] } | null} [pinned] a fork that is shown as long as it is
 *   given: the height of its common block, and the dropped blocks, lowest first
 * @returns {{ tip: string, fork: number, ours: number[], oursLeft: number, oursAbove: number, theirs: object[],
 *   theirsLeft: number, theirsAbove: number, pinned: boolean }[]} `ours` and `theirs` are oldest first; omitted blocks lie
 *   between them and the fork ("left") or above them
 */
export function recentForks(branches, tip, pinned = null) {
  if (pinned !== null && tip > pinned.fork) return [pinnedFork(branches, tip, pinned)];
  return branches
    .filter(({ index, fork }) => tip - index < RECENT_FORK_BLOCKS && index - fork >= MIN_FORK_BLOCKS)
    .toSorted((a, b) => b.index - a.index)
    .slice(0, MAX_SHOWN_FORKS)
    .map((branch) => {
      const length = tip - branch.fork;
      const shown = Math.min(length, MAX_SHOWN_BLOCKS);
      const theirs = branch.blocks.slice(0, MAX_SHOWN_BLOCKS).toReversed();
      return {
        tip: branch.tip,
        fork: branch.fork,
        ours: Array.from({ length: shown }, (_, i) => tip - shown + 1 + i),
        oursLeft: length - shown,
        theirs,
        theirsLeft: branch.index - branch.fork - theirs.length,
        oursAbove: 0,
        theirsAbove: 0,
        pinned: false,
      };
    });
}

/** The fork of a lesson: the blocks right above the common one, which stay while the chain grows. */
function pinnedFork(branches, tip, { fork, blocks }) {
  // The node forgets a branch in time, and prefers heavier ones.
  const known = branches.find((branch) => branch.fork === fork && branch.index - fork === branch.blocks.length);
  const others = blocks.length > 0 ? blocks : (known?.blocks.toReversed() ?? []);
  const shown = Math.min(tip - fork, MAX_SHOWN_BLOCKS);
  const theirs = others.slice(0, MAX_SHOWN_BLOCKS);
  return {
    tip: `pinned ${fork}`,
    fork,
    ours: Array.from({ length: shown }, (_, i) => fork + 1 + i),
    oursLeft: 0,
    theirs,
    theirsLeft: 0,
    oursAbove: tip - fork - shown,
    theirsAbove: others.length - theirs.length,
    pinned: true,
  };
}

/**
 * The blocks of side branches, by height.
 *
 * @param {object[]} branches as the node's `branches()`
 * @returns {Map<number, string>} the hash of the first one reported at each height
 */
export function rivals(branches) {
  const found = new Map();
  for (const { blocks, fork } of branches) {
    for (const { index, hash } of blocks) {
      if (index > fork && !found.has(index)) found.set(index, hash);
    }
  }
  return found;
}

// Saves and reads files chosen by the user. Never reads a file larger than the node can import.

/**
 * The largest file that is read, as in the node: about 70,000 blocks of ten readings. A document is parsed as a whole,
 * and browsers limit strings to about twice that size.
 */
export const MAX_FILE_BYTES = 256_000_000;

/** How long the browser has to read a saved file's contents, in ms. */
const REVOKE_AFTER_MS = 60_000;

/** Characters that are not safe in file names on all systems. */
const UNSAFE_IN_NAMES = /[^\p{Letter}\p{Number}._-]+/gu;

/**
 * Saves a blob as a download.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(UNSAFE_IN_NAMES, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_AFTER_MS);
}

/**
 * The text of a chosen file.
 *
 * @param {File} file
 * @returns {Promise<string>} rejects with a PageError if it is too large or cannot be read
 */
export async function readText(file) {
  if (file.size > MAX_FILE_BYTES) {
    throw new PageError(() => say("data.tooLarge", { found: formatBytes(file.size), max: formatBytes(MAX_FILE_BYTES) }));
  }
  return file.text();
}
