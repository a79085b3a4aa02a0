//! What the lessons share: built once so that the focus stays where it is, drawn again with each state and language.
//! Never does anything itself: it dispatches wishes.

import { element, reconcile } from "../dom.js";
import { say, translate } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** Property `state`, of a LessonMode. Dispatches "lesson-wish" (it bubbles) with `{ name, values }`. */
export class LessonCard extends LocalizedElement {
  #state = null;
  #topic;

  /** @param {string} topic what the keys of its words begin with */
  constructor(topic) {
    super();
    this.#topic = topic;
  }

  set state(state) {
    this.#state = state;
    this.invalidate();
  }

  get state() {
    return this.#state;
  }

  connectedCallback() {
    if (this.childElementCount === 0) {
      this.append(
        element("h2", { "data-say": `${this.#topic}.heading` }),
        element("p", { "data-say": `${this.#topic}.text` }),
        ...this.build(),
      );
    }
    super.connectedCallback();
  }

  render() {
    translate(this);
    if (this.#state !== null) this.show(this.#state);
  }

  /** A button that dispatches a wish. */
  button(key, name, ...values) {
    const made = element("button", { type: "button", "data-say": key });
    made.onclick = () => this.wish(name, ...values);
    return made;
  }

  wish(name, ...values) {
    this.dispatchEvent(new CustomEvent("lesson-wish", { bubbles: true, detail: { name, values } }));
  }
}

/** A list of sentences that is spoken when it changes. */
export function sentences() {
  return element("ul", { class: "lesson-sentences", role: "list", "aria-live": "polite" });
}

/**
 * @param {HTMLElement} list made by `sentences`
 * @param {(false | null | { text: string, tone?: "good" | "bad" | "peers" })[]} lines what is no sentence is left out
 */
export function setSentences(list, lines) {
  const spoken = lines.filter(Boolean);
  reconcile(list, spoken, ({ text }) => text, ({ text, tone }) =>
    element("li", tone === undefined ? {} : { "data-tone": tone }, text),
  );
}

/** What peers would do with a forgery, in words. */
export function verdictLines(verdict) {
  const reason = verdict.kind === null ? "" : say(`why.${verdict.kind}`);
  return [
    { text: say(`lesson.${verdict.verdict}`, { reason }), tone: verdict.verdict === "accept" ? "bad" : "peers" },
    verdict.dropped && { text: say("lesson.dropped"), tone: "peers" },
  ];
}
