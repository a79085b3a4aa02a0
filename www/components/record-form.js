//! The form for entering a heart rate. Records nothing itself: it dispatches "reading-submitted" and is told the
//! result. Does not wait for the result: the field is free at once for the next value.

import { MAX_BPM, MIN_BPM, parseBpm } from "../bpm.js";
import { element, reconcile, setText } from "../dom.js";
import { errorMessage } from "../error-messages.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** A reading not saved after this time is shown as being saved, ms. A busy disk takes a tenth of that. */
const SAVING_AFTER_MS = 3_000;

/** Dispatches "reading-submitted" with `{ bpm }`; reply with `confirm(bpm)` or `fail(bpm, error)`. */
export class RecordForm extends LocalizedElement {
  #invalid = false;
  #recorded = null;
  #failureCount = 0;
  /** @type {{ bpm: number, late: boolean, timer: number }[]} submitted readings without a result */
  #submitted = [];
  /** @type {{ id: string, bpm: number, error: unknown }[]} readings that could not be recorded, kept for a retry */
  #failures = [];

  connectedCallback() {
    super.connectedCallback();
    this.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#field.oninput = () => this.#setInvalid(false);
  }

  /** Scrolls the field into view and focuses it. */
  focusField() {
    this.#field.focus({ preventScroll: true });
    this.#field.scrollIntoView({ block: "center" });
  }

  /** Reports that this reading was saved. */
  confirm(bpm) {
    this.#settle(bpm);
    this.#recorded = bpm;
    this.invalidate();
  }

  /** Reports why this reading was not saved, and offers a retry. */
  fail(bpm, error) {
    this.#settle(bpm);
    this.#failureCount += 1;
    this.#failures.push({ id: String(this.#failureCount), bpm, error });
    this.#recorded = null;
    this.invalidate();
  }

  render() {
    setText(
      this.querySelector("#bpm-error"),
      this.#invalid ? say("record.invalid", { min: MIN_BPM, max: MAX_BPM }) : "",
    );
    setText(
      this.querySelector(".recorded"),
      this.#savingMessage() || (this.#recorded === null ? "" : say("record.done", { bpm: this.#recorded })),
    );
    const list = this.querySelector(".failures");
    list.hidden = this.#failures.length === 0;
    reconcile(list, this.#failures, (failure) => failure.id, (failure) => this.#failureItem(failure));
  }

  languageChanged() {
    this.querySelector(".failures").replaceChildren();
  }

  get #field() {
    return this.querySelector("input");
  }

  #submit() {
    const field = this.#field;
    const bpm = parseBpm(field.value);
    this.#recorded = null;
    this.#setInvalid(bpm === null);
    field.focus();
    if (bpm === null) {
      field.select();
      return;
    }
    field.value = "";
    this.#dispatch(bpm);
  }

  /** A message about readings that have been waiting for the disk for long. */
  #savingMessage() {
    const late = this.#submitted.filter((reading) => reading.late);
    if (late.length === 0) return "";
    return late.length === 1 ? say("record.saving", { bpm: late[0].bpm }) : say("storage.saving", { readings: late.length });
  }

  #settle(bpm) {
    const at = this.#submitted.findIndex((reading) => reading.bpm === bpm);
    if (at < 0) return;
    const [reading] = this.#submitted.splice(at, 1);
    clearTimeout(reading.timer);
  }

  #dispatch(bpm) {
    const reading = { bpm, late: false };
    reading.timer = setTimeout(() => {
      reading.late = true;
      this.invalidate();
    }, SAVING_AFTER_MS);
    this.#submitted.push(reading);
    this.dispatchEvent(new CustomEvent("reading-submitted", { detail: { bpm } }));
  }

  #setInvalid(invalid) {
    this.#invalid = invalid;
    if (invalid) this.#field.setAttribute("aria-invalid", "true");
    else this.#field.removeAttribute("aria-invalid");
    this.render();
  }

  #failureItem(failure) {
    const { bpm, error } = failure;
    const retry = element(
      "button",
      { type: "button", "aria-label": say("record.retryOf", { bpm }) },
      say("record.retry"),
    );
    retry.onclick = () => {
      this.#failures = this.#failures.filter((other) => other !== failure);
      this.render();
      this.#field.focus();
      this.#dispatch(bpm);
    };
    return element("li", { class: "error" }, say("record.failed", { bpm, reason: errorMessage(error) }), retry);
  }
}

customElements.define("record-form", RecordForm);
