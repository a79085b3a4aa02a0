//! Where this tab keeps its chain, in one sentence, and why there. Never stores anything.

import { setText } from "../dom.js";
import { formatBytes, say } from "../strings.js";
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
    const { failing, kind } = this.#storage;
    setText(this.querySelector(".storage-words"), storageWords(this.#storage));
    setText(this.querySelector(".storage-usage"), usageWords(this.#storage));
    this.dataset.tone = failing ? "warning" : kind === "disk" ? "good" : "busy";
  }
}

customElements.define("storage-line", StorageLine);

function storageWords({ kind, reason, persisted, failing, unchecked }) {
  if (failing) return say("storage.failing");
  if (unchecked > 0) return say("storage.checking", { blocks: unchecked });
  if (kind === "disk") return say(persisted === true ? "storage.persisted" : "storage.disk");
  return reason === null ? say("storage.memory") : `${say("storage.memory")} ${say(`storage.because-${reason}`)}`;
}

function usageWords({ usage, quota }) {
  if (usage === null || quota === null) return "";
  return say("storage.usage", { usage: formatBytes(usage), quota: formatBytes(quota) });
}
