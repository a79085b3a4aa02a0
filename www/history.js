//! A room's whole history, by author and hour: lowest, highest and average heart rate. Reads the chain once, from the first
//! block up, and keeps the result on disk, so that the chart of months needs no old block again. Also knows in which order
//! authors first appeared. Draws nothing.

/** A reading counts until its author's next one, at most this long, ms: so a strap does not outweigh readings by hand. */
export const HOLD_MS = 600_000;

/** From this heart rate on, a person is active rather than at rest. Doctors call a faster pulse at rest a tachycardia. */
export const ACTIVE_BPM = 100;

const HOUR_MS = 3_600_000;
const DAY_HOURS = 24;

/** Hours are kept for this long; what is older is kept by day (UTC). */
const KEPT_HOURS = 92 * DAY_HOURS;

/** The most rows kept, about 6 MB: 20 people every hour for a quarter, and five years of days. Then the oldest are dropped. */
export const MAX_ROWS = 60_000;

/** The most authors with rows; those silent the longest are dropped. */
export const MAX_ROW_AUTHORS = 256;

/** The most authors whose order of appearance is kept. */
export const MAX_ORDER = 4_096;

/** Dropping shrinks to this share of a bound, so that it is rare. */
const SHRINK_TO = 0.9;

/** Newer blocks may still leave the chain; they are counted only in memory. */
export const UNSETTLED_BLOCKS = 64;

/** The most blocks per read, and the time that taking in one read may take, ms. Reads adapt their length to it. */
const MAX_STEP_BLOCKS = 64;
const STEP_MS = 8;
/** How much longer a pause is than the read before it: a long chain is read in the background, not at the cost of the page. */
const PAUSE_FACTOR = 3;

/** The shortest time between two writes to disk, ms. */
const SAVE_EVERY_MS = 300_000;

/** Waiting readings that are counted, too. */
const MAX_PENDING = 1_000;

// What is known of some readings. Averages are weighted by time, at rest and active apart.

/**
 * @typedef {{ low: number, high: number, count: number, sum: number, restMs: number, restSum: number, activeMs: number,
 *   activeSum: number }} Tally
 */

/** @returns {Tally} of no reading */
export function emptyTally() {
  return { low: Infinity, high: -Infinity, count: 0, sum: 0, restMs: 0, restSum: 0, activeMs: 0, activeSum: 0 };
}

/** Counts a reading without a duration. */
function count(tally, bpm) {
  tally.low = Math.min(tally.low, bpm);
  tally.high = Math.max(tally.high, bpm);
  tally.count += 1;
  tally.sum += bpm;
}

/** Counts how long a reading held. */
function hold(tally, bpm, ms) {
  if (bpm < ACTIVE_BPM) {
    tally.restMs += ms;
    tally.restSum += bpm * ms;
  } else {
    tally.activeMs += ms;
    tally.activeSum += bpm * ms;
  }
}

/** @param {Tally} tally changed @param {Tally} other */
export function addTally(tally, other) {
  tally.low = Math.min(tally.low, other.low);
  tally.high = Math.max(tally.high, other.high);
  for (const key of ["count", "sum", "restMs", "restSum", "activeMs", "activeSum"]) tally[key] += other[key];
  return tally;
}

/**
 * @param {{ time: number, bpm: number }[]} points of one author, oldest first
 * @returns {Tally}
 */
export function tallyOf(points) {
  const tally = emptyTally();
  points.forEach(({ time, bpm }, i) => {
    count(tally, bpm);
    // The newest reading holds as long as the one before it did.
    const [start, end] = i + 1 < points.length ? [time, points[i + 1].time] : [points[i - 1]?.time ?? -Infinity, time];
    hold(tally, bpm, held(start, end));
  });
  return tally;
}

function held(start, end) {
  return Math.min(HOLD_MS, Math.max(0, end - start));
}

