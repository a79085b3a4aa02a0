//! The form that takes a heart rate. Never records anything: it dispatches "reading-submitted" and is told
//! afterwards what became of it. Never waits: the field is free again at once, so people may type on.

import { MAX_BPM, MIN_BPM, parseBpm } from "../bpm.js";
import { element, reconcile, setText } from "../dom.js";
import { wordsOf } from "../node-words.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** A reading that is not kept after so long is being saved, ms: a disk at work takes a tenth of that. */
const SAVING_AFTER_MS = 3_000;

/** Dispatches "reading-submitted" with `{ bpm }`; answer with `confirm(bpm)` or `fail(bpm, reason)`. */
export class RecordForm extends LocalizedElement {
  #invalid = false;
  #recorded = null;
  #failureCount = 0;
  /** @type {{ bpm: number, late: boolean, timer: number }[]} what was submitted and not answered yet */
  #submitted = [];
  /** @type {{ id: string, bpm: number, reason: string }[]} what was typed and could not be recorded, kept for another try */
  #failures = [];

  connectedCallback() {
    super.connectedCallback();
    this.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#field.oninput = () => this.#setInvalid(false);
  }

  /** Brings the field into sight, ready to type in. */
  ask() {
    this.#field.focus({ preventScroll: true });
    this.#field.scrollIntoView({ block: "center" });
  }

  /** Says that this reading is kept. */
  confirm(bpm) {
    this.#answered(bpm);
    this.#recorded = bpm;
    this.invalidate();
  }

  /** Says why this reading is not kept, and offers it again. */
  fail(bpm, error) {
    this.#answered(bpm);
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
      this.#saving() || (this.#recorded === null ? "" : say("record.done", { bpm: this.#recorded })),
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

  /** Which readings the disk has not taken for long. */
  #saving() {
    const late = this.#submitted.filter((reading) => reading.late);
    if (late.length === 0) return "";
    return late.length === 1 ? say("record.saving", { bpm: late[0].bpm }) : say("storage.saving", { readings: late.length });
  }

  #answered(bpm) {
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
    return element("li", { class: "error" }, say("record.failed", { bpm, reason: wordsOf(error) }), retry);
  }
}

customElements.define("record-form", RecordForm);
