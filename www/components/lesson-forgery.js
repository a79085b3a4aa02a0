//! The lesson about signatures: changes the heart rate or the author of a reading, and shows that peers reject it.

import { element } from "../dom.js";
import { nameText } from "../authors.js";
import { say } from "../strings.js";
import { LessonCard, messageList, setMessages, verdictMessages } from "./lesson-card.js";

export class LessonForgery extends LessonCard {
  #messages;

  constructor() {
    super("forgery");
  }

  build() {
    this.#messages = messageList();
    const buttons = ["bpm", "author"].map((kind) => this.button(`forgery.${kind}`, "forge", kind));
    return [element("div", { class: "lesson-buttons" }, ...buttons), this.#messages];
  }

  show({ forgery, noReading }) {
    setMessages(
      this.#messages,
      forgery === null ? [noReading && { text: say("lesson.noReading") }] : forgeryMessages(forgery),
    );
  }
}

function forgeryMessages({ kind, original, reading, verdict }) {
  const values = {
    name: nameOf(original.author),
    other: nameOf(reading.author),
    was: original.bpm,
    now: reading.bpm,
  };
  return [{ text: say(`forgery.${kind}Done`, values) }, ...verdictMessages(verdict)];
}

function nameOf(author) {
  return nameText(author);
}

customElements.define("lesson-forgery", LessonForgery);
