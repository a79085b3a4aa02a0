//! One sentence that tells the truth about this tab's node. Never speaks twice of the same state.

import { setText } from "../dom.js";
import { statusSentence } from "../status-sentence.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** Properties: `node` = `{ status, peers }` as the node says, or null while it starts; `failed`. */
export class StatusLine extends LocalizedElement {
  #node = null;
  #failed = false;

  set node(node) {
    this.#node = node;
    this.invalidate();
  }

  set failed(failed) {
    this.#failed = failed;
    this.invalidate();
  }

  render() {
    const { sentence, tone } = this.#failed
      ? { sentence: say("status.failed"), tone: "warning" }
      : statusSentence(this.#node?.status ?? null, this.#node?.peers ?? [], say);
    setText(this.querySelector(".status-text"), sentence);
    this.dataset.tone = tone;
  }
}

customElements.define("status-line", StatusLine);
