//! The base class of all components: renders when connected, and again when the language changes. Holds no data or
//! texts.

import { languageChanges } from "../strings.js";

/** Subclasses update the page in `render()`, which is called only while connected. */
export class LocalizedElement extends HTMLElement {
  #renderAgain = () => {
    this.languageChanged();
    this.render();
  };

  connectedCallback() {
    languageChanges.addEventListener("change", this.#renderAgain);
    this.render();
  }

  disconnectedCallback() {
    languageChanges.removeEventListener("change", this.#renderAgain);
  }

  /** Renders if connected. Setters call it. */
  invalidate() {
    if (this.isConnected) this.render();
  }

  /** Called before rendering in another language, to remove elements with texts in the old one. */
  languageChanged() {}

  render() {}
}
