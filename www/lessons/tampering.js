//! Copies of blocks and readings with something changed in them, as somebody who wants to cheat would make them.
//! Never touches the original, the node or the page.

import { MAX_BPM } from "../bpm.js";

/** By how much a heart rate is changed, in beats a minute. */
const CHANGE_BPM = 40;

/** Another heart rate, and one that the rules take: what is refused is refused for the lie alone. */
export function otherBpm(bpm) {
  return bpm + CHANGE_BPM <= MAX_BPM ? bpm + CHANGE_BPM : bpm - CHANGE_BPM;
}

/**
 * A copy in which the first reading says another heart rate, and everything else is as it was.
 *
 * @param {object} block as the node gives it, with at least one reading
 */
export function withOtherReading(block) {
  const copy = structuredClone(block);
  copy.readings[0].bpm = otherBpm(copy.readings[0].bpm);
  return copy;
}

/**
 * A copy whose root and hash are made to fit again, as far as sums go: the work cannot be made up for.
 *
 * @param {object} block
 * @param {(block: object) => Promise<object>} check `node.check`
 */
export async function withFittingSums(block, check) {
  const copy = structuredClone(block);
  const { readings, root } = await check(copy);
  readings.forEach(({ computedId }, place) => (copy.readings[place].id = computedId));
  copy.readingsRoot = root.computed;
  const { hash } = await check(copy);
  copy.hash = hash.computed;
  return copy;
}

/**
 * A new reading in somebody's name: another heart rate under an old signature, at the place that is next.
 *
 * @param {object} reading
 * @param {number} seq its author's next place; one that is taken would be left aside for that alone
 */
export function withOtherBpm(reading, seq) {
  return { ...reading, seq, bpm: otherBpm(reading.bpm) };
}

/**
 * A copy of a reading under another's name, at the place that is next there.
 *
 * @param {object} reading
 * @param {string} author
 * @param {number} seq
 */
export function withOtherAuthor(reading, author, seq) {
  return { ...reading, author, seq };
}

/**
 * What of a check fails, by name, in the order in which a person follows it.
 *
 * @param {object} found what `node.check` found
 * @returns {{ sum: "signature" | "root" | "hash" | "work" | "link" | "difficulty" | "time", ok: boolean }[]}
 */
export function sumsOf(found) {
  const { readings, root, hash, work, link, difficulty, time } = found;
  return [
    { sum: "signature", ok: readings.every((reading) => reading.signature) },
    { sum: "root", ok: root.ok && readings.every((reading) => reading.id === reading.computedId) },
    { sum: "hash", ok: hash.ok },
    { sum: "work", ok: work.ok },
    { sum: "link", ok: link.ok },
    { sum: "difficulty", ok: difficulty.ok },
    { sum: "time", ok: time.ok },
  ];
}
