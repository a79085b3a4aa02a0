//! Converts a block's compact target to an expected number of hashes, for display. The node does all verification.

/**
 * The average number of hashes needed to meet a target.
 *
 * @param {number} bits the target in compact form: one byte of length and the three leading bytes
 * @returns {number}
 */
export function expectedHashes(bits) {
  const length = bits >>> 24;
  const mantissa = bits & 0x00ff_ffff;
  if (mantissa === 0) return Infinity;
  // 2^256 / (mantissa * 256^(length - 3)), within the precision of a double.
  return 2 ** (256 - 8 * (length - 3)) / mantissa;
}
