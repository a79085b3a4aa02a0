//! The lesson about tampering: a copy of a block with another heart rate, the checks it fails, and the peers' verdict.

import { element } from "../dom.js";
import { checksOf } from "../lessons/tampering.js";
import { say } from "../strings.js";
import { LessonCard, messageList, setMessages, verdictMessages } from "./lesson-card.js";

/** Hex digits of a hash: enough to see the zeros of its work, and that it changed. */
const SHOWN_DIGITS = 12;

export class LessonTampering extends LessonCard {
  #start;
  #recompute;
  #discard;
  #messages;

  constructor() {
    super("tampering");
  }

  build() {
    this.#start = this.button("tampering.start", "tamper");
    this.#recompute = this.button("tampering.recompute", "recompute");
    this.#discard = this.button("tampering.restore", "discard");
    this.#messages = messageList();
    return [element("div", { class: "lesson-buttons" }, this.#start, this.#recompute, this.#discard), this.#messages];
  }

  show({ tampered, noReading, tip }) {
    const buttons = [this.#start, this.#recompute, this.#discard];
    const focused = buttons.find((button) => button === document.activeElement);
    this.#start.hidden = tampered !== null;
    this.#recompute.hidden = tampered?.step !== "changed";
    this.#discard.hidden = tampered === null;
    if (focused?.hidden) buttons.find((button) => !button.hidden).focus();
    setMessages(
      this.#messages,
      tampered === null ? [noReading && { text: say("lesson.noReading") }] : tamperedMessages(tampered, tip),
    );
  }
}

function tamperedMessages({ original, block, step, found, verdict }, tip) {
  const { index } = block;
  const values = { index, was: original.readings[0].bpm, now: block.readings[0].bpm };
  const checks = checksOf(found);
  return [
    { text: say(`tampering.${step}`, values) },
    { text: say(`tampering.${step}Hashes`, hashesOf(original, block, step, found)) },
    ...checks.filter(({ ok }) => !ok).map(({ name }) => ({ text: say(`tampering.${name}`), tone: "bad" })),
    tip > index && block.hash !== original.hash && { text: say("tampering.after", { next: index + 1 }), tone: "bad" },
    checks.some(({ ok }) => ok) && { text: say("tampering.rest"), tone: "good" },
    // Peers that have the real block do not even look at the copy. That they leave it aside must not read as a yes.
    ...(verdict.verdict === "ignore" ? [{ text: say("tampering.known"), tone: "peers" }] : verdictMessages(verdict)),
  ];
}

/** The hash that changed in a step, in short: first the root of the readings, then the block's own. */
function hashesOf(original, block, step, found) {
  const [was, now] = step === "changed" ? [original.readingsRoot, found.root.computed] : [original.hash, block.hash];
  return { was: `${was.slice(0, SHOWN_DIGITS)}…`, now: `${now.slice(0, SHOWN_DIGITS)}…` };
}

customElements.define("lesson-tampering", LessonTampering);
