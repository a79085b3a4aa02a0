//! How long a block takes at a pace: the arithmetic under the lesson about mining. Never mines.

/** Hashes there are: SHA-256 has 2^256 outcomes. */
const OUTCOMES = 2 ** 256;

/** Paces to choose from, in hashes a second; null: as fast as this computer can. */
export const PACES = [null, 20_000, 2_000, 200];

/**
 * Tries that a block takes on average: one in so many hashes is at most the target.
 *
 * @param {string | null} target in hex, null for none
 * @returns {number | null}
 */
export function expectedTries(target) {
  return target === null ? null : OUTCOMES / Number(BigInt(`0x${target}`) + 1n);
}

/**
 * @param {number | null} tries
 * @param {number | null} pace hashes a second, null if unknown
 * @returns {number | null} ms that so many tries take on average
 */
export function expectedMs(tries, pace) {
  return tries === null || pace === null || pace <= 0 ? null : (tries / pace) * 1000;
}
