//! The readings that wait for a block, own ones and others'. Never hides: the page would jump at each block.

import { setText } from "../dom.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";
import { fillReadings, placesOf } from "./readings.js";

/**
 * Properties: `pending` = `{ readings, count, self }`, some of the readings and how many there are; `places`, how many are
 * shown. Dispatches "more-wanted" when it has become more.
 */
export class PendingList extends LocalizedElement {
  #pending = { readings: [], count: 0, self: null };

  get places() {
    return placesOf(this.querySelector("ul"));
  }

  set pending(pending) {
    this.#pending = pending;
    this.invalidate();
  }

  languageChanged() {
    this.querySelector("ul").replaceChildren();
  }

  render() {
    const { readings, count, self } = this.#pending;
    this.classList.toggle("pending-none", count === 0);
    setText(this.querySelector("h3"), say("reading.waiting", { count }));
    fillReadings(this.querySelector("ul"), readings, count, self, () => this.dispatchEvent(new Event("more-wanted")));
  }
}

customElements.define("pending-list", PendingList);
