//! The alert that says why there is no node, and what to do. Never hides again: only a reload helps.

import { element } from "../dom.js";
import { wordsOf } from "../node-words.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/**
 * Property: `failure` = `{ kind, error }`. The kind is "address" when the page's address asked for something
 * that may be wrong, "start" when it did not, and "broken" when the node ran and broke.
 */
export class FailureNotice extends LocalizedElement {
  #failure = null;

  set failure(failure) {
    this.#failure = failure;
    this.invalidate();
  }

  render() {
    if (this.#failure === null) return;
    const { kind, error } = this.#failure;
    const heading = element("strong", {}, say(kind === "broken" ? "failure.broken" : "failure.start"));
    this.hidden = false;
    this.replaceChildren(element("p", {}, heading, ` · ${wordsOf(error)}`), element("p", {}, ...advice(kind)));
  }
}

customElements.define("failure-notice", FailureNotice);

function advice(kind) {
  if (kind !== "address") return [say(`failure.${kind}Advice`)];
  const plain = element("a", { href: location.pathname }, say("failure.plain"));
  return [say("failure.addressAdvice"), " ", plain, "."];
}
