//! The lesson about tampering: a copy of a block with another heart rate in it, its sums, and what peers say.

import { element } from "../dom.js";
import { sumsOf } from "../lessons/tampering.js";
import { say } from "../strings.js";
import { LessonCard, sentences, setSentences, verdictLines } from "./lesson-card.js";

export class LessonTampering extends LessonCard {
  #start;
  #mend;
  #restore;
  #told;

  constructor() {
    super("tampering");
  }

  build() {
    this.#start = this.button("tampering.start", "tamper");
    this.#mend = this.button("tampering.mend", "mend");
    this.#restore = this.button("tampering.restore", "restore");
    this.#told = sentences();
    return [element("div", { class: "lesson-buttons" }, this.#start, this.#mend, this.#restore), this.#told];
  }

  show({ forged, noReading, tip }) {
    const buttons = [this.#start, this.#mend, this.#restore];
    const focused = buttons.find((button) => button === document.activeElement);
    this.#start.hidden = forged !== null;
    this.#mend.hidden = forged?.step !== "changed";
    this.#restore.hidden = forged === null;
    if (focused?.hidden) buttons.find((button) => !button.hidden).focus();
    setSentences(this.#told, forged === null ? [noReading && { text: say("lesson.noReading") }] : forgedLines(forged, tip));
  }
}

function forgedLines({ original, block, step, found, verdict }, tip) {
  const { index } = block;
  const values = { index, was: original.readings[0].bpm, now: block.readings[0].bpm };
  const sums = sumsOf(found);
  return [
    { text: say(`tampering.${step}`, values) },
    ...sums.filter(({ ok }) => !ok).map(({ sum }) => ({ text: say(`tampering.${sum}`), tone: "bad" })),
    tip > index && block.hash !== original.hash && { text: say("tampering.after", { next: index + 1 }), tone: "bad" },
    sums.some(({ ok }) => ok) && { text: say("tampering.rest"), tone: "good" },
    ...verdictLines(verdict),
    verdict.verdict === "ignore" && { text: say("tampering.known") },
  ];
}

customElements.define("lesson-tampering", LessonTampering);
