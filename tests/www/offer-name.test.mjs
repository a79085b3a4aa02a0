//! The name is asked for once in each room, after the first reading.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

const stored = new Map();
const globals = {
  HTMLElement: class extends EventTarget {},
  customElements: { define() {} },
  document: { querySelectorAll: () => [] },
  localStorage: {
    getItem: (key) => stored.get(key) ?? null,
    setItem: (key, value) => stored.set(key, value),
    removeItem: (key) => stored.delete(key),
  },
};
for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true });
const { MAX_NAME_BYTES, nameFault, setNames } = await import("../../www/authors.js");
const { forgetAsked, offerName } = await import("../../www/offer-name.js");

const AUTHOR = "ab".repeat(32);

class FakeNode extends EventTarget {
  readings = 0;
  fails = false;
  status() {
    return { author: AUTHOR, genesis: "g" };
  }
  ownReadings(limit) {
    return Array.from({ length: Math.min(limit, this.readings) }, () => ({}));
  }
  async setName(name) {
    if (this.fails) throw new Error("no");
    setNames(name === "" ? [] : [{ author: AUTHOR, name }]);
    this.dispatchEvent(new Event("names"));
  }
  record() {
    this.readings += 1;
    this.dispatchEvent(new Event("reading"));
  }
}

/** A visit to the room: its node, and the element that asks. */
function visit(readings = 0) {
  const node = Object.assign(new FakeNode(), { readings });
  const results = [];
  const line = Object.assign(new EventTarget(), {
    own: null,
    saved() {
      results.push("saved");
      line.dispatchEvent(new Event("name-settled"));
    },
    failed: ({ message }) => results.push(message),
  });
  offerName(line, node, (work) => work);
  const choose = async (name) => {
    line.dispatchEvent(Object.assign(new Event("name-chosen"), { detail: { name } }));
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { node, line, results, choose };
}

beforeEach(() => {
  stored.clear();
  setNames([]);
});

test("name_is_asked_for_after_the_first_reading", () => {
  const { node, line } = visit();
  assert.equal(line.own, null);
  node.record();
  assert.deepEqual(line.own, { author: AUTHOR, name: "", asks: true });
});

test("name_is_asked_for_once_in_a_room", () => {
  const { line } = visit(1);
  line.dispatchEvent(new Event("name-settled"));
  assert.equal(line.own.asks, false);
  assert.equal(visit(1).line.own.asks, false);
  forgetAsked("g");
  assert.equal(visit(1).line.own.asks, true, "the room was deleted meanwhile");
});

test("name_is_shown_and_can_be_erased", async () => {
  const { line, results, choose } = visit(1);
  await choose("Clara");
  assert.deepEqual([line.own.name, line.own.asks], ["Clara", false]);
  await choose("");
  assert.deepEqual([line.own.name, line.own.asks, results], ["", false, ["saved", "saved"]]);
});

test("name_that_was_not_saved_is_told", async () => {
  const { node, line, results, choose } = visit(1);
  node.fails = true;
  await choose("Clara");
  assert.deepEqual([results, line.own.name, line.own.asks], [["no"], "", true]);
});

test("blocked_storage_does_not_stop_the_offer", () => {
  const { getItem } = localStorage;
  localStorage.getItem = () => {
    throw new Error("blocked");
  };
  assert.equal(visit(1).line.own.asks, true);
  localStorage.getItem = getItem;
});

test("names_are_refused_as_the_node_refuses_them", () => {
  assert.equal(nameFault("a".repeat(MAX_NAME_BYTES)), null);
  assert.equal(nameFault("a".repeat(MAX_NAME_BYTES + 1)), "long");
  assert.equal(nameFault("가".repeat(13)), null);
  assert.equal(nameFault("가".repeat(14)), "long");
  for (const hidden of ["\u0000", "\u202e", "\u200b", "\n", "\u200c", "\u200d", "\u3164"]) assert.equal(nameFault(`a${hidden}b`), "invisible");
});

test("joiners_between_letters_that_need_them_are_kept", () => {
  // Persian, Sinhala and Malayalam, and a family.
  const names = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0d28\u0d4d\u200d\u0d2e",
    "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}",
  ];
  for (const name of names) {
    assert.equal(nameFault(name), null, name);
    assert.equal(nameFault(`${name}\u200d`), "invisible", "not at the end");
  }
});
