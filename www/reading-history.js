//! The readings that the chart draws: each author's in the order of time, each once, and never more than a bounded
//! number in all: the oldest go first. Never fetches (see `reading-feed.js`), never touches the page.

/** Readings kept in all: an hour of one reading a second from five people, at about 1 MB. */
export const MAX_READINGS = 20_000;

/** Authors kept; those who were silent longest go first. */
export const MAX_AUTHORS = 256;

/** What is kept shrinks to this share of the bound at once, so that it need not shrink at each new reading. */
const SHRUNK = 0.9;

/**
 * @typedef {{ time: number, bpm: number, seq: number, id: string }} Point
 */

export class ReadingHistory {
  /** @type {Map<string, { points: Point[], seqs: Set<number> }>} by author */
  #authors = new Map();
  #count = 0;
  #leftOutUntil = null;

  /** Readings up to this time, Unix ms, may be missing; null if nothing was left out. */
  get leftOutUntil() {
    return this.#leftOutUntil;
  }

  /** Notes that readings up to this time are not, or no longer, here. */
  leaveOut(time) {
    this.#leftOutUntil = Math.max(this.#leftOutUntil ?? time, time);
  }

  /** How many readings are kept. */
  get size() {
    return this.#count;
  }

  /**
   * Takes readings as the node gives them; those that are known already change nothing.
   *
   * @param {object[]} readings
   * @returns {boolean} whether anything was new
   */
  add(readings) {
    const before = this.#count;
    for (const reading of readings) this.#insert(reading);
    const changed = this.#count !== before;
    if (this.#count > MAX_READINGS) this.#dropOldest();
    if (this.#authors.size > MAX_AUTHORS) this.#dropSilent();
    return changed;
  }

  /** @returns {Map<string, Point[]>} each author's readings, oldest first; to look at only */
  get authors() {
    return new Map([...this.#authors].map(([author, { points }]) => [author, points]));
  }

  /** @returns {number | null} the time of the oldest reading that is kept */
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
    known.points.splice(placeAfter(known.points, time), 0, { time, bpm, seq, id });
    this.#count += 1;
  }

  #dropOldest() {
    const times = [];
    for (const { points } of this.#authors.values()) {
      for (const { time } of points) times.push(time);
    }
    times.sort((a, b) => a - b);
    let surplus = this.#count - Math.floor(MAX_READINGS * SHRUNK);
    const threshold = times[surplus - 1];
    this.leaveOut(threshold);
    for (const [author, { points, seqs }] of this.#authors) {
      const gone = points.splice(0, Math.min(surplus, placeAfter(points, threshold)));
      for (const { seq } of gone) seqs.delete(seq);
      surplus -= gone.length;
      this.#count -= gone.length;
      if (points.length === 0) this.#authors.delete(author);
    }
  }

  #dropSilent() {
    const bySilence = [...this.#authors].sort(([, a], [, b]) => b.points.at(-1).time - a.points.at(-1).time);
    for (const [author, { points }] of bySilence.slice(Math.floor(MAX_AUTHORS * SHRUNK))) {
      this.#authors.delete(author);
      this.#count -= points.length;
    }
  }
}

/**
 * The place of the first point that is later than `time`.
 *
 * @param {Point[]} points oldest first
 * @param {number} time
 */
export function placeAfter(points, time) {
  let low = 0;
  let high = points.length;
  // New readings are mostly the latest.
  if (high > 0 && points[high - 1].time <= time) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (points[middle].time <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}
