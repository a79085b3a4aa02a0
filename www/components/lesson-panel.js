//! The switch of "See how it works", and the place for the lessons. Never loads or does anything itself: it dispatches
//! "lessons-switched", and hands the state to the lessons once they are there.

import { element, setText } from "../dom.js";
import { wordsOf } from "../node-words.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** The lessons, in order. */
const LESSONS = ["lesson-branches", "lesson-tampering", "lesson-forgery", "lesson-mining"];

/**
 * Properties: `state`, of a LessonMode, null while the lessons are off; `failed`, whether they could not be loaded.
 * Dispatches "lessons-switched" with `{ on }`; lessons below dispatch "lesson-wish" and "form-wanted".
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
    setText(failure, failureWords(this.#state.failure));
    body.setAttribute("aria-busy", String(this.#state.busy));
    for (const card of cards.children) card.state = this.#state;
    step.state = this.#state;
  }

  get #switch() {
    return this.querySelector(".lesson-switch");
  }
}

customElements.define("lesson-panel", LessonPanel);

function failureWords(error) {
  return error === null ? "" : say("lesson.failed", { reason: wordsOf(error) });
}
