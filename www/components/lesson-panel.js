//! The "See how it works" switch and the container of the lessons. Loads nothing itself: it dispatches
//! "lessons-switched" and passes the state to the lessons once they are loaded.

import { element, setText } from "../dom.js";
import { errorMessage } from "../error-messages.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** The lessons in the order in which they are shown. */
const LESSONS = ["lesson-branches", "lesson-tampering", "lesson-forgery", "lesson-mining"];

/**
 * Properties: `state`, of a LessonMode, null while the lessons are off; `failed`, whether loading them failed.
 * Dispatches "lessons-switched" with `{ on }`; lessons below dispatch "lesson-command" and "form-requested".
 */
export class LessonPanel extends LocalizedElement {
  #state = null;
  #failed = false;

  set state(state) {
    this.#state = state;
    this.#failed = false;
    this.invalidate();
  }

  set failed(failed) {
    this.#failed = failed;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.#switch.onclick = () => {
      this.dispatchEvent(new CustomEvent("lessons-switched", { detail: { on: this.#state === null } }));
    };
  }

  render() {
    const on = this.#state !== null;
    this.#switch.setAttribute("aria-checked", String(on));
    const body = this.querySelector(".lesson-body");
    body.hidden = !on;
    setText(this.querySelector(".lesson-failure"), this.#failed ? say("lesson.unloaded") : "");
    if (!on) {
      body.replaceChildren();
      return;
    }
    if (body.childElementCount === 0) {
      body.append(element("p", { class: "lesson-intro" }), element("p", { class: "error", role: "alert" }));
      body.append(element("div", { class: "lesson-cards" }, ...LESSONS.map((name) => element(name))), element("lesson-step", { hidden: true }));
    }
    const [intro, failure, cards, step] = body.children;
    setText(intro, say("lesson.intro"));
    setText(failure, failureMessage(this.#state.failure));
    body.setAttribute("aria-busy", String(this.#state.busy));
    for (const card of cards.children) card.state = this.#state;
    step.state = this.#state;
  }

  get #switch() {
    return this.querySelector(".lesson-switch");
  }
}

customElements.define("lesson-panel", LessonPanel);

function failureMessage(error) {
  return error === null ? "" : say("lesson.failed", { reason: errorMessage(error) });
}
