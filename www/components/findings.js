//! Describes the results of a block's check, one sentence each. Checks nothing itself.

import { formatNumber, say } from "../strings.js";

/**
 * @param {object} block
 * @param {object} check the result of the node's `check(block)`
 * @returns {{ ok: boolean, text: string, detail: string }[]}
 */
export function findings(block, check) {
  const found = ({ ok }, key, detail = "") => ({ ok, text: say(`check.${key}${ok ? "Good" : "Bad"}`), detail });
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
    text: say(bad.length === 0 ? "check.signaturesGood" : "check.signaturesBad", values),
    detail: bad.slice(0, 3).map(({ id }) => id).join(" ") + (bad.length > 3 ? ` … ${formatNumber(bad.length - 3)}` : ""),
  };
}
