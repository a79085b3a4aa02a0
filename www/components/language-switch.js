//! The button that switches the page's language. Does not store the choice: it dispatches "language-chosen".

import { LANGUAGES, language, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** Dispatches "language-chosen" with `{ language }`. */
export class LanguageSwitch extends LocalizedElement {
  connectedCallback() {
    super.connectedCallback();
    this.#button.onclick = () => {
      this.dispatchEvent(new CustomEvent("language-chosen", { detail: { language: this.#other } }));
    };
  }

  get #button() {
    return this.querySelector("button");
  }

  get #other() {
    return LANGUAGES[(LANGUAGES.indexOf(language()) + 1) % LANGUAGES.length];
  }

  render() {
    this.#button.textContent = say("language.other");
    this.#button.lang = this.#other;
  }
}

customElements.define("language-switch", LanguageSwitch);
