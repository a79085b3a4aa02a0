//! How a peer or an author appears everywhere: a dot in its colour and its short name. Never shows a full id
//! but as a tooltip.

import { element } from "../dom.js";
import { hueOf, shortName } from "../peer-name.js";
import { say } from "../strings.js";

/**
 * @param {string} peerId
 * @param {boolean} own whether this is the tab's own peer
 * @returns {HTMLElement}
 */
export function nameTag(peerId, own) {
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  dot.style.setProperty("--hue", String(hueOf(peerId)));
  const tag = element("span", { class: "name-tag", title: peerId }, dot, shortName(peerId));
  if (own) tag.append(" ", element("span", { class: "own" }, say("reading.own")));
  return tag;
}
