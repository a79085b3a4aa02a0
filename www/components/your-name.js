//! The name by which others see this tab's author: asked for once, changed and erased later. Publishes nothing itself.

import { MAX_NAME_BYTES, nameFault } from "../authors.js";
import { LocalizedElement, element, setText } from "../dom.js";
import { normalizeRoom } from "../input.js";
import { errorMessage } from "../messages.js";
import { say } from "../strings.js";
import { nameTag } from "./chain.js";

/**
 * Properties: `own` = `{ author, name, asks }`, with an empty name for none; `asks`: whether the person was never asked. Dispatches
 * "name-chosen" with `{ name }`, normalized and valid, empty to erase it; reply with `saved()` or `failed(error)`. Dispatches
 * "name-settled" when the person has chosen a name, or does not want to now.
 */
export class YourName extends LocalizedElement {
  #own = null;
  #editing = false;
  /** @type {(() => string) | null} why the name was not saved, in the current language */
  #fault = null;
  #busy = false;

  set own(own) {
    const before = this.#own;
    this.#own = own;
    if (own.author !== before?.author) this.querySelector(".name-tag")?.remove();
    this.invalidate();
  }

  connectedCallback() {
    if (this.childElementCount === 0) this.append(...parts());
    super.connectedCallback();
    const on = (selector, work) => (this.querySelector(selector).onclick = work);
    on(".name-change", () => this.#edit());
    on(".name-erase", () => this.#choose(""));
    on(".name-later", () => this.#close());
    this.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#field.oninput = () => this.#setFault(null);
  }

  saved() {
    this.#busy = false;
    this.#close();
  }

  failed(error) {
    this.#busy = false;
    this.#setFault(() => say("name.failed", { reason: errorMessage(error) }));
  }

  languageChanged() {
    this.querySelector(".name-tag")?.remove();
  }

  render() {
    this.hidden = this.#own === null;
    if (this.#own === null) return;
    const { author, name, asks } = this.#own;
    const form = this.querySelector("form");
    form.hidden = !asks && !this.#editing;
    setText(form.querySelector("label"), say("name.ask"));
    setText(form.querySelector("[type=submit]"), say("name.save"));
    setText(form.querySelector(".error"), this.#fault?.() ?? "");
    setText(form.querySelector(".hint"), say("name.hint"));
    setText(form.querySelector(".name-later"), say(this.#editing ? "name.cancel" : "name.later"));
    const erase = form.querySelector(".name-erase");
    erase.hidden = name === "";
    setText(erase, say("name.erase"));
    const line = this.querySelector(".name-line");
    line.hidden = !form.hidden;
    setText(line.firstElementChild, say("name.seenAs"));
    if (line.querySelector(".name-tag") === null) line.firstElementChild.after(" ", nameTag(author, false));
    setText(line.querySelector(".name-change"), say(name === "" ? "name.choose" : "name.change"));
  }

  get #field() {
    return this.querySelector("input");
  }

  #edit() {
    this.#editing = true;
    this.#field.value = this.#own.name;
    this.render();
    this.#field.focus();
    this.#field.select();
  }

  #submit() {
    const name = normalizeRoom(this.#field.value);
    const fault = nameFault(name);
    // An empty field erases nothing by accident: that has a button.
    if (name === "") this.#setFault(() => say("name.empty"));
    else if (fault === "invisible") this.#setFault(() => say("name.invisible"));
    else if (fault === "long") this.#setFault(() => say("name.long", { max: MAX_NAME_BYTES }));
    else this.#choose(name);
  }

  #choose(name) {
    if (this.#busy) return;
    this.#busy = true;
    this.dispatchEvent(new CustomEvent("name-chosen", { detail: { name } }));
  }

  /** Hides the form. Someone who edited continues at the button. */
  #close() {
    const wasEditing = this.#editing;
    this.#editing = false;
    this.#field.value = "";
    this.#setFault(null);
    this.dispatchEvent(new Event("name-settled"));
    if (wasEditing) this.querySelector(".name-change").focus();
  }

  #setFault(fault) {
    this.#fault = fault;
    if (fault === null) this.#field.removeAttribute("aria-invalid");
    else {
      this.#field.setAttribute("aria-invalid", "true");
      this.#field.focus();
    }
    this.invalidate();
  }
}

customElements.define("your-name", YourName);

function parts() {
  const field = element("input", {
    id: "own-name", type: "text", dir: "auto", autocomplete: "off", spellcheck: "false", "aria-describedby": "own-name-error own-name-hint",
  });
  return [
    element(
      "form",
      { novalidate: true, hidden: true },
      element("label", { for: "own-name" }),
      element("div", { class: "field-row" }, field, element("button", { type: "submit" })),
      element("p", { id: "own-name-error", class: "error", "aria-live": "assertive" }),
      element("p", { id: "own-name-hint", class: "hint" }),
      element(
        "div",
        { class: "button-row" },
        element("button", { type: "button", class: "quiet name-later" }),
        element("button", { type: "button", class: "quiet name-erase", hidden: true }),
      ),
    ),
    element(
      "p",
      { class: "name-line", hidden: true, "aria-live": "polite" },
      element("span", { class: "hint" }),
      " ",
      element("button", { type: "button", class: "quiet name-change" }),
    ),
  ];
}
