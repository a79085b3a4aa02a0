//! From a strap's measurements, about one a second, to one reading every few seconds: the mean of what was measured
//! since the reading before, rounded to a whole beat. Never knows a strap, a clock or a timer.

import { MAX_BPM, MIN_BPM } from "./bpm.js";

/** Bounds and default of the time between two readings, in s. */
export const MIN_INTERVAL_S = 1;
export const MAX_INTERVAL_S = 60;
const DEFAULT_INTERVAL_S = 5;

const DIGITS_ONLY = /^[0-9]+$/;

/**
 * @param {string} text as typed
 * @returns {number | null} seconds, or null when the text is no whole number in range
 */
export function parseInterval(text) {
  const trimmed = text.trim();
  if (!DIGITS_ONLY.test(trimmed)) return null;
  const seconds = Number(trimmed);
  return seconds >= MIN_INTERVAL_S && seconds <= MAX_INTERVAL_S ? seconds : null;
}

/** @param {import("./strap.js").Measurement} measurement whether it may become part of a reading */
export function isUsable({ bpm, contact }) {
  return contact !== false && bpm >= MIN_BPM && bpm <= MAX_BPM;
}

/** Holds a sum and a count, however long the interval. */
export class StrapSampler {
  #intervalMs = DEFAULT_INTERVAL_S * 1000;
  #due = null;
  #sum = 0;
  #count = 0;

  /** Takes effect with the reading that comes next. */
  set intervalS(seconds) {
    const before = this.#intervalMs;
    this.#intervalMs = seconds * 1000;
    if (this.#due !== null) this.#due += this.#intervalMs - before;
  }

  get intervalS() {
    return this.#intervalMs / 1000;
  }

  /** Forgets what was measured: after a pause, old values are no part of a new reading. */
  reset() {
    this.#due = null;
    this.#sum = 0;
    this.#count = 0;
  }

  /**
   * Takes a measurement.
   *
   * @param {import("./strap.js").Measurement} measurement one that is not usable is left out
   * @param {number} now ms, from any clock that never goes back
   * @returns {number | null} the reading that is due, in beats per minute
   */
  take(measurement, now) {
    this.#due ??= now + this.#intervalMs;
    if (isUsable(measurement)) {
      this.#sum += measurement.bpm;
      this.#count += 1;
    }
    if (now < this.#due) return null;
    // On a grid, so that measurements which come a little late do not make readings rarer; not to be made up for
    // after a gap.
    this.#due = Math.max(this.#due + this.#intervalMs, now);
    if (this.#count === 0) return null;
    const mean = Math.round(this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
    return mean;
  }
}
