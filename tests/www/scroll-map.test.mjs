//! A list of any length scrolls from its first row to its last, and draws only what is in sight.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_SCROLL_PX, OVERSCAN_ROWS, contentHeight, placeOf, rowsInView, scrollTopOf } from "../../www/scroll-map.js";

const short = { count: 30, row: 100, viewport: 600 };
const long = { count: 1_000_000, row: 150, viewport: 800 };

test("the_rows_in_sight_are_drawn_and_few_others", () => {
  assert.deepEqual(rowsInView(short, 0), { first: 0, last: 6 + OVERSCAN_ROWS, shift: 0 });
  assert.deepEqual(rowsInView(short, 1_050), { first: 10 - OVERSCAN_ROWS, last: 16 + OVERSCAN_ROWS, shift: 0 });
  assert.deepEqual(rowsInView(short, 99_999), { first: 24 - OVERSCAN_ROWS, last: 29, shift: 0 });
});

test("no_rows_draw_nothing", () => {
  const { first, last } = rowsInView({ count: 0, row: 100, viewport: 600 }, 0);
  assert.ok(last < first);
});

test("a_list_shorter_than_its_box_does_not_scroll", () => {
  const box = { count: 2, row: 100, viewport: 600 };
  assert.equal(placeOf(box, 50), 0);
  assert.deepEqual(rowsInView(box, 50), { first: 0, last: 1, shift: 0 });
});

test("a_list_taller_than_browsers_scroll_is_reached_to_its_end", () => {
  assert.equal(contentHeight(long), MAX_SCROLL_PX);
  const bottom = MAX_SCROLL_PX - long.viewport;
  const { last, shift } = rowsInView(long, bottom);
  assert.equal(last, long.count - 1);
  // Its lower edge is the content's.
  assert.ok(Math.abs(long.count * long.row + shift - MAX_SCROLL_PX) < 0.01);
  assert.equal(rowsInView(long, 0).first, 0);
});

test("the_row_at_the_top_of_the_box_is_drawn_at_the_top_of_the_box", () => {
  for (const scrollTop of [0, 1, 777, 5_000_000, MAX_SCROLL_PX - long.viewport]) {
    const { shift } = rowsInView(long, scrollTop);
    const row = placeOf(long, scrollTop) / long.row;
    assert.ok(Math.abs(row * long.row + shift - scrollTop) < 0.01, `${scrollTop}`);
  }
});

test("a_place_is_scrolled_to_and_found_again", () => {
  for (const box of [short, long]) {
    for (const row of [0, 1, 17]) assert.ok(Math.abs(placeOf(box, scrollTopOf(box, row * box.row)) - row * box.row) < 0.01);
  }
});
