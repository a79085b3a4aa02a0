//! The tag for a peer or an author: a dot in its colour and its short name. The full peer ID is only in the tooltip.

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
 * Sets a peer's hue and shade on an element; the stylesheets compute the colour.
 *
 * @param {HTMLElement | SVGElement} target
 * @param {string} peerId
 */
export function colour(target, peerId) {
  target.style.setProperty("--hue", String(hueOf(peerId)));
  target.style.setProperty("--shade", String(shadeOf(peerId)));
}
