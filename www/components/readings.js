//! A list of readings, each with its author and its heart rate. Never builds more elements than fit a page:
//! what is over the bound waits behind a button.

import { element, reconcile } from "../dom.js";
import { peerIdOf } from "../peer-name.js";
import { say } from "../strings.js";
import { nameTag } from "./name-tag.js";

/** Readings shown of one block before the button: a page of 50 full blocks then shows 2,400, not 51,200. */
export const SHOWN_READINGS = 48;

/**
 * Fills a list. Lists that change are filled again, and keep the items that stay.
 *
 * @param {HTMLElement} list a `<ul>`
 * @param {object[]} readings as the node gives them
 * @param {string | null} self the PeerId of this tab
 */
export function fillReadings(list, readings, self) {
  const shown = list.dataset.opened ? readings : readings.slice(0, SHOWN_READINGS);
  reconcile(list, shown, (reading) => reading.id, (reading) => readingItem(reading, self));
  const hidden = readings.length - shown.length;
  if (hidden === 0) return;
  const more = element("button", { type: "button", class: "quiet" }, say("chain.more", { count: hidden }));
  more.onclick = () => {
    list.dataset.opened = "true";
    fillReadings(list, readings, self);
  };
  list.append(element("li", {}, more));
}

function readingItem({ author, bpm, time }, self) {
  const peerId = peerIdOf(author);
  const own = peerId === self;
  const value = element("data", { value: String(bpm), class: "bpm" }, say("reading.bpm", { bpm }));
  return element(
    "li",
    { class: own ? "reading reading-own" : "reading", title: new Date(time).toLocaleString() },
    nameTag(peerId, own),
    value,
  );
}
