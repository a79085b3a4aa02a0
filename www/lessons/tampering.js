//! Makes tampered copies of blocks and readings, as an attacker would. Never touches the original, the node or the
//! page.

import { MAX_BPM } from "../input.js";

/** By how much a heart rate is changed, in beats per minute. */
const CHANGE_BPM = 40;

/** Another heart rate within the rules, so that peers reject the copy only because it is forged. */
export function otherBpm(bpm) {
  return bpm + CHANGE_BPM <= MAX_BPM ? bpm + CHANGE_BPM : bpm - CHANGE_BPM;
}

/**
 * A copy whose first reading has another heart rate. Everything else is unchanged.
 *
 * @param {object} block as returned by the node, with at least one reading
 */
export function withChangedReading(block) {
  const copy = structuredClone(block);
  copy.readings[0].bpm = otherBpm(copy.readings[0].bpm);
  return copy;
}

/**
 * A copy with its IDs, Merkle root and hash recomputed. The work cannot be recomputed this way.
 *
 * @param {object} block
 * @param {(block: object) => Promise<object>} check `node.check`
 */
export async function withRecomputedHashes(block, check) {
  const copy = structuredClone(block);
  const { readings, root } = await check(copy);
  readings.forEach(({ computedId }, i) => (copy.readings[i].id = computedId));
  copy.readingsRoot = root.computed;
  const { hash } = await check(copy);
  copy.hash = hash.computed;
  return copy;
}

/**
 * A reading with the old signature, another heart rate and the author's next sequence number.
 *
 * @param {object} reading
 * @param {number} seq the author's next sequence number: peers would ignore a used one for that reason alone
 */
export function withOtherBpm(reading, seq) {
  return { ...reading, seq, bpm: otherBpm(reading.bpm) };
}

/**
 * A copy of a reading under another author, with that author's next sequence number.
 *
 * @param {object} reading
 * @param {string} author
 * @param {number} seq
 */
export function withOtherAuthor(reading, author, seq) {
  return { ...reading, author, seq };
}

/**
 * The results of `node.check` by name, in the order in which the lesson explains them.
 *
 * @param {object} found what `node.check` returned
 * @returns {{ name: "signature" | "root" | "hash" | "work" | "link" | "difficulty" | "time", ok: boolean }[]}
 */
export function checksOf(found) {
  const { readings, root, hash, work, link, difficulty, time } = found;
  return [
    { name: "signature", ok: readings.every((reading) => reading.signature) },
    { name: "root", ok: root.ok && readings.every((reading) => reading.id === reading.computedId) },
    { name: "hash", ok: hash.ok },
    { name: "work", ok: work.ok },
    { name: "link", ok: link.ok },
    { name: "difficulty", ok: difficulty.ok },
    { name: "time", ok: time.ok },
  ];
}