/**
 * @param {Tally} tally of at least one reading
 * @returns {{ mean: number, rest: number | null, active: number | null }} averages over time; null without such a reading
 */
export function averages({ count, sum, restMs, restSum, activeMs, activeSum }) {
  const ms = restMs + activeMs;
  const mean = (total, length) => (length > 0 ? Math.round(total / length) : null);
  return {
    mean: ms > 0 ? Math.round((restSum + activeSum) / ms) : Math.round(sum / count),
    rest: mean(restSum, restMs),
    active: mean(activeSum, activeMs),
  };
}

// The rows of a table with one row per author and hour.

/** The columns of a row on disk; `start` and `span` are in hours since 1970. */
const COLUMNS = ["start", "span", "low", "high", "count", "sum", "restMs", "restSum", "activeMs", "activeSum"];

/** @typedef {Tally & { start: number, span: number }} Row */

/** @type {readonly Row[]} */
const NO_ROWS = Object.freeze([]);

export class HistoryTable {
  /** @type {Map<string, { rows: Map<number, Row>, sorted: Row[] | null, last: { time: number, bpm: number } | null }>} by author */
  #authors = new Map();
  /** @type {Set<string>} in the order of appearance */
  #order = new Set();
  #size = 0;
  #newest = 0;
  /** Authors whose rows have changed since they were last saved. */
  #unsaved = new Set();

  /** The number of rows. */
  get size() {
    return this.#size;
  }

  /** @returns {Iterable<string>} authors in the order of their first reading */
  get order() {
    return this.#order;
  }

  /** @returns {Iterable<string>} authors with rows */
  get authors() {
    return this.#authors.keys();
  }

