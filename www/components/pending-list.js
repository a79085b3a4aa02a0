//! The readings that wait for a block. Never hidden: otherwise the layout would jump with each block.

import { setText } from "../dom.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";
import { fillReadings, visibleLimit } from "./readings.js";

/**
 * Properties: `pending` = `{ readings, count, self }`, some of the readings and how many there are; `limit`, how many
 * are shown. Dispatches "more-requested" when the limit has grown.
 */
export class PendingList extends LocalizedElement {
  #pending = { readings: [], count: 0, self: null };

  get limit() {
    return visibleLimit(this.querySelector("ul"));
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
    fillReadings(this.querySelector("ul"), readings, count, self, () => this.dispatchEvent(new Event("more-requested")));
  }
}

customElements.define("pending-list", PendingList);
