//! What the check of a block found, each result as a sentence. Never checks anything.

import { formatNumber, say } from "../strings.js";

/**
 * @param {object} block
 * @param {object} check what the node's `check(block)` returned
 * @returns {{ ok: boolean, words: string, detail: string }[]}
 */
export function findings(block, check) {
  const found = ({ ok }, key, detail = "") => ({ ok, words: say(`check.${key}${ok ? "Good" : "Bad"}`), detail });
  const list = [found(check.hash, "hash", check.hash.computed)];
  if (block.index > 0) {
    list.push(found(check.work, "work", check.work.target ?? ""), found(check.link, "link", check.link.expected ?? ""));
  }
  list.push(found(check.root, "root", check.root.computed));
  if (block.index > 0) {
    const { expected } = check.difficulty;
    list.push(found(check.difficulty, "difficulty", expected === null ? "" : expected.toString(16)), found(check.time, "time"));
  }
  if (check.readings.length > 0) list.push(signatures(check.readings));
  return list;
}

function signatures(readings) {
  const bad = readings.filter(({ ok }) => !ok);
  const values = { count: readings.length, bad: bad.length };
  return {
    ok: bad.length === 0,
    words: say(bad.length === 0 ? "check.signaturesGood" : "check.signaturesBad", values),
    detail: bad.slice(0, 3).map(({ id }) => id).join(" ") + (bad.length > 3 ? ` … ${formatNumber(bad.length - 3)}` : ""),
  };
}
