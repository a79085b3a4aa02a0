//! The base class of the lesson cards. A card builds its elements once, so that the focus survives, and updates them
//! with each state and language. It runs nothing itself: it dispatches commands.

import { LocalizedElement, element, reconcile } from "../dom.js";
import { say, translate } from "../strings.js";

/** Property `state`, of a LessonMode. Dispatches "lesson-command" (it bubbles) with `{ name, values }`. */
export class LessonCard extends LocalizedElement {
  #state = null;
  #topic;

  /** @param {string} topic the prefix of the card's keys in the catalogues */
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

  /** A button that dispatches a command. */
  button(key, name, ...values) {
    const made = element("button", { type: "button", "data-say": key });
    made.onclick = () => this.command(name, ...values);
    return made;
  }

  command(name, ...values) {
    this.dispatchEvent(new CustomEvent("lesson-command", { bubbles: true, detail: { name, values } }));
  }
}

/** A list of messages. Screen readers announce its changes. */
export function messageList() {
  return element("ul", { class: "lesson-sentences", role: "list", "aria-live": "polite" });
}

/**
 * @param {HTMLElement} list made by `messageList`
 * @param {(false | null | { text: string, tone?: "good" | "bad" | "peers" })[]} messages falsy entries are skipped
 */
export function setMessages(list, messages) {
  const shown = messages.filter(Boolean);
  reconcile(list, shown, ({ text }) => text, ({ text, tone }) =>
    element("li", tone === undefined ? {} : { "data-tone": tone }, text),
  );
}

/** What peers would do with a forgery, as messages. */
export function verdictMessages(verdict) {
  const reason = verdict.kind === null ? "" : say(`why.${verdict.kind}`);
  return [
    { text: say(`lesson.${verdict.verdict}`, { reason }), tone: verdict.verdict === "accept" ? "bad" : "peers" },
    verdict.dropped && { text: say("lesson.dropped"), tone: "peers" },
  ];
}
