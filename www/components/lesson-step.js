//! The current lesson step as one line at the top of the window, shown while its lesson is out of view, so that users
//! need not scroll between the page's form and the lesson. Runs nothing itself: it dispatches "lesson-command".

import { LocalizedElement, element, setText } from "../dom.js";
import { currentStep, isSettled } from "../lessons/current-step.js";
import { say } from "../strings.js";

/** A lesson is in view if at least this share of its messages is. */
const IN_VIEW = 0.5;

/** Property `state`, of a LessonMode. Must be a sibling of the lesson cards' container. */
export class LessonStep extends LocalizedElement {
  #state = null;
  /** Whether the user has seen the outcome of the fork next to the lesson. */
  #seen = false;
  #text = element("p");
  #reconnect = element("button", { type: "button" });
  #back = element("button", { type: "button", class: "quiet" });
  #inView = new Set();
  #observer = new IntersectionObserver((entries) => this.#onIntersection(entries), { threshold: [0, IN_VIEW] });
  #step = null;

  set state(state) {
    this.#state = state;
    this.invalidate();
  }

  connectedCallback() {
    if (this.childElementCount === 0) {
      this.setAttribute("role", "group");
      this.append(this.#text, element("div", { class: "lesson-buttons" }, this.#reconnect, this.#back));
      this.#reconnect.onclick = () => {
        this.dispatchEvent(new CustomEvent("lesson-command", { bubbles: true, detail: { name: "reconnect", values: [] } }));
      };
      this.#back.onclick = () => this.#backToLesson();
      this.addEventListener("focusout", () => queueMicrotask(() => this.invalidate()));
    }
    for (const lesson of ["branches", "mining"]) this.#observer.observe(this.#messagesOf(lesson));
    super.connectedCallback();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    super.disconnectedCallback();
  }

  render() {
    if (this.#state === null) return;
    const { isolated } = this.#state;
    if (isolated) this.#seen = false;
    else if (isSettled(this.#state) && this.#inView.has(this.#messagesOf("branches"))) this.#seen = true;
    this.#step = currentStep(this.#state, this.#seen);
    const needed = this.#step !== null && !this.#inView.has(this.#messagesOf(this.#step.lesson));
    // An element with the keyboard's focus stays until the focus moves on.
    this.hidden = !needed && this.querySelector(":focus-visible") === null;
    // The button that disappears passes the focus to the one that stays.
    if (!isolated && document.activeElement === this.#reconnect) this.#back.focus();
    this.#reconnect.hidden = !isolated;
    setText(this.#reconnect, say("step.join"));
    setText(this.#back, say("step.back"));
    if (this.#step === null) return;
    const { lesson, key, values } = this.#step;
    this.setAttribute("aria-label", say(`${lesson}.heading`));
    setText(this.#text, say(key, values));
  }

  #onIntersection(entries) {
    for (const { target, intersectionRatio } of entries) {
      if (intersectionRatio >= IN_VIEW) this.#inView.add(target);
      else this.#inView.delete(target);
    }
    this.invalidate();
  }

  /** Scrolls the lesson's messages into view and focuses the control right above them. */
  #backToLesson() {
    const lesson = this.#step?.lesson ?? "branches";
    this.#cardOf(lesson).querySelector("button:not([hidden]), input:checked").focus({ preventScroll: true });
    this.#messagesOf(lesson).scrollIntoView({ block: "center" });
  }

  #messagesOf(lesson) {
    return this.#cardOf(lesson).querySelector(".lesson-sentences");
  }

  #cardOf(lesson) {
    return this.parentElement.querySelector(`lesson-${lesson}`);
  }
}

customElements.define("lesson-step", LessonStep);
