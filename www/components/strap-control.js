//! The button that connects a heart-rate strap, and what the strap says. Never talks to one: it dispatches wishes,
//! and is told the state. Without Web Bluetooth it is not there.

import { setText } from "../dom.js";
import { wordsOf } from "../node-words.js";
import { shownInSentence } from "../shown-text.js";
import { say } from "../strings.js";
import { MAX_INTERVAL_S, MIN_INTERVAL_S, parseInterval } from "../strap-sampler.js";
import { LocalizedElement } from "./localized-element.js";

/**
 * Properties: `strap`, `{ state, intervalS }` as a StrapSession has them; `failure`, what the last sample was not
 * recorded for, or null. Dispatches "strap-wanted", "strap-stopped" and "interval-chosen" with `{ seconds }`.
 */
export class StrapControl extends LocalizedElement {
  #strap = null;
  #failure = null;
  #invalid = false;

  set strap(strap) {
    this.#strap = strap;
    this.invalidate();
  }

  set failure(error) {
    this.#failure = error;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.querySelector(".strap-toggle").onclick = () => {
      this.dispatchEvent(new CustomEvent(this.#isOff ? "strap-wanted" : "strap-stopped"));
    };
    const field = this.querySelector("#strap-interval");
    field.oninput = () => this.#judge(field.value);
    field.onchange = () => {
      const seconds = parseInterval(field.value);
      if (seconds !== null) this.dispatchEvent(new CustomEvent("interval-chosen", { detail: { seconds } }));
    };
  }

  render() {
    this.hidden = this.#strap === null;
    if (this.#strap === null) return;
    const { state, intervalS } = this.#strap;
    this.dataset.phase = state.phase;
    setText(this.querySelector(".strap-toggle"), say(this.#isOff ? "strap.connect" : "strap.disconnect"));
    this.querySelector(".strap-panel").hidden = this.#isOff;
    setText(this.querySelector(".strap-phase"), phaseWords(state));
    setText(this.querySelector(".strap-bpm"), state.bpm === null ? "" : say("reading.bpm", state));
    setText(this.querySelector(".strap-battery"), state.battery === null ? "" : say("strap.battery", state));
    setText(this.querySelector(".strap-problem"), this.#problem(state));
    setText(
      this.querySelector("#strap-interval-error"),
      this.#invalid ? say("strap.invalid", { min: MIN_INTERVAL_S, max: MAX_INTERVAL_S }) : "",
    );
    const field = this.querySelector("#strap-interval");
    if (document.activeElement !== field) field.value = String(intervalS);
  }

  get #isOff() {
    return this.#strap.state.phase === "off";
  }

  /** One sentence at a time, so that it is spoken once. */
  #problem({ fault, contact, ignored }) {
    if (fault !== null) return say(`strap.fault.${fault.kind}`, fault);
    if (contact === false) return say("strap.noContact");
    if (ignored !== null) return say("strap.ignored");
    return this.#failure === null ? "" : say("strap.failed", { reason: wordsOf(this.#failure) });
  }

  #judge(text) {
    this.#invalid = parseInterval(text) === null;
    const field = this.querySelector("#strap-interval");
    if (this.#invalid) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    this.render();
  }
}

customElements.define("strap-control", StrapControl);

function phaseWords({ phase, name }) {
  if (phase === "off") return "";
  return say(`strap.${phase}`, { name: name === "" ? say("strap.unnamed") : shownInSentence(name) });
}
