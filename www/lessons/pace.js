//! Estimates how long a block takes at a given hash rate, for the lesson about mining. Never mines.

/** The number of SHA-256 outputs. */
const OUTCOMES = 2 ** 256;

/** Limits to choose from, in hashes per second; null for no limit. */
export const PACES = [null, 20_000, 2_000, 200];

/**
 * The average number of tries for a block: one in this many hashes is at most the target.
 *
 * @param {string | null} target in hex, null if there is no target
 * @returns {number | null}
 */
export function expectedTries(target) {
  return target === null ? null : OUTCOMES / Number(BigInt(`0x${target}`) + 1n);
}

/**
 * @param {number | null} tries
 * @param {number | null} pace hashes per second, null if unknown
 * @returns {number | null} the average time for that many tries in ms
 */
export function expectedMs(tries, pace) {
  return tries === null || pace === null || pace <= 0 ? null : (tries / pace) * 1000;
}
