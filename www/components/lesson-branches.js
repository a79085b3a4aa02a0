//! The lesson about forks: this tab is cut off, goes on alone, and meets the others again.

import { element } from "../dom.js";
import { say } from "../strings.js";
import { LessonCard, sentences, setSentences } from "./lesson-card.js";

export class LessonBranches extends LessonCard {
  #cut;
  #join;
  #toForm;
  #told;

  constructor() {
    super("branches");
  }

  build() {
    this.#cut = this.button("branches.cut", "cutOff");
    this.#join = this.button("branches.join", "joinAgain");
    this.#toForm = element("button", { type: "button", "data-say": "branches.toForm" });
    this.#toForm.onclick = () => this.dispatchEvent(new Event("form-wanted", { bubbles: true }));
    this.#told = sentences();
    return [element("div", { class: "lesson-buttons" }, this.#cut, this.#toForm, this.#join), this.#told];
  }

  show({ isolated, cutAt, alone, tip, own, met, settled }) {
    // The button that goes hands the focus to the one that comes.
    const hadFocus = [this.#cut, this.#join].includes(document.activeElement);
    this.#cut.hidden = isolated;
    this.#join.hidden = !isolated;
    this.#toForm.hidden = !isolated;
    if (hadFocus) (isolated ? this.#join : this.#cut).focus();
    setSentences(this.#told, isolated ? aloneLines(cutAt, alone, tip, own) : metLines(met, settled));
  }
}

function aloneLines(at, count, tip, own) {
  return [
    { text: say("branches.alone", { at }) },
    { text: say("branches.record") },
    { text: say("branches.made", { count, tip }) },
    own.all > 0 && { text: say("branches.own", own) },
  ];
}

/** What came of it is told once this tab is as far as the others: until then nothing is decided. */
function metLines(met, settled) {
  if (met === null) return [];
  if (!settled) return [{ text: say("branches.looking") }];
  if (met.made === 0 && met.all === 0) return [{ text: say("branches.nothing") }];
  return [
    met.left > 0 && { text: say("branches.left", met) },
    met.kept > 0 && { text: say("branches.kept", met) },
    met.waiting > 0 && { text: say("branches.waiting", met) },
    met.inChain > 0 && { text: say("branches.returned", met), tone: "good" },
  ];
}

customElements.define("lesson-branches", LessonBranches);
