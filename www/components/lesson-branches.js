//! The lesson about forks: this tab is cut off, goes on alone, and meets the others again.

import { element } from "../dom.js";
import { say } from "../strings.js";
import { LessonCard, sentences, setSentences } from "./lesson-card.js";

export class LessonBranches extends LessonCard {
  #cut;
  #join;
  #told;

  constructor() {
    super("branches");
  }

  build() {
    this.#cut = this.button("branches.cut", "cutOff");
    this.#join = this.button("branches.join", "joinAgain");
    this.#told = sentences();
    return [element("div", { class: "lesson-buttons" }, this.#cut, this.#join), this.#told];
  }

  show({ isolated, cutAt, alone, tip, met, settled }) {
    // The button that goes hands the focus to the one that comes.
    const hadFocus = this.#cut.parentElement.contains(document.activeElement);
    this.#cut.hidden = isolated;
    this.#join.hidden = !isolated;
    if (hadFocus) (isolated ? this.#join : this.#cut).focus();
    setSentences(this.#told, isolated ? aloneLines(cutAt, alone, tip) : metLines(met, settled));
  }
}

function aloneLines(at, count, tip) {
  return [
    { text: say("branches.alone", { at }) },
    { text: say("branches.record") },
    { text: say("branches.made", { count, tip }) },
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
