//! The lesson about work: slows mining in this tab down until users can watch a reading wait.

import { element } from "../dom.js";
import { PACES, expectedMs } from "../lessons/pace.js";
import { formatDuration, say } from "../strings.js";
import { LessonCard, messageList, setMessages } from "./lesson-card.js";

export class LessonMining extends LessonCard {
  #choices = [];
  #messages;

  constructor() {
    super("mining");
  }

  build() {
    this.#choices = PACES.map((pace) => {
      const input = element("input", { type: "radio", name: "lesson-pace" });
      input.onchange = () => this.command("slowDown", pace);
      return { pace, input, label: element("span") };
    });
    this.#messages = messageList();
    const labels = this.#choices.map(({ input, label }) => element("label", {}, input, label));
    const legend = element("legend", { "data-say": "mining.pace" });
    return [element("fieldset", { class: "lesson-paces" }, legend, ...labels), this.#messages];
  }

  show({ limit, tries, hashesPerSecond, mempool, peers }) {
    for (const { pace, input, label } of this.#choices) {
      input.checked = pace === limit;
      label.textContent = pace === null ? say("mining.full") : say("mining.rate", { pace });
    }
    const ms = expectedMs(tries, limit ?? hashesPerSecond);
    setMessages(this.#messages, [
      tries !== null && { text: say("mining.tries", { tries: Math.round(tries) }) },
      hashesPerSecond !== null && { text: say("mining.speed", { speed: Math.round(hashesPerSecond) }) },
      limit !== null && ms !== null && { text: say("mining.takes", { time: formatDuration(ms) }) },
      { text: say("mining.waiting", { count: mempool }) },
      limit !== null && peers > 0 && { text: say("mining.others") },
    ]);
  }
}

customElements.define("lesson-mining", LessonMining);
