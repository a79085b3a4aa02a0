//! Tests of `coalesce.js`: many requests to draw make one run, several runs share the budget of a frame, and none starves.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { LONGEST_LATE_REST_MS, coalesce, restAfter, restWhenLate } from "../../www/model.js";

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

test("late_frames_are_followed_by_a_rest_of_all", () => {
  assert.equal(restWhenLate(0.5), 0);
  assert.equal(restWhenLate(50), 1_000);
  assert.equal(restWhenLate(10_000), LONGEST_LATE_REST_MS);
  const done = [];
  const asks = ["a", "b", "first"].map((name) => coalesce(working(name, 1, done)));
  const late = () => {
    clock += 384;
    frame();
  };
  asks[1]();
  frame();
  asks[0]();
  late();
  assert.deepEqual(done.splice(0), ["b", "a"]);
  // One late frame, of 400 ms, counts for a quarter.
  asks[1]();
  assert.equal(callbacks.size, 0, "other work rests as well");
  asks[2]();
  assert.equal(callbacks.size, 1, "the first run does not rest");
  frame();
  assert.deepEqual(done.splice(0), ["first"]);
  const rest = restWhenLate((400 - 34) / 4);
  assert.ok(rest > 1_000 && rest < LONGEST_LATE_REST_MS, `${rest}`);
  clock += rest;
  mock.timers.tick(rest);
  frame();
  assert.deepEqual(done, ["b"]);
  // Frames on time end the rests.
  for (let number = 0; number < 20; number += 1) {
    clock += LONGEST_LATE_REST_MS;
    asks[0]();
    frame();
  }
  asks[1]();
  assert.equal(callbacks.size, 1);
});

test("slow_timers_of_hidden_tabs_are_not_late_frames", () => {
  const done = [];
  const ask = coalesce(working("a", 1, done));
  document.visibilityState = "hidden";
  ask();
  clock += 1_000;
  mock.timers.tick(1);
  document.visibilityState = "visible";
  ask();
  assert.equal(callbacks.size, 1);
});
