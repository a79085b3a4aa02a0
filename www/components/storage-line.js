//! Where this tab keeps its chain, in one sentence, and why there. Never stores anything.

import { setText } from "../dom.js";
import { storageWords, usageWords } from "../storage-words.js";
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
    setText(this.querySelector(".storage-words"), storageWords(this.#storage));
    setText(this.querySelector(".storage-usage"), usageWords(this.#storage));
    this.dataset.tone = failing ? "warning" : kind === "disk" && saving === 0 ? "good" : "busy";
  }
}

customElements.define("storage-line", StorageLine);
