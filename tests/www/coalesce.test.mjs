//! Tests of `coalesce.js`: many requests to draw make one run, several runs share the budget of a frame, and none starves.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { coalesce, restAfter } from "../../www/model.js";

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

/** Runs an animation frame, as a browser does sixty times per second. */
function frame() {
  clock += 16;
  const due = callbacks;
  callbacks = new Map();
  const time = clock;
  for (const call of due.values()) call(time);
}

/** Work of this duration that logs its name. */
function working(name, ms, done) {
  return () => {
    clock += ms;
    done.push(name);
  };
}

test("calls_before_a_frame_run_once", () => {
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

test("work_over_the_frame_budget_waits_for_the_next", () => {
  const done = [];
  for (const name of ["a", "b", "c"]) coalesce(working(name, 8, done))();
  frame();
  assert.deepEqual(done, ["a", "b"]);
  frame();
  assert.deepEqual(done, ["a", "b", "c"]);
});

test("work_without_a_frame_runs_after_a_timeout", () => {
  const done = [];
  coalesce(working("late", 1, done))();
  callbacks.clear();
  mock.timers.tick(99);
  assert.deepEqual(done, []);
  mock.timers.tick(1);
  assert.deepEqual(done, ["late"]);
});

test("hidden_page_needs_no_frame", () => {
  document.visibilityState = "hidden";
  const done = [];
  coalesce(working("hidden", 1, done))();
  assert.equal(callbacks.size, 0);
  mock.timers.tick(1);
  assert.deepEqual(done, ["hidden"]);
});

test("slow_work_is_followed_by_a_rest", () => {
  assert.equal(restAfter(3), 0);
  assert.equal(restAfter(10), 40);
  assert.equal(restAfter(10_000), 1_000);
});
