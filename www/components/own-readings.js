//! The readings recorded in this tab, newest first, with the progress of each. Hidden while empty.

import { element, reconcile, setText } from "../dom.js";
import { ReadingTracker } from "../reading-tracker.js";
import { formatNumber, formatTime, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** The most readings requested and shown. */
export const MAX_OWN_SHOWN = 4;

/** Confirmations at which a reading counts as settled and its bar is full. */
const SETTLED_CONFIRMATIONS = 6;

/** Property: `own` = `{ readings, tip }`, the result of the node's `ownReadings()` and the height of its tip. */
export class OwnReadings extends LocalizedElement {
  #tracker = new ReadingTracker();
  #own = [];

  set own({ readings, tip }) {
    this.#own = this.#tracker.follow(readings, tip);
    this.invalidate();
  }

  languageChanged() {
    this.querySelector("ul").replaceChildren();
  }

  render() {
    this.hidden = this.#own.length === 0;
    reconcile(this.querySelector("ul"), this.#own, ({ id }) => id, makeItem, updateItem);
  }
}

customElements.define("own-readings", OwnReadings);

function makeItem(reading) {
  const { bpm, time } = reading;
  const item = element(
    "li",
    { class: "life" },
    element("strong", { class: "life-bpm" }, formatNumber(bpm)),
    element(
      "span",
      { class: "life-line" },
      element("span", { class: "life-words" }),
      element("time", { datetime: new Date(time).toISOString() }, formatTime(time, Date.now())),
    ),
    element("span", { class: "life-bar", "aria-hidden": "true" }),
  );
  updateItem(item, reading);
  return item;
}

function updateItem(item, { stage, index, confirmations }) {
  item.dataset.stage = stage;
  setText(item.querySelector(".life-words"), say(`life.${stage}`, { index, count: confirmations }));
  item.style.setProperty("--progress", String(Math.min(1, confirmations / SETTLED_CONFIRMATIONS)));
}
