//! Turns a strap's measurements, about one per second, into one reading every few seconds: the mean since the previous
//! reading, rounded to a whole beat. Knows no strap, clock or timer.

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

/** @param {import("./strap.js").Measurement} measurement @returns {boolean} whether it may count towards a reading */
export function isUsable({ bpm, contact }) {
  return contact !== false && bpm >= MIN_BPM && bpm <= MAX_BPM;
}

/** Keeps only a sum and a count, so its memory does not depend on the interval. */
export class StrapSampler {
  #intervalMs = DEFAULT_INTERVAL_S * 1000;
  #due = null;
  #sum = 0;
  #count = 0;

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
    this.#sum = 0;
    this.#count = 0;
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
    if (isUsable(measurement)) {
      this.#sum += measurement.bpm;
      this.#count += 1;
    }
    if (now < this.#due) return null;
    // Readings are due on a fixed grid, so that slightly late measurements do not make them rarer. After a gap, missed
    // readings are not made up for.
    this.#due = Math.max(this.#due + this.#intervalMs, now);
    if (this.#count === 0) return null;
    const mean = Math.round(this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
    return mean;
  }
}
