//! Which of the chain's side branches are worth showing, and how they stand beside the best one. Never asks the node.

/** A branch is news until the best branch is this many blocks ahead of it. */
export const FORK_FRESH_BLOCKS = 6;

/** A branch of fewer blocks is daily life: two tabs found a block at the same moment. Its card says so, and no more. */
export const FORK_BLOCKS = 2;

/** Branches shown at one time. */
export const MAX_SHOWN_FORKS = 1;

/** Blocks shown of either branch, its newest. */
export const MAX_SHOWN_BLOCKS = 5;

/**
 * @param {object[]} branches as the node's `branches()`: { tip, index, fork, blocks (newest first) }
 * @param {number} tip the height of the best branch
 * @returns {{ tip: string, fork: number, ours: number[], oursLeft: number, theirs: object[], theirsLeft: number }[]}
 *   `ours` and `theirs` oldest first; what is left out stands between them and the fork
 */
export function freshForks(branches, tip) {
  return branches
    .filter(({ index, fork }) => tip - index < FORK_FRESH_BLOCKS && index - fork >= FORK_BLOCKS)
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
 * The blocks that were left beside those of the best branch.
 *
 * @param {object[]} branches as the node's `branches()`
 * @returns {Map<number, string>} by height, the hash of the one that was told first
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
