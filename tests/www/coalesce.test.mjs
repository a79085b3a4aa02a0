//! Many causes make one refresh; several refreshes share a frame only while it has time for them, and none starves.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { coalesce, restAfter } from "../../www/coalesce.js";

let clock = 0;
let callbacks = new Map();

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  callbacks = new Map();
  clock += 1_000_000;
  let number = 0;
  globalThis.requestAnimationFrame = (call) => {
    callbacks.set(++number, call);
    return number;
  };
  globalThis.cancelAnimationFrame = (id) => callbacks.delete(id);
  globalThis.document = { visibilityState: "visible" };
  mock.method(performance, "now", () => clock);
});

/** What the browser does sixty times a second. */
function frame() {
  clock += 16;
  const due = callbacks;
  callbacks = new Map();
  const time = clock;
  for (const call of due.values()) call(time);
}

/** Work that takes so long, and says that it was done. */
function working(name, ms, done) {
  return () => {
    clock += ms;
    done.push(name);
  };
}

test("calls_before_a_frame_run_the_work_once", () => {
  const done = [];
  const ask = coalesce(working("a", 1, done));
  ask();
  ask();
  frame();
  assert.deepEqual(done, ["a"]);
  ask();
  frame();
  assert.deepEqual(done, ["a", "a"]);
});

test("work_beyond_the_time_of_a_frame_waits_for_the_next", () => {
  const done = [];
  for (const name of ["a", "b", "c"]) coalesce(working(name, 8, done))();
  frame();
  assert.deepEqual(done, ["a", "b"]);
  frame();
  assert.deepEqual(done, ["a", "b", "c"]);
});

test("work_that_no_frame_has_time_for_runs_after_a_while", () => {
  const done = [];
  coalesce(working("late", 1, done))();
  callbacks.clear();
  mock.timers.tick(99);
  assert.deepEqual(done, []);
  mock.timers.tick(1);
  assert.deepEqual(done, ["late"]);
});

test("a_hidden_page_needs_no_frame", () => {
  document.visibilityState = "hidden";
  const done = [];
  coalesce(working("hidden", 1, done))();
  assert.equal(callbacks.size, 0);
  mock.timers.tick(1);
  assert.deepEqual(done, ["hidden"]);
});

test("after_long_work_the_page_belongs_to_others", () => {
  assert.equal(restAfter(3), 0);
  assert.equal(restAfter(10), 40);
  assert.equal(restAfter(10_000), 1_000);
});
