//! The state of this tab's node in one sentence. Screen readers hear each state only once.

import { element } from "../dom.js";
import { statusSentence } from "../status-sentence.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** The separator between the parts of the sentence. */
const SEPARATOR = " · ";

/** Properties: `node` = `{ status, peers }` as returned by the node, or null while it starts; `failed`. */
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
    this.#setSentence(sentence);
    this.dataset.tone = tone;
  }

  /** Wraps each part in a span, so that lines break between parts if possible. */
  #setSentence(sentence) {
    const text = this.querySelector(".status-text");
    if (text.textContent === sentence) return;
    const parts = sentence.split(SEPARATOR).map((part, i, { length }) => (i < length - 1 ? `${part} ·` : part));
    text.replaceChildren(...parts.flatMap((part, i) => (i === 0 ? [partOf(part)] : [" ", partOf(part)])));
  }
}

customElements.define("status-line", StatusLine);

function partOf(text) {
  return element("span", { class: "status-part" }, text);
}
