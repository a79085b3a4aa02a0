//! Taking the chain along and bringing one back: buttons for export, a field for import, and what came of it. Never
//! makes or reads a file itself: it dispatches "export-wanted" and "import-wanted".

import { setText } from "../dom.js";
import { wordsOf } from "../node-words.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/**
 * Dispatches "export-wanted" with `{ format }` ("json" or "csv") and "import-wanted" with `{ file }`; answer both with
 * `tell(key, values, error)`.
 */
export class DataPanel extends LocalizedElement {
  #told = null;

  connectedCallback() {
    super.connectedCallback();
    for (const button of this.querySelectorAll("[data-format]")) {
      button.onclick = () => this.#wish("export-wanted", { format: button.dataset.format });
    }
    const field = this.querySelector("input[type=file]");
    field.onchange = () => {
      const [file] = field.files;
      if (file) this.#wish("import-wanted", { file });
      // So that the same file can be chosen again.
      field.value = "";
    };
  }

  /** Says what came of a wish; with an error, the sentence has its words as its reason. */
  tell(key, values = {}, error = null) {
    this.#told = { key, values, error };
    this.invalidate();
  }

  render() {
    const line = this.querySelector(".data-result");
    const { key, values, error = null } = this.#told ?? {};
    const reason = error === null ? {} : { reason: wordsOf(error) };
    setText(line, key === undefined ? "" : say(key, { ...values, ...reason }));
    line.classList.toggle("error", error !== null);
  }

  #wish(name, detail) {
    this.tell(name === "import-wanted" ? "data.importing" : "data.exporting");
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

customElements.define("data-panel", DataPanel);
