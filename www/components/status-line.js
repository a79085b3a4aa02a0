//! One sentence that tells the truth about this tab's node. Never speaks twice of the same state.

import { element } from "../dom.js";
import { statusSentence } from "../status-sentence.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** What stands between the parts of the sentence. */
const BETWEEN = " · ";

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
    this.#say(sentence);
    this.dataset.tone = tone;
  }

  /** Lines end between the parts of the sentence, where they can. */
  #say(sentence) {
    const text = this.querySelector(".status-text");
    if (text.textContent === sentence) return;
    const parts = sentence.split(BETWEEN).map((part, i, { length }) => (i < length - 1 ? `${part} ·` : part));
    text.replaceChildren(...parts.flatMap((part, i) => (i === 0 ? [partOf(part)] : [" ", partOf(part)])));
  }
}

customElements.define("status-line", StatusLine);

function partOf(words) {
  return element("span", { class: "status-part" }, words);
}
