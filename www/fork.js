//! Which of the chain's side branches are worth showing, and how they stand beside the best one. Never asks the node.

/** A branch is news until the best branch is this many blocks ahead of it. */
export const FORK_FRESH_BLOCKS = 6;

/** Branches shown at one time. */
export const MAX_SHOWN_FORKS = 2;

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
    .filter((branch) => tip - branch.index < FORK_FRESH_BLOCKS)
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
