//! How a peer or an author appears everywhere: a dot in its colour and its short name. Never shows a full id
//! but as a tooltip.

import { element } from "../dom.js";
import { hueOf, shadeOf, shortName } from "../peer-name.js";
import { say } from "../strings.js";

/**
 * @param {string} peerId
 * @param {boolean} own whether this is the tab's own peer
 * @returns {HTMLElement}
 */
export function nameTag(peerId, own) {
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  colour(dot, peerId);
  const tag = element("span", { class: "name-tag", title: peerId }, dot, shortName(peerId));
  if (own) tag.append(" ", element("span", { class: "own" }, say("reading.own")));
  return tag;
}

/**
 * Gives an element the colour of a peer; the page's design makes of it what it needs.
 *
 * @param {HTMLElement | SVGElement} target
 * @param {string} peerId
 */
export function colour(target, peerId) {
  target.style.setProperty("--hue", String(hueOf(peerId)));
  target.style.setProperty("--shade", String(shadeOf(peerId)));
}
