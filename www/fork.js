//! Selects the side branches worth showing and lays them out next to the best branch. Never asks the node.

/** A branch is shown until the best branch is this many blocks ahead of it. */
export const RECENT_FORK_BLOCKS = 6;

/** A shorter branch is routine: two tabs found a block at the same time. Only the card of the block mentions it. */
export const MIN_FORK_BLOCKS = 2;

/** The most branches shown at a time. */
export const MAX_SHOWN_FORKS = 1;

/** The most blocks shown per branch: its newest. */
export const MAX_SHOWN_BLOCKS = 5;

/**
 * @param {object[]} branches as the node's `branches()`: { tip, index, fork, blocks (newest first) }
 * @param {number} tip the height of the best branch
 * @returns {{ tip: string, fork: number, ours: number[], oursLeft: number, theirs: object[], theirsLeft: number }[]}
 *   `ours` and `theirs` are oldest first; the omitted blocks lie between them and the fork
 */
export function recentForks(branches, tip) {
  return branches
    .filter(({ index, fork }) => tip - index < RECENT_FORK_BLOCKS && index - fork >= MIN_FORK_BLOCKS)
    .toSorted((a, b) => b.index - a.index)
    .slice(0, MAX_SHOWN_FORKS)
    .map((branch) => {
      const length = tip - branch.fork;
      const shown = Math.min(length, MAX_SHOWN_BLOCKS);
      const theirs = branch.blocks.slice(0, MAX_SHOWN_BLOCKS).toReversed();
      return {
        tip: branch.tip,
        fork: branch.fork,
        ours: Array.from({ length: shown }, (_, i) => tip - shown + 1 + i),
        oursLeft: length - shown,
        theirs,
        theirsLeft: branch.index - branch.fork - theirs.length,
      };
    });
}

/**
 * The blocks of side branches, by height.
 *
 * @param {object[]} branches as the node's `branches()`
 * @returns {Map<number, string>} the hash of the first one reported at each height
 */
export function rivals(branches) {
  const found = new Map();
  for (const { blocks, fork } of branches) {
    for (const { index, hash } of blocks) {
      if (index > fork && !found.has(index)) found.set(index, hash);
    }
  }
  return found;
}
