//! Helpers that build elements and keep them in sync with data, and the base class of all components. Text is always
//! inserted as text, so nothing here can turn a peer's text into markup.

import { languageChanges } from "./strings.js";

// Helpers that build elements and keep them in sync with data. Text is always inserted as text, so nothing here can
// turn a peer's text into markup.

/**
 * Creates an element.
 *
 * @param {string} tag
 * @param {Record<string, string | boolean>} [attributes] true sets an empty attribute, false omits it
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/**
 * Updates the children of `parent` to match `items` in order. Elements of items that stay are reused, with their focus
 * and selection.
 *
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} create
 * @param {(made: HTMLElement, item: T) => void} [update] called for elements that stay
 */
export function reconcile(parent, items, keyOf, create, update) {
  const byKey = new Map(items.map((item) => [keyOf(item), item]));
  const existing = new Map();
  for (const child of [...parent.children]) {
    if (byKey.has(child.dataset.key)) existing.set(child.dataset.key, child);
    else child.remove();
  }
  let next = parent.firstElementChild;
  for (const [key, item] of byKey) {
    let made = existing.get(key);
    if (made) {
      update?.(made, item);
    } else {
      made = create(item);
      made.dataset.key = key;
    }
    if (made === next) next = next.nextElementSibling;
    else parent.insertBefore(made, next);
  }
}

/** Sets text only if it differs, so that a live region is announced once per change. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Closes a dialog on a click on its backdrop. A press that starts inside, such as selecting text, does not close it.
 *
 * @param {HTMLDialogElement} dialog
 */
export function closeOnBackdropClick(dialog) {
  let startedOnBackdrop = false;
  dialog.onpointerdown = ({ target }) => {
    startedOnBackdrop = target === dialog;
  };
  dialog.onclick = ({ target }) => {
    if (startedOnBackdrop && target === dialog) dialog.close();
  };
}

/**
 * Creates an SVG element.
 *
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...SVGElement} children
 * @returns {SVGElement}
 */
export function svgElement(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

// The base class of all components: renders when connected, and again when the language changes. Holds no data or
// texts.

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
