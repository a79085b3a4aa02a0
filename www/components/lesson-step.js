//! The step at hand in one line at the window's top, while its lesson is out of sight: so nobody has to scroll to and fro
//! between the page's form and what becomes of it. Never does anything itself: it dispatches "lesson-wish".

import { element, setText } from "../dom.js";
import { isSettled, stepAtHand } from "../lessons/step.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** A lesson is in sight while at least so much of what it tells is. */
const IN_SIGHT = 0.5;

/** Property `state`, of a LessonMode. It stands beside the lessons, in one parent. */
export class LessonStep extends LocalizedElement {
  #state = null;
  #told = false;
  #text = element("p");
  #join = element("button", { type: "button" });
  #back = element("button", { type: "button", class: "quiet" });
  #inSight = new Set();
  #observer = new IntersectionObserver((entries) => this.#see(entries), { threshold: [0, IN_SIGHT] });
  #step = null;

  set state(state) {
    this.#state = state;
    this.invalidate();
  }

  connectedCallback() {
    if (this.childElementCount === 0) {
      this.setAttribute("role", "group");
      this.append(this.#text, element("div", { class: "lesson-buttons" }, this.#join, this.#back));
      this.#join.onclick = () => {
        this.dispatchEvent(new CustomEvent("lesson-wish", { bubbles: true, detail: { name: "joinAgain", values: [] } }));
      };
      this.#back.onclick = () => this.#return();
      this.addEventListener("focusout", () => queueMicrotask(() => this.invalidate()));
    }
    for (const lesson of ["branches", "mining"]) this.#observer.observe(this.#listOf(lesson));
    super.connectedCallback();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    super.disconnectedCallback();
  }

  render() {
    if (this.#state === null) return;
    const { isolated } = this.#state;
    if (isolated) this.#told = false;
    else if (isSettled(this.#state) && this.#inSight.has(this.#listOf("branches"))) this.#told = true;
    this.#step = stepAtHand(this.#state, this.#told);
    const wanted = this.#step !== null && !this.#inSight.has(this.#listOf(this.#step.lesson));
    // What has the keyboard's focus stays until it goes on.
    this.hidden = !wanted && this.querySelector(":focus-visible") === null;
    // The button that goes hands the focus to the one that stays.
    if (!isolated && document.activeElement === this.#join) this.#back.focus();
    this.#join.hidden = !isolated;
    setText(this.#join, say("step.join"));
    setText(this.#back, say("step.back"));
    if (this.#step === null) return;
    const { lesson, key, values } = this.#step;
    this.setAttribute("aria-label", say(`${lesson}.heading`));
    setText(this.#text, say(key, values));
  }

  #see(entries) {
    for (const { target, intersectionRatio } of entries) {
      if (intersectionRatio >= IN_SIGHT) this.#inSight.add(target);
      else this.#inSight.delete(target);
    }
    this.invalidate();
  }

  /** Brings what the lesson tells into sight, and the focus to what can be done right above. */
  #return() {
    const lesson = this.#step?.lesson ?? "branches";
    this.#cardOf(lesson).querySelector("button:not([hidden]), input:checked").focus({ preventScroll: true });
    this.#listOf(lesson).scrollIntoView({ block: "center" });
  }

  /** What a lesson tells. */
  #listOf(lesson) {
    return this.#cardOf(lesson).querySelector(".lesson-sentences");
  }

  #cardOf(lesson) {
    return this.parentElement.querySelector(`lesson-${lesson}`);
  }
}

customElements.define("lesson-step", LessonStep);
