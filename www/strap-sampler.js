//! Turns a strap's measurements, about one per second, into one reading every few seconds: the median since the
//! previous reading, which one wrong value does not move. Knows no strap, clock or timer.

import { MAX_BPM, MIN_BPM } from "./input.js";

/** Bounds and default of the interval between two readings, in seconds. */
export const MIN_INTERVAL_S = 1;
export const MAX_INTERVAL_S = 60;
const DEFAULT_INTERVAL_S = 5;

const DIGITS_ONLY = /^[0-9]+$/;

/**
 * @param {string} text as typed
 * @returns {number | null} seconds, or null if the text is not a whole number in range
 */
export function parseInterval(text) {
  const trimmed = text.trim();
  if (!DIGITS_ONLY.test(trimmed)) return null;
  const seconds = Number(trimmed);
  return seconds >= MIN_INTERVAL_S && seconds <= MAX_INTERVAL_S ? seconds : null;
}

/** The most measurements that one reading takes into account: eight a second for the longest interval. */
export const MAX_MEASUREMENTS = 480;

/**
 * @param {import("./strap.js").Measurement} measurement
 * @param {boolean} [anyContact] counts it although the strap says that it does not touch the skin: some always say so
 * @returns {boolean} whether it may count towards a reading
 */
export function isUsable({ bpm, contact }, anyContact = false) {
  return (anyContact || contact !== false) && bpm >= MIN_BPM && bpm <= MAX_BPM;
}

export class StrapSampler {
  /** Whether measurements without skin contact count. */
  anyContact = false;
  #intervalMs = DEFAULT_INTERVAL_S * 1000;
  #due = null;
  /** @type {number[]} usable heart rates since the last reading, at most MAX_MEASUREMENTS, oldest first */
  #bpms = [];

  /** Takes effect with the next reading. */
  set intervalS(seconds) {
    const before = this.#intervalMs;
    this.#intervalMs = seconds * 1000;
    if (this.#due !== null) this.#due += this.#intervalMs - before;
  }

  get intervalS() {
    return this.#intervalMs / 1000;
  }

  /** Discards all measurements: after a pause, old values must not count towards a new reading. */
  reset() {
    this.#due = null;
    this.#bpms = [];
  }

  /**
   * Adds a measurement.
   *
   * @param {import("./strap.js").Measurement} measurement unusable ones are skipped
   * @param {number} now ms, from any monotonic clock
   * @returns {number | null} the reading if one is due, in beats per minute
   */
  take(measurement, now) {
    this.#due ??= now + this.#intervalMs;
    if (isUsable(measurement, this.anyContact)) {
      if (this.#bpms.length === MAX_MEASUREMENTS) this.#bpms.shift();
      this.#bpms.push(measurement.bpm);
    }
    if (now < this.#due) return null;
    // Readings are due on a fixed grid, so that slightly late measurements do not make them rarer. After a gap, missed
    // readings are not made up for.
    this.#due = Math.max(this.#due + this.#intervalMs, now);
    if (this.#bpms.length === 0) return null;
    const median = medianOf(this.#bpms);
    this.#bpms = [];
    return median;
  }
}

/** The middle value, rounded to a whole beat. */
function medianOf(bpms) {
  const sorted = bpms.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : Math.round((sorted[middle - 1] + sorted[middle]) / 2);
}
