//! Parses and validates the text of the heart-rate field. Never rounds or corrects it.

/** The slowest and the fastest heart rate that the chain's rules accept, in beats per minute. */
export const MIN_BPM = 20;
export const MAX_BPM = 400;

const DIGITS_ONLY = /^[0-9]+$/;

/**
 * Parses a heart rate. Accepts digits only, so "1e2", "72.5" and "-1" are rejected although JavaScript parses them as
 * numbers.
 *
 * @param {string} text
 * @returns {number | null} beats per minute, or null if the text is not a whole number in range
 */
export function parseBpm(text) {
  const trimmed = text.trim();
  if (!DIGITS_ONLY.test(trimmed)) return null;
  const bpm = Number(trimmed);
  return bpm >= MIN_BPM && bpm <= MAX_BPM ? bpm : null;
}
