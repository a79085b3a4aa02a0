//! A list of readings, each with its author and its heart rate. Never builds more elements than fit a page:
//! what is over the bound waits behind a button.

import { element, reconcile } from "../dom.js";
import { peerIdOf } from "../peer-name.js";
import { formatTime, say } from "../strings.js";
import { nameTag } from "./name-tag.js";

/** Readings shown before the button: more at one time tell a person nothing, and cost the page its pace. */
const SHOWN_READINGS = 24;

/** Readings shown after it. */
const MOST_READINGS = 240;

/**
 * How many readings a list shows as it is.
 *
 * @param {HTMLElement} list a `<ul>`
 */
export function placesOf(list) {
  return list.dataset.opened ? MOST_READINGS : SHOWN_READINGS;
}

/**
 * Fills a list. Lists that change are filled again, and keep the items that stay.
 *
 * @param {HTMLElement} list a `<ul>`
 * @param {object[]} readings as the node gives them: as many as there are places
 * @param {number} count how many there are in all
 * @param {string | null} self the PeerId of this tab
 * @param {() => void} onMore called when a person wants to see more of them, and there are places for more
 */
export function fillReadings(list, readings, count, self, onMore) {
  const shown = readings.slice(0, placesOf(list));
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
