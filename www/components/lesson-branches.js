//! The lesson about forks: disconnects this tab, lets it mine a branch of its own, and reconnects it.

import { element } from "../dom.js";
import { lookingKey } from "../lessons/current-step.js";
import { say } from "../strings.js";
import { LessonCard, messageList, setMessages } from "./lesson-card.js";

export class LessonBranches extends LessonCard {
  #disconnect;
  #reconnect;
  #toForm;
  #messages;

  constructor() {
    super("branches");
  }

  build() {
    this.#disconnect = this.button("branches.cut", "disconnect");
    this.#reconnect = this.button("branches.join", "reconnect");
    this.#toForm = element("button", { type: "button", "data-say": "branches.toForm" });
    this.#toForm.onclick = () => this.dispatchEvent(new Event("form-requested", { bubbles: true }));
    this.#messages = messageList();
    return [element("div", { class: "lesson-buttons" }, this.#disconnect, this.#toForm, this.#reconnect), this.#messages];
  }

  show({ isolated, cutAt, ownBlockCount, tip, own, outcome, settled, missing }) {
    // The button that disappears passes the focus to the one that appears.
    const hadFocus = [this.#disconnect, this.#reconnect].includes(document.activeElement);
    this.#disconnect.hidden = isolated;
    this.#reconnect.hidden = !isolated;
    this.#toForm.hidden = !isolated;
    if (hadFocus) (isolated ? this.#reconnect : this.#disconnect).focus();
    setMessages(
      this.#messages,
      isolated ? disconnectedMessages(cutAt, ownBlockCount, tip, own) : outcomeMessages(outcome, settled, missing),
    );
  }
}

function disconnectedMessages(at, count, tip, own) {
  return [
    { text: say("branches.alone", { at }) },
    { text: say("branches.record") },
    { text: say("branches.made", { count, tip }) },
    own.all > 0 && { text: say("branches.own", own) },
  ];
}

/** The outcome is shown only once this tab is in sync: until then it is not decided. */
function outcomeMessages(outcome, settled, missing) {
  if (outcome === null) return [];
  if (!settled) return [{ text: say(lookingKey(missing)) }];
  if (outcome.made === 0 && outcome.all === 0) return [{ text: say("branches.nothing") }];
  return [
    outcome.left > 0 && { text: say("branches.left", outcome) },
    outcome.kept > 0 && { text: say("branches.kept", outcome) },
    outcome.waiting > 0 && { text: say("branches.waiting", outcome) },
    outcome.inChain > 0 && { text: say("branches.returned", outcome), tone: "good" },
  ];
}

customElements.define("lesson-branches", LessonBranches);
