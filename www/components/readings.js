//! A list of readings, each with its author and its heart rate. Never builds more elements than fit a page:
//! what is over the bound waits behind a button.

import { element, reconcile } from "../dom.js";
import { peerIdOf } from "../peer-name.js";
import { formatTime, say } from "../strings.js";
import { nameTag } from "./name-tag.js";

/** Readings shown before the button: more at one time tell a person nothing, and cost the page its pace. */
export const SHOWN_READINGS = 24;

/**
 * Fills a list. Lists that change are filled again, and keep the items that stay.
 *
 * @param {HTMLElement} list a `<ul>`
 * @param {object[]} readings as the node gives them
 * @param {string | null} self the PeerId of this tab
 */
export function fillReadings(list, readings, self) {
  const most = list.dataset.opened ? 10 * SHOWN_READINGS : SHOWN_READINGS;
  const shown = readings.slice(0, most);
  const hidden = readings.length - shown.length;
  const items = hidden === 0 ? shown : [...shown, { id: `more ${hidden}`, hidden }];
  reconcile(list, items, (item) => item.id, (item) => (item.hidden ? moreItem(list, readings, self, item.hidden) : readingItem(item, self)));
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

function moreItem(list, readings, self, count) {
  if (list.dataset.opened) return element("li", { class: "more" }, say("chain.moreOf", { count }));
  const more = element("button", { type: "button", class: "quiet" }, say("chain.more", { count }));
  more.onclick = () => {
    list.dataset.opened = "true";
    fillReadings(list, readings, self);
  };
  return element("li", {}, more);
}
