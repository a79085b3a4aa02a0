//! The button that connects a heart-rate strap, and the strap's state. Talks to no strap itself: it dispatches events
//! and is given the state. Hidden without Web Bluetooth.

import { LocalizedElement, setText } from "../dom.js";
import { errorMessage, shownInSentence } from "../messages.js";
import { MAX_INTERVAL_S, MIN_INTERVAL_S, parseInterval } from "../strap-sampler.js";
import { FROZEN_MS } from "../strap-session.js";
import { formatDuration, say } from "../strings.js";

/** A shorter time in the background loses no readings worth a word, ms. */
const MIN_HIDDEN_MS = 60_000;

/**
 * Properties: `strap`, `{ state, intervalS }` of a StrapSession; `failure`, the error that kept the last sample from
 * being recorded, or null; `hiddenMs`, how long the page was in the background. Dispatches "strap-requested" with `{ all }`,
 * "strap-stopped", "contact-overridden" with `{ on }`, and "interval-chosen" with `{ seconds }`.
 */
export class StrapControl extends LocalizedElement {
  #strap = null;
  #failure = null;
  #hiddenMs = 0;
  #invalid = false;

  set strap(strap) {
    this.#strap = strap;
    this.invalidate();
  }

  set failure(error) {
    this.#failure = error;
    this.invalidate();
  }

  set hiddenMs(ms) {
    this.#hiddenMs = ms;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.querySelector(".strap-toggle").onclick = () => {
      if (this.#isOff) this.#request(false);
      else this.dispatchEvent(new CustomEvent("strap-stopped"));
    };
    this.querySelector(".strap-all").onclick = () => this.#request(true);
    this.querySelector(".strap-contact").onclick = () => {
      this.dispatchEvent(new CustomEvent("contact-overridden", { detail: { on: !this.#strap.state.anyContact } }));
    };
    const field = this.querySelector("#strap-interval");
    field.oninput = () => this.#validate(field.value);
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
    this.querySelector(".strap-all").hidden = !this.#isOff;
    this.querySelector(".strap-panel").hidden = this.#isOff;
    const override = this.querySelector(".strap-contact");
    override.hidden = this.#isOff || !(state.contact === false || state.anyContact);
    setText(override, say(state.anyContact ? "strap.needContact" : "strap.anyContact"));
    const hidden = this.#hiddenMs >= MIN_HIDDEN_MS ? say("strap.wasHidden", { time: formatDuration(this.#hiddenMs) }) : "";
    setText(this.querySelector(".strap-hidden"), hidden);
    setText(this.querySelector(".strap-phase"), phaseMessage(state));
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

  /** One message at a time, so that screen readers announce it once. */
  #problem({ fault, contact, ignored, noPulse, frozen, anyContact }) {
    if (fault !== null) return say(`strap.fault.${fault.kind}`, fault);
    if (contact === false && !anyContact) return say("strap.noContact");
    if (noPulse) return say("strap.noPulse");
    if (ignored !== null) return say("strap.ignored");
    if (frozen) return say("strap.frozen", { time: formatDuration(FROZEN_MS) });
    return this.#failure === null ? "" : say("strap.failed", { reason: errorMessage(this.#failure) });
  }

  #request(all) {
    this.dispatchEvent(new CustomEvent("strap-requested", { detail: { all } }));
  }

  #validate(text) {
    this.#invalid = parseInterval(text) === null;
    const field = this.querySelector("#strap-interval");
    if (this.#invalid) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    this.render();
  }
}

customElements.define("strap-control", StrapControl);

function phaseMessage({ phase, name }) {
  if (phase === "off") return "";
  return say(`strap.${phase}`, { name: name === "" ? say("strap.unnamed") : shownInSentence(name) });
}
