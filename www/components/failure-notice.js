//! The alert that explains why there is no node and what to do. Stays visible, because only a reload helps.

import { element } from "../dom.js";
import { errorMessage } from "../error-messages.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/**
 * Property: `failure` = `{ kind, error }`. The kind is "address" if a parameter in the page's address may be
 * wrong, "start" if there was none, and "broken" if the node failed while running.
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
    this.replaceChildren(element("p", {}, heading, ` · ${errorMessage(error)}`), element("p", {}, ...advice(kind)));
  }
}

customElements.define("failure-notice", FailureNotice);

function advice(kind) {
  if (kind !== "address") return [say(`failure.${kind}Advice`)];
  const plain = element("a", { href: location.pathname }, say("failure.plain"));
  return [say("failure.addressAdvice"), " ", plain, "."];
}
