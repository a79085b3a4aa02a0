//! What happened to this tab's blocks and readings after its branch met the others': pure functions over what the node
//! returned.

/**
 * @param {{ index: number, hash: string }[]} own the blocks this tab mined while disconnected, lowest first
 * @param {Map<number, string>} chain the hash of the best branch at each of their heights
 * @returns {{ kept: number, left: number }} how many are in the best branch, and how many were dropped
 */
export function countBlocks(own, chain) {
  const kept = own.filter(({ index, hash }) => chain.get(index) === hash).length;
  return { kept, left: own.length - kept };
}

/**
 * Where this tab's readings since the disconnect are now.
 *
 * @param {{ seq: number, index: number | null }[]} own as returned by `node.ownReadings()`
 * @param {number} fromSeq sequence number of the first reading after the disconnect
 * @returns {{ all: number, waiting: number, inChain: number }}
 */
export function countReadings(own, fromSeq) {
  const mine = own.filter(({ seq }) => seq >= fromSeq);
  const waiting = mine.filter(({ index }) => index === null).length;
  return { all: mine.length, waiting, inChain: mine.length - waiting };
}
