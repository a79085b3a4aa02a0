//! A strap session against a fake Bluetooth API and a manual clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CONNECT_TIMEOUT_MS, FROZEN_MS, RETRY_MS, SILENCE_MS, StrapSession } from "../../www/strap-session.js";

class Clock {
  #now = 0;
  #jobs = new Map();
  #last = 0;

  now = () => this.#now;
  set = (work, ms) => {
    this.#last += 1;
    this.#jobs.set(this.#last, { work, at: this.#now + ms });
    return this.#last;
  };
  clear = (id) => this.#jobs.delete(id);

  get waiting() {
    return this.#jobs.size;
  }

  async pass(ms) {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#jobs].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#jobs.delete(next[0]);
      this.#now = next[1].at;
      next[1].work();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

class Characteristic extends EventTarget {
  properties = { notify: true };
  value = null;
  notifying = false;

  async startNotifications() {
    this.notifying = true;
    return this;
  }

  async readValue() {
    return new DataView(Uint8Array.of(87).buffer);
  }

  say(...bytes) {
    this.value = new DataView(Uint8Array.from(bytes).buffer);
    this.dispatchEvent(new Event("characteristicvaluechanged"));
  }
}

/** A strap with a heart-rate service; `fails` sets how connecting fails: "no", "hang" or not at all. */
class Strap extends EventTarget {
  name = "Strap";
  fails = null;
  battery = true;
  connects = 0;
  disconnects = 0;
  measurements = null;
  gatt = {
    connect: async () => {
      this.connects += 1;
      if (this.fails === "hang") await new Promise(() => {});
      if (this.fails === "no") throw new Error("out of reach");
      return {
        getPrimaryService: async (uuid) => {
          if (uuid === "battery_service" && !this.battery) throw new Error("no such service");
          return {
            getCharacteristic: async (wanted) => {
              const made = new Characteristic();
              if (wanted === "heart_rate_measurement") this.measurements = made;
              return made;
            },
          };
        },
      };
    },
    disconnect: () => (this.disconnects += 1),
  };

  vanish() {
    this.dispatchEvent(new Event("gattserverdisconnected"));
  }
}

function setUp() {
  const strap = new Strap();
  const clock = new Clock();
  const bluetooth = { requestDevice: async () => strap, getAvailability: async () => true };
  const session = new StrapSession(bluetooth, clock);
  const samples = [];
  session.addEventListener("sample", ({ detail }) => samples.push(detail.bpm));
  return { strap, clock, bluetooth, session, samples };
}

/** Sends one measurement per second. */
async function measure({ strap, clock }, seconds, ...bytes) {
  for (let second = 0; second < seconds; second += 1) {
    strap.measurements.say(...bytes);
    await clock.pass(1000);
  }
}

async function connected() {
  const all = setUp();
  await all.session.start();
  await settled();
  return all;
}

test("connected_strap_produces_samples", async () => {
  const all = await connected();
  const { session, samples } = all;
  assert.equal(session.state.phase, "on");
  assert.equal(session.state.name, "Strap");
  assert.equal(session.state.battery, 87);
  await measure(all, 6, 0b110, 72);
  assert.deepEqual(samples, [72]);
  assert.deepEqual([session.state.bpm, session.state.contact], [72, true]);
});

test("no_contact_hides_the_value_and_records_nothing", async () => {
  const all = await connected();
  await measure(all, 20, 0b100, 72);
  assert.deepEqual(all.samples, []);
  assert.deepEqual([all.session.state.bpm, all.session.state.contact], [null, false]);
});

test("strap_that_never_feels_skin_can_be_recorded", async () => {
  // "04 62": contact is supported and never detected, 98 beats per minute.
  const all = await connected();
  await measure(all, 20, 0x04, 0x62);
  assert.deepEqual([all.session.state.contact, all.samples], [false, []]);
  all.session.anyContact = true;
  await measure(all, 6, 0x04, 0x62);
  assert.deepEqual([all.session.state.bpm, all.samples.at(-1)], [98, 98]);
  all.session.stop();
  assert.equal(all.session.state.anyContact, true, "it stays for the next connection");
});

test("zero_between_values_changes_nothing", async () => {
  const all = await connected();
  let changes = 0;
  await measure(all, 1, 0, 72);
  all.session.addEventListener("change", () => (changes += 1));
  for (let second = 0; second < 20; second += 1) await measure(all, 1, 0, second % 2 ? 72 : 0);
  assert.equal(changes, 0);
  assert.deepEqual([...new Set(all.samples)], [72]);
  await measure(all, 8, 0, 0);
  const { bpm, noPulse, ignored } = all.session.state;
  assert.deepEqual([bpm, noPulse, ignored], [null, true, null]);
  await measure(all, 1, 0, 70);
  assert.deepEqual([all.session.state.bpm, all.session.state.noPulse], [70, false]);
});

test("value_that_never_changes_is_noticed", async () => {
  const all = await connected();
  await measure(all, FROZEN_MS / 1000, 0, 72);
  assert.equal(all.session.state.frozen, false);
  await measure(all, 2, 0, 72);
  assert.equal(all.session.state.frozen, true);
  assert.ok(all.samples.length > 30, "it is recorded all the same");
  await measure(all, 1, 0, 73);
  assert.equal(all.session.state.frozen, false);
});

test("all_devices_can_be_shown", async () => {
  const { session, bluetooth, strap } = setUp();
  const asked = [];
  bluetooth.requestDevice = async (options) => {
    asked.push(options);
    return strap;
  };
  await session.start({ all: true });
  assert.equal(asked[0].acceptAllDevices, true);
  assert.ok(asked[0].optionalServices.includes("heart_rate"));
});

test("device_without_heart_rate_is_not_retried", async () => {
  const all = setUp();
  all.strap.gatt.connect = async () => ({
    getPrimaryService: () => Promise.reject(Object.assign(new Error("none"), { name: "NotFoundError" })),
  });
  await all.session.start({ all: true });
  await settled();
  assert.deepEqual([all.session.state.phase, all.session.state.fault.kind, all.clock.waiting], ["off", "noService", 0]);
});

test("strap_of_an_earlier_visit_is_resumed", async () => {
  const all = setUp();
  all.bluetooth.requestDevice = () => assert.fail("the user is not asked");
  await all.session.resume(all.strap);
  await settled();
  await measure(all, 6, 0, 66);
  assert.deepEqual([all.session.state.phase, all.samples], ["on", [66]]);
});

test("out_of_range_values_are_reported_and_skipped", async () => {
  const all = await connected();
  await measure(all, 10, 0, 12);
  assert.deepEqual([all.session.state.ignored, all.session.state.bpm], [12, null]);
  await measure(all, 10, 1, 72);
  assert.deepEqual(all.samples, []);
  await measure(all, 6, 0, 80);
  assert.equal(all.session.state.ignored, null);
  assert.deepEqual(all.samples.every((bpm) => bpm === 80) && all.samples.length >= 1, true);
});

test("strap_without_battery_service_works", async () => {
  const all = setUp();
  all.strap.battery = false;
  await all.session.start();
  await settled();
  assert.equal(all.session.state.battery, null);
  await measure(all, 6, 0, 72);
  assert.deepEqual(all.samples, [72]);
});

test("lost_strap_reconnects_with_increasing_delays", async () => {
  const all = await connected();
  const { strap, clock, session, samples } = all;
  strap.fails = "no";
  strap.vanish();
  assert.equal(session.state.phase, "lost");
  for (const wait of [...RETRY_MS, RETRY_MS.at(-1)]) {
    const before = strap.connects;
    await clock.pass(wait - 1);
    assert.equal(strap.connects, before, `not before ${wait} ms`);
    await clock.pass(1);
    assert.equal(strap.connects, before + 1, `after ${wait} ms`);
  }
  strap.fails = null;
  await clock.pass(RETRY_MS.at(-1));
  assert.equal(session.state.phase, "on");
  await measure(all, 6, 0, 90);
  assert.deepEqual(samples, [90], "measurements before the gap do not count");

  strap.fails = "no";
  strap.vanish();
  const before = strap.connects;
  await clock.pass(RETRY_MS[0]);
  assert.equal(strap.connects, before + 1, "the delays start over");
});

test("hanging_attempt_times_out_and_is_retried", async () => {
  const all = setUp();
  all.strap.fails = "hang";
  all.session.start();
  await settled();
  assert.equal(all.session.state.phase, "connecting");
  await all.clock.pass(CONNECT_TIMEOUT_MS);
  assert.equal(all.session.state.phase, "lost");
  assert.equal(all.strap.disconnects, 1);
  all.strap.fails = null;
  await all.clock.pass(RETRY_MS[0]);
  assert.equal(all.session.state.phase, "on");
});

test("stop_leaves_no_measurements_attempts_or_timers", async () => {
  const all = await connected();
  const { strap, clock, session, samples } = all;
  await measure(all, 3, 0, 72);
  const old = strap.measurements;
  session.stop();
  assert.equal(strap.disconnects, 1);
  assert.equal(clock.waiting, 0);
  strap.vanish();
  for (let second = 0; second < 10; second += 1) {
    old.say(0, 72);
    await clock.pass(1000);
  }
  assert.deepEqual(samples, []);
  assert.equal(session.state.phase, "off");
  assert.equal(strap.connects, 1);

  await session.start();
  await settled();
  assert.equal(session.state.phase, "on", "it can be started again");
});

test("stop_ends_reconnecting", async () => {
  const lost = await connected();
  lost.strap.fails = "no";
  lost.strap.vanish();
  lost.session.stop();
  await lost.clock.pass(120_000);
  assert.equal(lost.strap.connects, 1);

  const connecting = setUp();
  connecting.strap.fails = "hang";
  connecting.session.start();
  await settled();
  connecting.session.stop();
  await connecting.clock.pass(120_000);
  assert.deepEqual([connecting.strap.connects, connecting.session.state.phase], [1, "off"]);
});

test("silent_strap_shows_no_old_value", async () => {
  const all = await connected();
  await measure(all, 1, 0, 72);
  assert.equal(all.session.state.bpm, 72);
  await all.clock.pass(SILENCE_MS);
  assert.deepEqual([all.session.state.bpm, all.session.state.phase], [null, "on"]);
});

test("chooser_faults_are_reported_unless_closed_by_user", async () => {
  const cases = [["NotFoundError", true, null], ["SecurityError", true, "blocked"], ["NotFoundError", false, "adapter"],
    ["NetworkError", true, "other"]];
  for (const [name, available, kind] of cases) {
    const { session, bluetooth } = setUp();
    bluetooth.requestDevice = () => Promise.reject(Object.assign(new Error("no"), { name }));
    bluetooth.getAvailability = async () => available;
    await session.start();
    assert.equal(session.state.phase, "off", name);
    assert.equal(session.state.fault?.kind ?? null, kind, name);
  }
});
