//! The readings that the chart draws: by author, in order of time, without duplicates. The total is bounded; the oldest
//! are dropped first. Never fetches (see `reading-feed.js`), never touches the page.

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
    for (const reading of readings) this.#insert(reading);
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
    const times = [];
    for (const { points } of this.#authors.values()) {
      for (const { time } of points) times.push(time);
    }
    times.sort((a, b) => a - b);
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
