//! What became of two branches that met: whose blocks stayed, and where the readings of the others are. Never asks the
//! node: it is given what the node said.

/**
 * @typedef {object} Parted where this tab stood when it was cut off
 * @property {{ index: number, hash: string }} at its tip then
 * @property {number} now the height of its tip, alone
 */

/**
 * @param {{ index: number, hash: string }[]} alone the blocks that this tab made alone, lowest first
 * @param {Map<number, string>} chain the hash that the best branch has at each of their heights
 * @returns {{ kept: number, left: number }} how many of them stayed, and how many were left for others
 */
export function whoseBlocks(alone, chain) {
  const kept = alone.filter(({ index, hash }) => chain.get(index) === hash).length;
  return { kept, left: alone.length - kept };
}

/**
 * Where this tab's own readings of that time are now.
 *
 * @param {{ seq: number, index: number | null }[]} own as `node.ownReadings()` gives them
 * @param {number} fromSeq the first one that was recorded alone
 * @returns {{ all: number, waiting: number, inChain: number }}
 */
export function whereabouts(own, fromSeq) {
  const mine = own.filter(({ seq }) => seq >= fromSeq);
  const waiting = mine.filter(({ index }) => index === null).length;
  return { all: mine.length, waiting, inChain: mine.length - waiting };
}
