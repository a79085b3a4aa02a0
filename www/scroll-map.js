//! Where the rows of a very long list stand in a scrolled box, and which of them are in sight. Rows are of one
//! height. Never touches the page.

/**
 * The tallest content that every browser scrolls exactly (Firefox stops at 17.8 million), in CSS px. A longer
 * list is scrolled a little faster than the wheel turns, so that its end stays within reach.
 */
export const MAX_SCROLL_PX = 12_000_000;

/** Rows drawn beyond either edge, so that scrolling finds them there. */
export const OVERSCAN_ROWS = 2;

/**
 * @typedef {object} Box
 * @property {number} count rows in all
 * @property {number} row height of a row, px
 * @property {number} viewport height of the box, px
 */

/** @param {Box} box @returns {number} the height that the box scrolls over, px */
export function contentHeight({ count, row }) {
  return Math.min(count * row, MAX_SCROLL_PX);
}

/**
 * The rows to draw, and what to add to a row's own place (`row * its number`) to find it in the content.
 *
 * @param {Box} box
 * @param {number} scrollTop
 * @returns {{ first: number, last: number, shift: number }} `last` is below `first` when there is nothing to draw
 */
export function rowsInView(box, scrollTop) {
  const top = placeOf(box, scrollTop);
  const first = Math.max(0, Math.floor(top / box.row) - OVERSCAN_ROWS);
  const last = Math.min(box.count - 1, Math.floor((top + box.viewport) / box.row) + OVERSCAN_ROWS);
  return { first, last, shift: clampTop(box, scrollTop) - top };
}

/** @param {Box} box @param {number} scrollTop @returns {number} how far down the uncut list that is, px */
export function placeOf(box, scrollTop) {
  const top = clampTop(box, scrollTop);
  return top * stretch(box);
}

/** @param {Box} box @param {number} place in the uncut list, px @returns {number} the `scrollTop` that shows it at the top */
export function scrollTopOf(box, place) {
  return clampTop(box, place / stretch(box));
}

function clampTop(box, scrollTop) {
  return Math.min(Math.max(0, scrollTop), Math.max(0, contentHeight(box) - box.viewport));
}

function stretch(box) {
  const cut = contentHeight(box) - box.viewport;
  return cut <= 0 ? 1 : (box.count * box.row - box.viewport) / cut;
}
