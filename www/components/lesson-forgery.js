//! The lesson about signatures: somebody's reading is changed, or put under another's name, and nobody believes it.

import { element } from "../dom.js";
import { peerIdOf, shortName } from "../peer-name.js";
import { say } from "../strings.js";
import { LessonCard, sentences, setSentences, verdictLines } from "./lesson-card.js";

export class LessonForgery extends LessonCard {
  #told;

  constructor() {
    super("forgery");
  }

  build() {
    this.#told = sentences();
    const buttons = ["bpm", "author"].map((kind) => this.button(`forgery.${kind}`, "forge", kind));
    return [element("div", { class: "lesson-buttons" }, ...buttons), this.#told];
  }

  show({ lie, noReading }) {
    setSentences(this.#told, lie === null ? [noReading && { text: say("lesson.noReading") }] : lieLines(lie));
  }
}

function lieLines({ kind, original, reading, verdict }) {
  const values = {
    name: nameOf(original.author),
    other: nameOf(reading.author),
    was: original.bpm,
    now: reading.bpm,
  };
  return [{ text: say(`forgery.${kind}Done`, values) }, ...verdictLines(verdict)];
}

function nameOf(author) {
  return shortName(peerIdOf(author));
}

customElements.define("lesson-forgery", LessonForgery);
