//! What a person typed into the heart-rate field, judged. Never touches the page, never rounds or repairs.

/** Slowest and fastest heart rate that the chain's rules take, in beats per minute. */
export const MIN_BPM = 20;
export const MAX_BPM = 400;

const DIGITS_ONLY = /^[0-9]+$/;

/**
 * Reads a heart rate from the text as typed: digits alone, so that "1e2", "72.5" and "-1" are refused
 * although JavaScript knows them as numbers.
 *
 * @param {string} text
 * @returns {number | null} beats per minute, or null when the text is no whole number in range
 */
export function parseBpm(text) {
  const trimmed = text.trim();
  if (!DIGITS_ONLY.test(trimmed)) return null;
  const bpm = Number(trimmed);
  return bpm >= MIN_BPM && bpm <= MAX_BPM ? bpm : null;
}