  /** @param {{ author: string, time?: number, bpm?: number }} reading the author's next one */
  add({ author, time, bpm }) {
    if (this.#order.size < MAX_ORDER) this.#order.add(author);
    // A reading of a private room that this tab cannot read has neither a time nor a heart rate.
    if (bpm === undefined) return;
    const known = this.#known(author);
    if (known.last !== null) hold(this.#row(known, known.last.time), known.last.bpm, held(known.last.time, time));
    count(this.#row(known, time), bpm);
    known.last = { time, bpm };
    // A new list shows those who have the old one that the rows changed.
    known.sorted = null;
    this.#unsaved.add(author);
    if (this.#size > MAX_ROWS) this.#shrink();
    if (this.#authors.size > MAX_ROW_AUTHORS) this.#dropSilent();
  }

  /** Starts an author's rows where another table's end. */
  continueFrom(author, last) {
    if (last !== null) this.#known(author).last = last;
  }

  /** @returns {{ time: number, bpm: number } | null} an author's last reading */
  last(author) {
    return this.#authors.get(author)?.last ?? null;
  }

  /** @returns {Row[]} an author's rows, oldest first; do not modify. The same list as long as nothing changes */
  rows(author) {
    const known = this.#authors.get(author);
    if (known === undefined) return NO_ROWS;
    known.sorted ??= [...known.rows.values()].sort((a, b) => a.start - b.start);
    return known.sorted;
  }

  /** What to write to disk: authors with changes, or null for one that is gone. */
  takeUnsaved() {
    const changes = [...this.#unsaved].map((author) => {
      const known = this.#authors.get(author);
      if (known === undefined) return { author, record: null };
      const rows = Float64Array.from(this.rows(author).flatMap((row) => COLUMNS.map((column) => row[column])));
      return { author, record: { last: known.last, rows } };
    });
    this.#unsaved.clear();
    return changes;
  }

  /** Takes over the authors' records from disk. */
  restore(order, records) {
    for (const author of order.slice(0, MAX_ORDER)) this.#order.add(author);
    for (const { author, last, rows } of records.slice(0, MAX_ROW_AUTHORS)) {
      const known = this.#known(author);
      known.last = last;
      for (let at = 0; at + COLUMNS.length <= rows.length; at += COLUMNS.length) {
        const row = Object.fromEntries(COLUMNS.map((column, i) => [column, rows[at + i]]));
        known.rows.set(row.start, row);
        this.#size += 1;
        this.#newest = Math.max(this.#newest, row.start);
      }
    }
    if (this.#size > MAX_ROWS) this.#shrink();
  }

  /** Marks all authors as not saved. */
  saveAll() {
    for (const author of this.#authors.keys()) this.#unsaved.add(author);
  }

  #known(author) {
    let known = this.#authors.get(author);
    if (known === undefined) {
      known = { rows: new Map(), sorted: null, last: null };
      this.#authors.set(author, known);
    }
    return known;
  }

  #row(known, time) {
    const { rows } = known;
    const hour = Math.floor(time / HOUR_MS);
    const day = hour - (((hour % DAY_HOURS) + DAY_HOURS) % DAY_HOURS);
    if (rows.get(day)?.span === DAY_HOURS) return rows.get(day);
    let row = rows.get(hour);
    if (row === undefined) {
      row = { start: hour, span: 1, ...emptyTally() };
      rows.set(hour, row);
      this.#size += 1;
      this.#newest = Math.max(this.#newest, hour);
    }
    return row;
  }

  /** Merges old hours into days. If that is not enough, drops the oldest rows. */
  #shrink() {
    for (const [author, { rows }] of this.#authors) {
      for (const row of [...rows.values()].sort((a, b) => a.start - b.start)) {
        if (row.span > 1 || row.start >= this.#newest - KEPT_HOURS) continue;
        const day = row.start - (row.start % DAY_HOURS);
        rows.delete(row.start);
        const merged = rows.get(day) ?? { start: day, span: DAY_HOURS, ...emptyTally() };
        rows.set(day, Object.assign(addTally(merged, row), { span: DAY_HOURS }));
        this.#unsaved.add(author);
      }
    }
    this.#recount();
    if (this.#size <= MAX_ROWS * SHRINK_TO) return;
    const starts = [...this.#authors.values()].flatMap(({ rows }) => [...rows.keys()]).sort((a, b) => a - b);
    const oldest = starts[this.#size - Math.floor(MAX_ROWS * SHRINK_TO)];
    for (const [author, { rows }] of this.#authors) {
      for (const start of rows.keys()) {
        if (start >= oldest) continue;
        rows.delete(start);
        this.#unsaved.add(author);
      }
    }
    this.#recount();
  }

  #dropSilent() {
    const bySilence = [...this.#authors].sort(([, a], [, b]) => (b.last?.time ?? 0) - (a.last?.time ?? 0));
    for (const [author] of bySilence.slice(Math.floor(MAX_ROW_AUTHORS * SHRINK_TO))) {
      this.#authors.delete(author);
      this.#unsaved.add(author);
    }
    this.#recount();
  }

  #recount() {
    for (const known of this.#authors.values()) known.sorted = null;
    this.#size = [...this.#authors.values()].reduce((size, { rows }) => size + rows.size, 0);
  }
}

// Reads the chain into the table, and keeps the table on disk.

/** Dispatches "change" when there is more to draw. */
export class ChainHistory extends EventTarget {
  #node;
  #disk;
  #world;
  #settled = new HistoryTable();
  /** The last block in `#settled`: its height and its hash, null for none. */
  #through = { index: 0, hash: null };
  /** The blocks above it, lowest first: `{ index, hash, prevHash, readings }`. */
  #unsettled = [];
  /** Grows with each change of the chain, so that a read that began before is recognized. */
  #era = 0;
  #doubtful = false;
  #running = false;
  /** Whether the disk was read: before, nothing is counted, which would count twice, and nothing is written over it. */
  #loaded = false;
  #savedAt = -Infinity;
  #step = 4;

  /**
   * @param {object} node with `status()`, `blocks(from, to)`, `pending(limit)` and the event "chain"
   * @param {HistoryDisk | null} disk null to keep the history in memory only
   * @param {{ now?: () => number, pause?: (ms: number) => Promise<void> }} [world] overrides for tests
   */
  constructor(node, disk, { now = () => performance.now(), pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms)) } = {}) {
    super();
    this.#node = node;
    this.#disk = disk;
    this.#world = { now, pause };
    node.addEventListener("chain", ({ detail: { from } }) => {
      this.#era += 1;
      this.#unsettled = this.#unsettled.filter(({ index }) => index < from);
      this.#doubtful ||= from <= this.#through.index;
      this.run();
    });
  }

  /** Loads what is on disk, and reads what is missing. */
  async open() {
    const saved = await this.#disk?.load();
    if (saved) {
      this.#settled.restore(saved.order, saved.records);
      this.#through = saved.through;
      this.#doubtful = true;
    }
    this.#loaded = true;
    if (saved) this.dispatchEvent(new Event("change"));
    await this.run();
  }

  /** How many blocks are not read yet. */
  get missing() {
    return Math.max(0, this.#node.status().tip.index - this.#through.index - this.#unsettled.length);
  }

  /** @returns {string[]} authors in the order of their first reading: in blocks first, then in waiting readings */
  authors() {
    const order = new Set(this.#settled.order);
    for (const { readings } of this.#unsettled) for (const { author } of readings) order.add(author);
    const waiting = this.#node.pending(MAX_PENDING).sort(byTime);
    for (const { author } of waiting) order.add(author);
    return [...order].slice(0, MAX_ORDER);
  }

  /**
   * The rows of each author, with those of the newest blocks and of waiting readings. The rows of authors without these are no
   * copies, and are the same list as long as nothing changes.
   *
   * @returns {Map<string, Row[]>} oldest first; do not modify
   */
  rows() {
    const newest = new HistoryTable();
    const waiting = this.#node.pending(MAX_PENDING).sort((a, b) => a.seq - b.seq);
    const readings = [...this.#unsettled.flatMap(({ readings }) => readings), ...waiting];
    for (const author of new Set(readings.map(({ author }) => author))) newest.continueFrom(author, this.#settled.last(author));
    for (const reading of readings) newest.add(reading);
    const rows = new Map();
    for (const author of new Set([...this.#settled.authors, ...newest.authors])) {
      const [old, added] = [this.#settled.rows(author), newest.rows(author)];
      rows.set(author, added.length === 0 ? old : merged(old, added));
    }
    return rows;
  }

  /** Reads the blocks that are missing. Never rejects: the list of blocks reports what cannot be read. */
  async run() {
    if (this.#running || !this.#loaded) return;
    this.#running = true;
    try {
      let began = this.#world.now();
      while (await this.#readMore()) {
        await this.#world.pause(PAUSE_FACTOR * (this.#world.now() - began));
        began = this.#world.now();
      }
      await this.save();
    } catch {
      // The next change of the chain tries again.
    } finally {
      this.#running = false;
    }
  }

  /** Writes nothing to disk any more. */
  close() {
    this.#disk?.close();
    this.#disk = null;
  }

  /** Writes to disk what has changed, but not too often. */
  async save({ now = false } = {}) {
    if (this.#disk === null || !this.#disk.isWriter || !this.#loaded) return;
    if (!now && this.#world.now() - this.#savedAt < SAVE_EVERY_MS) return;
    this.#savedAt = this.#world.now();
    const whole = this.#disk.becameWriter();
    if (whole) this.#settled.saveAll();
    await this.#disk.save({ through: this.#through, order: [...this.#settled.order] }, this.#settled.takeUnsaved(), { whole });
  }

  /** Returns whether there may be more. */
  async #readMore() {
    if (this.#doubtful) await this.#verify();
    const { index: tip } = this.#node.status().tip;
    const from = this.#through.index + this.#unsettled.length + 1;
    if (from > tip) return false;
    const era = this.#era;
    const blocks = await this.#node.blocks(from, Math.min(tip, from + this.#step - 1));
    if (era !== this.#era) return true;
    if (blocks.length === 0) return false;
    const began = this.#world.now();
    const below = this.#unsettled.at(-1)?.hash ?? this.#through.hash;
    if (below !== null && blocks[0].prevHash !== below) {
      // The chain changed in between.
      this.#unsettled = [];
      this.#doubtful = true;
      return true;
    }
    this.#unsettled.push(...blocks.map(({ index, hash, prevHash, readings }) => ({ index, hash, prevHash, readings: readings.map(essential) })));
    this.#settle(tip);
    const took = this.#world.now() - began;
    this.#step = took > STEP_MS ? Math.max(1, this.#step >> 1) : Math.min(MAX_STEP_BLOCKS, this.#step + 1);
    this.dispatchEvent(new Event("change"));
    return true;
  }

  #settle(tip) {
    const count = this.#unsettled.findIndex(({ index }) => index > tip - UNSETTLED_BLOCKS);
    const settled = this.#unsettled.splice(0, count < 0 ? this.#unsettled.length : count);
    for (const { readings } of settled) for (const reading of readings) this.#settled.add(reading);
    const last = settled.at(-1);
    if (last !== undefined) this.#through = { index: last.index, hash: last.hash };
  }

  /** Starts over if the last settled block is no longer in the chain. */
  async #verify() {
    this.#doubtful = false;
    const { index, hash } = this.#through;
    if (index === 0) return;
    const [block] = await this.#node.blocks(index, index).catch(() => {
      this.#doubtful = true;
      throw new Error("the chain is changing");
    });
    if (block?.hash === hash) return;
    // A tab that still fetches the chain keeps what it knows.
    if (block === undefined && this.#node.status().state !== "synced") {
      this.#doubtful = true;
      throw new Error("the chain is not complete yet");
    }
    this.#settled = new HistoryTable();
    this.#through = { index: 0, hash: null };
    this.#unsettled = [];
    this.#savedAt = -Infinity;
    await this.#disk?.clear();
  }
}

/** Older readings first; those that this tab cannot read, and so have no time, come last. */
function byTime(a, b) {
  const [first, second] = [a.time ?? Infinity, b.time ?? Infinity];
  if (first !== second) return first - second;
  return a.id < b.id ? -1 : 1;
}

function essential({ author, seq, time, bpm }) {
  return { author, seq, time, bpm };
}

function merged(rows, newest) {
  const byStart = new Map(rows.map((row) => [row.start, row]));
  for (const row of newest) {
    const known = byStart.get(row.start);
    byStart.set(row.start, known === undefined ? row : addTally({ ...known }, row));
  }
  return [...byStart.values()].sort((a, b) => a.start - b.start);
}

// The database of histories: one record with the order of authors and the last block, and one for each author. A tab writes
// only while it holds the lock of its room, so that the tabs of a browser never mix their records.

const DATABASE = "heartchain-history";
const STORE = "rooms";
const HEAD = "";

export class HistoryDisk {
  #genesis;
  #locks;
  #writer = false;
  #fresh = false;
  /** @type {(() => void) | null} releases the lock */
  #release = null;

  /**
   * @param {string} genesis of the room
   * @param {LockManager | undefined} locks without locks, nothing is written
   */
  constructor(genesis, locks = globalThis.navigator?.locks) {
    this.#genesis = genesis;
    this.#locks = locks;
    const hold = () => {
      // It was closed before the lock was granted.
      if (this.#release !== null) return undefined;
      this.#writer = true;
      this.#fresh = true;
      return new Promise((resolve) => (this.#release = resolve));
    };
    locks?.request(lockOf(genesis), hold).catch(() => {});
  }

  get isWriter() {
    return this.#writer;
  }

  /** Gives the lock up, and writes nothing any more. */
  close() {
    this.#writer = false;
    this.#fresh = false;
    this.#release?.();
    this.#release = () => {};
  }

  /** Whether this tab may write since the last call, and must write everything. */
  becameWriter() {
    const fresh = this.#fresh;
    this.#fresh = false;
    return fresh;
  }

  /** @returns {Promise<{ through: object, order: string[], records: object[] } | null>} null if nothing is readable */
  async load() {
    if (this.#locks === undefined) return null;
    try {
      const store = (await database()).transaction(STORE).objectStore(STORE);
      const all = await done(store.getAll(recordsOf(this.#genesis)));
      const head = all.find(({ author }) => author === HEAD);
      return head === undefined ? null : { ...head, records: all.filter(({ author }) => author !== HEAD) };
    } catch {
      return null;
    }
  }

  /**
   * Writes all or nothing, and never rejects. After a failure, the next writing is a whole one.
   *
   * @param {object} head
   * @param {{ author: string, record: object | null }[]} changes
   * @param {{ whole?: boolean }} [how] whole: the changes are everything, and replace what is there
   */
  async save(head, changes, { whole = false } = {}) {
    try {
      const transaction = (await database()).transaction(STORE, "readwrite", { durability: "relaxed" });
      const store = transaction.objectStore(STORE);
      if (whole) store.delete(recordsOf(this.#genesis));
      for (const { author, record } of changes) {
        if (record === null) store.delete([this.#genesis, author]);
        else store.put({ genesis: this.#genesis, author, ...record });
      }
      store.put({ genesis: this.#genesis, author: HEAD, ...head });
      await committed(transaction);
    } catch {
      // The browser stores nothing at present, or the disk is full.
      this.#fresh = this.#writer;
    }
  }

  /** Forgets the room. */
  async clear() {
    this.#fresh = this.#writer;
    if (!this.#writer) return;
    await forget(this.#genesis).catch(() => {
      // What is left belongs to another chain. The next start notices that, and the next writing replaces it.
    });
  }
}

/**
 * The disk for the history of a room; null to keep it in memory only. The readings of a private room are sealed on disk, and its
 * history would not be: it is read again at each start.
 *
 * @param {object} status as the node's `status()`
 * @param {LockManager | undefined} [locks]
 */
export function historyDisk({ genesis, private: isPrivate, storage }, locks = globalThis.navigator?.locks) {
  return storage.kind === "disk" && !isPrivate ? new HistoryDisk(genesis, locks) : null;
}

async function forget(genesis) {
  const transaction = (await database()).transaction(STORE, "readwrite");
  transaction.objectStore(STORE).delete(recordsOf(genesis));
  await committed(transaction);
}

function recordsOf(genesis) {
  return IDBKeyRange.bound([genesis], [genesis, []]);
}

let opened = null;

function database() {
  if (opened === null) {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: ["genesis", "author"] });
    opened = done(request).then((found) => {
      found.onclose = () => (opened = null);
      found.onversionchange = () => {
        found.close();
        opened = null;
      };
      return found;
    });
    opened.catch(() => (opened = null));
  }
  return opened;
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function lockOf(genesis) {
  return `${DATABASE} ${genesis}`;
}

/**
 * Deletes what is kept of a room. Does nothing while a tab has the room open: that tab would only write a part of it again.
 *
 * @param {string} genesis
 * @param {LockManager | undefined} [locks] without locks, nothing was written
 * @returns {Promise<void>} rejects if the browser does not delete it
 */
export async function forgetHistory(genesis, locks = globalThis.navigator?.locks) {
  await locks?.request(lockOf(genesis), { ifAvailable: true }, async (lock) => {
    if (lock !== null) await forget(genesis);
  });
}

/** A transaction may fail after all its requests have succeeded, when the disk is full. */
function committed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
