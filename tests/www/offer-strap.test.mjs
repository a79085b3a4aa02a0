//! What is remembered of a strap, and what happens to the screen and in the background, against a fake page.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

// What the modules use of a page.
const page = new EventTarget();
const stored = new Map();
const wakeLocks = [];
let hidden = false;

/** Resolves once the browser has decided on a lock. */
let decision = Promise.resolve();

class WakeLock extends EventTarget {
  released = false;
  async release() {
    this.released = true;
    this.dispatchEvent(new Event("release"));
  }
}

const globals = {
  HTMLElement: class extends EventTarget {},
  customElements: { define() {} },
  addEventListener: (type, listener) => page.addEventListener(type, listener),
  document: { get hidden() { return hidden; } },
  localStorage: { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) },
  navigator: {
    wakeLock: {
      request: async () => {
        const lock = new WakeLock();
        wakeLocks.push(lock);
        await decision;
        return lock;
      },
    },
  },
};
for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true });
const { offerStrap } = await import("../../www/offer-strap.js");

const settled = async () => {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

function strap(id) {
  const measurements = Object.assign(new EventTarget(), { startNotifications: async () => {} });
  const service = { getCharacteristic: async () => measurements };
  const server = { getPrimaryService: async (uuid) => (uuid === "heart_rate" ? service : Promise.reject(new Error("none"))) };
  return Object.assign(new EventTarget(), { id, name: id, gatt: { connect: async () => server, disconnect() {} } });
}

/** A visit to the page: a control, and a browser that knows these straps from earlier visits. */
function visit({ known = [], chosen = strap("chosen") } = {}) {
  const control = new EventTarget();
  const bluetooth = { requestDevice: async () => chosen, getDevices: async () => known, getAvailability: async () => true };
  offerStrap(control, bluetooth, async () => {});
  return control;
}

const request = (control, type, detail) => control.dispatchEvent(Object.assign(new Event(type), { detail }));

beforeEach(() => {
  stored.clear();
  wakeLocks.length = 0;
  hidden = false;
});

test("strap_and_interval_survive_a_reload", async () => {
  const first = visit();
  request(first, "interval-chosen", { seconds: 7 });
  request(first, "strap-requested", { all: false });
  await settled();
  assert.equal(first.strap.state.phase, "on");

  const second = visit({ known: [strap("other"), strap("chosen")] });
  await settled();
  assert.deepEqual([second.strap.intervalS, second.strap.state.phase, second.strap.state.name], [7, "on", "chosen"]);
  request(second, "strap-stopped");

  const third = visit({ known: [strap("chosen")] });
  await settled();
  assert.equal(third.strap.state.phase, "off", "it was disconnected on purpose");
  assert.equal(third.strap.intervalS, 7);
});

test("override_of_skin_contact_is_for_one_strap", async () => {
  const first = visit();
  request(first, "strap-requested", {});
  await settled();
  request(first, "contact-overridden", { on: true });
  const second = visit({ known: [strap("chosen")] });
  await settled();
  assert.equal(second.strap.state.anyContact, true);
  request(second, "strap-stopped");
  const third = visit({ chosen: strap("another") });
  request(third, "strap-requested", {});
  await settled();
  assert.equal(third.strap.state.anyContact, false);
  request(third, "interval-chosen", { seconds: 9 });
  const fourth = visit({ known: [strap("another")] });
  await settled();
  assert.equal(fourth.strap.state.anyContact, false, "nor is it remembered");
});

test("another_strap_never_records_without_contact", async () => {
  const first = visit();
  request(first, "strap-requested", {});
  await settled();
  request(first, "contact-overridden", { on: true });
  const states = [];
  const second = visit({ chosen: strap("another") });
  Object.defineProperty(second, "strap", { set: ({ state }) => states.push(`${state.phase} ${state.anyContact}`) });
  request(second, "strap-requested", {});
  await settled();
  assert.deepEqual(states.filter((state) => /^(connecting|on) /.test(state)), ["connecting false", "on false"]);
});

test("blocked_or_odd_storage_is_harmless", async () => {
  for (const text of ["", "null", "7", '{"intervalS":"x"}', '{"intervalS":0,"on":true}']) {
    stored.set("heartchain.strap", text);
    assert.equal(visit().strap.intervalS, 5, text);
  }
});

test("screen_stays_on_while_a_strap_is_connected", async () => {
  const control = visit();
  await settled();
  assert.equal(wakeLocks.length, 0);
  request(control, "strap-requested", {});
  await settled();
  assert.deepEqual(wakeLocks.map(({ released }) => released), [false]);
  // The browser takes it away from a hidden page.
  await wakeLocks[0].release();
  page.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.deepEqual(wakeLocks.map(({ released }) => released), [true, false]);
  request(control, "strap-stopped");
  assert.deepEqual(wakeLocks.map(({ released }) => released), [true, true]);
});

test("page_holds_one_screen_lock_at_most", async () => {
  let decide;
  decision = new Promise((resolve) => (decide = resolve));
  const control = visit();
  request(control, "strap-requested", {});
  await settled();
  page.dispatchEvent(new Event("visibilitychange"));
  page.dispatchEvent(new Event("visibilitychange"));
  decide();
  await settled();
  assert.deepEqual(wakeLocks.map(({ released }) => released), [false]);
  request(control, "strap-stopped");
  assert.deepEqual(wakeLocks.map(({ released }) => released), [true]);
});

test("time_in_the_background_is_told", async () => {
  const control = visit();
  request(control, "strap-requested", {});
  await settled();
  hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  await new Promise((resolve) => setTimeout(resolve, 20));
  hidden = false;
  page.dispatchEvent(new Event("visibilitychange"));
  assert.ok(control.hiddenMs >= 15, `${control.hiddenMs} ms`);
  request(control, "strap-stopped");
});
