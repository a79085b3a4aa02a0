//! Small helpers for building and keeping elements in step with data. Text always enters as text:
//! there is no way in here to turn a peer's words into markup.

/**
 * Makes an element.
 *
 * @param {string} tag
 * @param {Record<string, string | boolean>} [attributes] true sets an empty attribute, false leaves it out
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
 * Makes the children of `parent` match `items` in order, and keeps the elements of items that stay
 * (with their focus and selection).
 *
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} create
 * @param {(made: HTMLElement, item: T) => void} [update] called for elements that stay
 */
export function reconcile(parent, items, keyOf, create, update) {
  const wanted = new Map(items.map((item) => [keyOf(item), item]));
  const known = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) known.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    let made = known.get(key);
    if (made) {
      update?.(made, item);
    } else {
      made = create(item);
      made.dataset.key = key;
    }
    if (made === place) place = place.nextElementSibling;
    else parent.insertBefore(made, place);
  }
}

/** Sets text only where it differs, so that a live region speaks once for each change. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Closes a dialog by a press beside it. Whoever selects text and lets go beside it means the text.
 *
 * @param {HTMLDialogElement} dialog
 */
export function closeByPressBeside(dialog) {
  let began = false;
  dialog.onpointerdown = ({ target }) => {
    began = target === dialog;
  };
  dialog.onclick = ({ target }) => {
    if (began && target === dialog) dialog.close();
  };
}

/**
 * Makes an element of a picture.
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
