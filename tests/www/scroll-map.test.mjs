//! A list of any length scrolls from its first to its last row, and draws only rows in view.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_SCROLL_PX, OVERSCAN_ROWS, contentHeight, offsetOf, rowsInView, scrollTopOf } from "../../www/geometry.js";

const short = { count: 30, row: 100, viewport: 600 };
const long = { count: 1_000_000, row: 150, viewport: 800 };

test("rows_in_view_are_drawn_and_few_others", () => {
  assert.deepEqual(rowsInView(short, 0), { first: 0, last: 6 + OVERSCAN_ROWS, shift: 0 });
  assert.deepEqual(rowsInView(short, 1_050), { first: 10 - OVERSCAN_ROWS, last: 16 + OVERSCAN_ROWS, shift: 0 });
  assert.deepEqual(rowsInView(short, 99_999), { first: 24 - OVERSCAN_ROWS, last: 29, shift: 0 });
});

test("empty_list_draws_nothing", () => {
  const { first, last } = rowsInView({ count: 0, row: 100, viewport: 600 }, 0);
  assert.ok(last < first);
});

test("list_shorter_than_its_box_does_not_scroll", () => {
  const box = { count: 2, row: 100, viewport: 600 };
  assert.equal(offsetOf(box, 50), 0);
  assert.deepEqual(rowsInView(box, 50), { first: 0, last: 1, shift: 0 });
});

test("list_beyond_the_scroll_limit_reaches_its_end", () => {
  assert.equal(contentHeight(long), MAX_SCROLL_PX);
  const bottom = MAX_SCROLL_PX - long.viewport;
  const { last, shift } = rowsInView(long, bottom);
  assert.equal(last, long.count - 1);
  // Its lower edge is that of the content.
  assert.ok(Math.abs(long.count * long.row + shift - MAX_SCROLL_PX) < 0.01);
  assert.equal(rowsInView(long, 0).first, 0);
});

test("top_row_is_drawn_at_the_top_of_the_box", () => {
  for (const scrollTop of [0, 1, 777, 5_000_000, MAX_SCROLL_PX - long.viewport]) {
    const { shift } = rowsInView(long, scrollTop);
    const row = offsetOf(long, scrollTop) / long.row;
    assert.ok(Math.abs(row * long.row + shift - scrollTop) < 0.01, `${scrollTop}`);
  }
});

test("scroll_offset_round_trips", () => {
  for (const box of [short, long]) {
    for (const row of [0, 1, 17]) assert.ok(Math.abs(offsetOf(box, scrollTopOf(box, row * box.row)) - row * box.row) < 0.01);
  }
});
