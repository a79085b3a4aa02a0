//! What all components of this page share: they are drawn once connected, and again when the language changes.
//! Never holds data or words.

import { languageChanges } from "../strings.js";

/** Subclasses put their data on the page in `render()`, which is only called while connected. */
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

  /** Draws if connected: what setters call. */
  invalidate() {
    if (this.isConnected) this.render();
  }

  /** Called before drawing in another language: the place to throw away elements that hold old words. */
  languageChanged() {}

  render() {}
}
