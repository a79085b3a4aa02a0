//! The readings that wait for a block, own ones and others'. Never hides: the page would jump at each block.

import { setText } from "../dom.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";
import { fillReadings } from "./readings.js";

/** Property: `pending` = `{ readings, self }`. */
export class PendingList extends LocalizedElement {
  #pending = { readings: [], self: null };

  set pending(pending) {
    this.#pending = pending;
    this.invalidate();
  }

  languageChanged() {
    this.querySelector("ul").replaceChildren();
  }

  render() {
    const { readings, self } = this.#pending;
    this.classList.toggle("pending-none", readings.length === 0);
    setText(this.querySelector("h3"), say("reading.waiting", { count: readings.length }));
    fillReadings(this.querySelector("ul"), readings, self);
  }
}

customElements.define("pending-list", PendingList);
