//! Maps between scroll positions and rows of a very long virtual list with rows of equal height. Never touches the
//! page.

/**
 * The tallest content that every browser scrolls exactly (Firefox stops at 17.8 million), in CSS px. Longer lists
 * scroll faster than the wheel turns, so that their end stays reachable.
 */
export const MAX_SCROLL_PX = 12_000_000;

/** Extra rows drawn beyond each edge, so that scrolling does not reveal gaps. */
export const OVERSCAN_ROWS = 2;

/**
 * @typedef {object} Box
 * @property {number} count total number of rows
 * @property {number} row height of a row, px
 * @property {number} viewport height of the box, px
 */

/** @param {Box} box @returns {number} the height of the scrolled content, px */
export function contentHeight({ count, row }) {
  return Math.min(count * row, MAX_SCROLL_PX);
}

/**
 * The rows to draw, and the shift to add to a row's unscaled position (row height times index) within the content.
 *
 * @param {Box} box
 * @param {number} scrollTop
 * @returns {{ first: number, last: number, shift: number }} `last` is less than `first` if there is nothing to draw
 */
export function rowsInView(box, scrollTop) {
  const top = offsetOf(box, scrollTop);
  const first = Math.max(0, Math.floor(top / box.row) - OVERSCAN_ROWS);
  const last = Math.min(box.count - 1, Math.floor((top + box.viewport) / box.row) + OVERSCAN_ROWS);
  return { first, last, shift: clampTop(box, scrollTop) - top };
}

/** @param {Box} box @param {number} scrollTop @returns {number} the matching position in the unscaled list, px */
export function offsetOf(box, scrollTop) {
  const top = clampTop(box, scrollTop);
  return top * stretch(box);
}

/**
 * @param {Box} box
 * @param {number} offset in the unscaled list, px
 * @returns {number} the `scrollTop` that shows it at the top
 */
export function scrollTopOf(box, offset) {
  return clampTop(box, offset / stretch(box));
}

function clampTop(box, scrollTop) {
  return Math.min(Math.max(0, scrollTop), Math.max(0, contentHeight(box) - box.viewport));
}

function stretch(box) {
  const range = contentHeight(box) - box.viewport;
  return range <= 0 ? 1 : (box.count * box.row - box.viewport) / range;
}
