//! A block as a card of fixed height: its number, its hash and the previous hash, and as many readings as fit. The
//! dialog shows the rest.

import { element } from "../dom.js";
import { peerIdOf } from "../peer-name.js";
import { formatTime, say } from "../strings.js";
import { readingItem } from "./readings.js";

/** Hex digits shown at each end of a hash: the zeros of its work, and enough to compare it with the next card's. */
const HASH_START = 8;
const HASH_END = 6;

/** The largest width of a reading on a card, and the extra width of the "you" mark, in rem. */
const READING_REM = 10.4;
const OWN_MARK_REM = 2.4;

/** The width of the count of hidden readings, in rem. */
const MORE_REM = 3.5;

/**
 * @param {object} block
 * @param {string | undefined} rival the hash of a dropped block at the same height
 * @param {string} self this tab's peer ID
 * @param {{ width: number, lines: number }} space the space for readings, in rem and lines
 * @returns {HTMLElement}
 */
export function blockCard(block, rival, self, space) {
  const { index, readings, time } = block;
  const head = headOf(index);
  if (index > 0) {
    head.append(
      element("span", { class: "count" }, say("chain.readings", { count: readings.length })),
      element("time", { datetime: new Date(time).toISOString() }, formatTime(time, Date.now())),
    );
  }
  if (rival !== undefined) {
    const mark = element("span", { class: "rival", title: say("fork.rival", { hash: rival }) }, say("fork.badge"));
    mark.append(element("code", {}, ` ${shortHash(rival)}`));
    head.querySelector("h3").after(mark);
  }
  const card = element("article", { class: "block" }, head, hashLine(block));
  card.append(index === 0 ? element("p", { class: "hint" }, say("chain.genesis")) : readingLine(readings, self, space));
  return card;
}

/** A placeholder until the block has been fetched. */
export function placeholderCard(index) {
  return element("article", { class: "block block-unread" }, headOf(index));
}

/** @param {string} hash @returns {string} */
function shortHash(hash) {
  return `${hash.slice(0, HASH_START)}…${hash.slice(-HASH_END)}`;
}

function headOf(index) {
  const open = element("button", { type: "button", class: "block-open", tabindex: "-1" }, say("chain.block", { index }));
  return element("header", {}, element("h3", {}, open));
}

function hashLine({ hash, prevHash }) {
  return element(
    "dl",
    { class: "hashes" },
    element("div", {}, element("dt", {}, say("chain.hash")), element("dd", {}, shortHash(hash))),
    element("div", {}, element("dt", {}, say("chain.previous")), element("dd", {}, shortHash(prevHash))),
  );
}

function readingLine(readings, self, space) {
  const shown = readings.slice(0, fitting(readings, self, space));
  const list = element("ul", { class: "readings", role: "list" }, ...shown.map((reading) => readingItem(reading, self)));
  const line = element("div", { class: "reading-line" }, list);
  const more = readings.length - shown.length;
  if (more > 0) line.append(element("span", { class: "more" }, say("chain.moreOf", { count: more })));
  return line;
}

/** How many readings fit, at least one. */
function fitting(readings, self, { width, lines }) {
  let count = 0;
  for (let line = 0; line < lines; line += 1) {
    let left = width - (line === lines - 1 ? MORE_REM : 0);
    while (count < readings.length) {
      left -= READING_REM + (peerIdOf(readings[count].author) === self ? OWN_MARK_REM : 0);
      if (left < 0) break;
      count += 1;
    }
  }
  return Math.max(1, count);
}
