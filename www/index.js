//! The entry point: the page's language, and the form for a heart rate. The form works first: all that it needs is in the
//! few modules below, which arrive in the first round trips. `page.js` starts the node and connects everything else.

import { LocalizedElement, element, reconcile, setText } from "./dom.js";
import { MAX_BPM, MIN_BPM, parseBpm } from "./input.js";
import { chooseLanguage, language, languageChanges, loadLanguage, say, setLanguage, translate } from "./strings.js";

const LANGUAGE_KEY = "heartchain.language";

/** A reading not saved after this time is shown as being saved, ms. A busy disk takes a tenth of that. */
const SAVING_AFTER_MS = 3_000;

/** Dispatches "reading-submitted" with `{ bpm }`; reply with `confirm(bpm)` or `fail(bpm, error)`. */
class RecordForm extends LocalizedElement {
  #invalid = false;
  #recorded = null;
  #failureCount = 0;
  /** @type {{ bpm: number, late: boolean, timer: number }[]} submitted readings without a result */
  #submitted = [];
  #queuing = true;
  /** @type {{ id: string, bpm: number, reason: () => string }[]} readings that could not be recorded, kept for a retry */
  #failures = [];

  connectedCallback() {
    super.connectedCallback();
    this.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#field.oninput = () => this.#setInvalid(false);
  }

  /** Whether readings wait for the page: its parts have not all been loaded, or the node is not running yet. */
  set queuing(queuing) {
    if (queuing === this.#queuing) return;
    this.#queuing = queuing;
    this.invalidate();
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

  /** Reports why this reading was not saved, as a function that says it in the current language, and offers a retry. */
  fail(bpm, reason) {
    this.#settle(bpm);
    this.#failureCount += 1;
    this.#failures.push({ id: String(this.#failureCount), bpm, reason });
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

  /** A message about readings that wait for the page, or have been waiting for the disk for long. */
  #savingMessage() {
    if (this.#queuing && this.#submitted.length > 0) return say("record.queued", { readings: this.#submitted.length });
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
    this.invalidate();
    this.dispatchEvent(new CustomEvent("reading-submitted", { detail: { bpm } }));
  }

  #setInvalid(invalid) {
    this.#invalid = invalid;
    if (invalid) this.#field.setAttribute("aria-invalid", "true");
    else this.#field.removeAttribute("aria-invalid");
    this.render();
  }

  #failureItem(failure) {
    const { bpm, reason } = failure;
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
    return element("li", { class: "error" }, say("record.failed", { bpm, reason: reason() }), retry);
  }
}

customElements.define("record-form", RecordForm);

const page = import("./page.js");
page.then(
  ({ openPage }) => {
    openPage();
    globalThis.heartchainGuard?.ready();
  },
  () => globalThis.heartchainGuard?.failed(),
);

let wantedLanguage = null;
languageChanges.addEventListener("change", applyLanguage);
applyLanguage();
showLanguage(chooseLanguage([savedLanguage(), ...navigator.languages]));
document.querySelector("language-switch").addEventListener("language-chosen", ({ detail }) => {
  saveLanguage(detail.language);
  showLanguage(detail.language);
});

// Readings are recorded one after the other, so that their sequence numbers follow the order of input.
const bpmForm = document.querySelector("record-form");
let recording = Promise.resolve();
let unrecorded = 0;
bpmForm.addEventListener("reading-submitted", ({ detail }) => {
  unrecorded += 1;
  recording = recording.then(() => recordFromForm(detail.bpm)).finally(() => (unrecorded -= 1));
});
// The form is free before a reading is saved, so leaving the page at that moment asks for confirmation.
addEventListener("beforeunload", (event) => {
  if (unrecorded > 0) event.preventDefault();
});

async function recordFromForm(bpm) {
  try {
    const { recordReading } = await page;
    await recordReading(bpm);
    bpmForm.confirm(bpm);
  } catch (error) {
    const { errorMessage } = await page.catch(() => ({ errorMessage: String }));
    bpmForm.fail(bpm, () => errorMessage(error));
  }
}

/** Switches to this language once its texts are loaded. If they cannot be, the page keeps its language. */
async function showLanguage(code) {
  wantedLanguage = code;
  try {
    await loadLanguage(code);
    if (wantedLanguage === code) setLanguage(code);
  } catch {
    const { offerIfReplaced } = await page;
    await offerIfReplaced();
  }
}

/** Sets the texts of everything that is not a component. */
function applyLanguage() {
  document.documentElement.lang = language();
  translate(document);
}

/** Returns null if storage is blocked: the language is then detected on each visit. */
function savedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}

function saveLanguage(code) {
  try {
    localStorage.setItem(LANGUAGE_KEY, code);
  } catch {
    // Only the preference is lost.
  }
}
