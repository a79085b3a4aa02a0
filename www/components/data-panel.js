//! Export and import of the chain: the buttons, the file field and the result. Reads and writes no file itself: it
//! dispatches "export-requested" and "import-requested".

import { setText } from "../dom.js";
import { errorMessage } from "../error-messages.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/**
 * Dispatches "export-requested" with `{ format }` ("json" or "csv") and "import-requested" with `{ file }`; reply to
 * both with `showResult(key, values, error)`.
 */
export class DataPanel extends LocalizedElement {
  #result = null;

  connectedCallback() {
    super.connectedCallback();
    for (const button of this.querySelectorAll("[data-format]")) {
      button.onclick = () => this.#request("export-requested", { format: button.dataset.format });
    }
    const field = this.querySelector("input[type=file]");
    field.onchange = () => {
      const [file] = field.files;
      if (file) this.#request("import-requested", { file });
      // Allows choosing the same file again.
      field.value = "";
    };
  }

  /** Shows the result of a request. With an error, its message is the text's `reason`. */
  showResult(key, values = {}, error = null) {
    this.#result = { key, values, error };
    this.invalidate();
  }

  render() {
    const line = this.querySelector(".data-result");
    const { key, values, error = null } = this.#result ?? {};
    const reason = error === null ? {} : { reason: errorMessage(error) };
    setText(line, key === undefined ? "" : say(key, { ...values, ...reason }));
    line.classList.toggle("error", error !== null);
  }

  #request(name, detail) {
    this.showResult(name === "import-requested" ? "data.importing" : "data.exporting");
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

customElements.define("data-panel", DataPanel);
