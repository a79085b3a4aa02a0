//! Where this tab stores its chain and why, in one sentence. Stores nothing itself.

import { setText } from "../dom.js";
import { storageMessage, usageMessage } from "../storage-messages.js";
import { LocalizedElement } from "./localized-element.js";

/** Property: `storage`, as in the node's `status()`. */
export class StorageLine extends LocalizedElement {
  #storage = null;

  set storage(storage) {
    this.#storage = storage;
    this.invalidate();
  }

  render() {
    if (this.#storage === null) return;
    const { failing, kind, saving } = this.#storage;
    setText(this.querySelector(".storage-words"), storageMessage(this.#storage));
    setText(this.querySelector(".storage-usage"), usageMessage(this.#storage));
    this.dataset.tone = failing ? "warning" : kind === "disk" && saving === 0 ? "good" : "busy";
  }
}

customElements.define("storage-line", StorageLine);
