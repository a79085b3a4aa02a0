//! What a block's compact target means for a person. Never checks anything: the node does.

/**
 * How many hashes it takes on average to meet a target.
 *
 * @param {number} bits the target in compact form: a byte of length and three of its first bytes
 * @returns {number}
 */
export function expectedHashes(bits) {
  const length = bits >>> 24;
  const mantissa = bits & 0x00ff_ffff;
  if (mantissa === 0) return Infinity;
  // 2^256 / (mantissa * 256^(length - 3)), as far as a number is exact.
  return 2 ** (256 - 8 * (length - 3)) / mantissa;
}
