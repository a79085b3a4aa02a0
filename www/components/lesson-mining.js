//! The lesson about work: this tab tries fewer numbers a second, and a person can watch a reading wait.

import { element } from "../dom.js";
import { PACES, expectedMs } from "../lessons/pace.js";
import { formatDuration, say } from "../strings.js";
import { LessonCard, sentences, setSentences } from "./lesson-card.js";

export class LessonMining extends LessonCard {
  #choices = [];
  #told;

  constructor() {
    super("mining");
  }

  build() {
    this.#choices = PACES.map((pace) => {
      const input = element("input", { type: "radio", name: "lesson-pace" });
      input.onchange = () => this.wish("slowDown", pace);
      return { pace, input, words: element("span") };
    });
    this.#told = sentences();
    const labels = this.#choices.map(({ input, words }) => element("label", {}, input, words));
    const legend = element("legend", { "data-say": "mining.pace" });
    return [element("fieldset", { class: "lesson-paces" }, legend, ...labels), this.#told];
  }

  show({ limit, tries, hashesPerSecond, mempool, peers }) {
    for (const { pace, input, words } of this.#choices) {
      input.checked = pace === limit;
      words.textContent = pace === null ? say("mining.full") : say("mining.rate", { pace });
    }
    const ms = expectedMs(tries, limit ?? hashesPerSecond);
    setSentences(this.#told, [
      tries !== null && { text: say("mining.tries", { tries: Math.round(tries) }) },
      hashesPerSecond !== null && { text: say("mining.speed", { speed: Math.round(hashesPerSecond) }) },
      limit !== null && ms !== null && { text: say("mining.takes", { time: formatDuration(ms) }) },
      { text: say("mining.waiting", { count: mempool }) },
      limit !== null && peers > 0 && { text: say("mining.others") },
    ]);
  }
}

customElements.define("lesson-mining", LessonMining);
