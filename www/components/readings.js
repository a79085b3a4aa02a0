//! A list of readings, each with its author and heart rate. The number of elements is bounded: the rest is behind a
//! button.

import { element, reconcile } from "../dom.js";
import { peerIdOf } from "../peer-name.js";
import { formatTime, say } from "../strings.js";
import { nameTag } from "./name-tag.js";

/** Readings shown before the button is pressed: more would not be readable, and would slow the page down. */
const SHOWN_READINGS = 24;

/** The most readings shown after the button is pressed. */
const MAX_SHOWN_READINGS = 240;

/**
 * How many readings a list shows in its current state.
 *
 * @param {HTMLElement} list a `<ul>`
 */
export function visibleLimit(list) {
  return list.dataset.opened ? MAX_SHOWN_READINGS : SHOWN_READINGS;
}

/**
 * Fills a list. Filling it again reuses the elements of readings that stay.
 *
 * @param {HTMLElement} list a `<ul>`
 * @param {object[]} readings as returned by the node, at most `visibleLimit(list)`
 * @param {number} count how many there are in total
 * @param {string | null} self this tab's peer ID
 * @param {() => void} onMore called when the user asks for more and the limit has grown
 */
export function fillReadings(list, readings, count, self, onMore) {
  const shown = readings.slice(0, visibleLimit(list));
  const hidden = count - shown.length;
  const items = hidden <= 0 ? shown : [...shown, { id: `more ${hidden}`, hidden }];
  reconcile(list, items, (item) => item.id, (item) => (item.hidden ? moreItem(list, item.hidden, onMore) : readingItem(item, self)));
}

/** @param {object} reading @param {string | null} self */
export function readingItem({ author, bpm, time }, self) {
  const peerId = peerIdOf(author);
  const own = peerId === self;
  const value = element("data", { value: String(bpm), class: "bpm" }, say("reading.bpm", { bpm }));
  return element(
    "li",
    { class: own ? "reading reading-own" : "reading", title: formatTime(time, Date.now()) },
    nameTag(peerId, own),
    value,
  );
}

function moreItem(list, count, onMore) {
  if (list.dataset.opened) return element("li", { class: "more" }, say("chain.moreOf", { count }));
  const more = element("button", { type: "button", class: "quiet" }, say("chain.more", { count }));
  more.onclick = () => {
    list.dataset.opened = "true";
    onMore();
  };
  return element("li", {}, more);
}
