//! One strap's session: opens the browser's chooser, connects, listens, reconnects after a loss, and stops on request.
//! Records nothing itself: it dispatches samples. Never touches the page.

import { StrapSampler, isUsable } from "./strap-sampler.js";
import { parseBattery, parseMeasurement } from "./strap.js";

/** Delays before each reconnect, in ms; the last one repeats. */
export const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];
/** Timeout of one connection attempt, in ms: some systems wait forever for a strap that is out of reach. */
export const CONNECT_TIMEOUT_MS = 20_000;
/**
 * Straps measure about once per second. After this time without a usable measurement, in ms, the last value is hidden, and
 * the page says what is wrong: single odd values are common and need no message.
 */
export const SILENCE_MS = 5_000;
/** A heart beats less evenly than this: after this time with one value only, ms, the strap has probably stopped measuring. */
export const FROZEN_MS = 180_000;

/** Expected errors of the chooser. Any other error is shown with the browser's message. */
const CHOOSER_FAULTS = new Map([
  ["NotFoundError", null], // the user closed the chooser
  ["AbortError", null],
  ["SecurityError", "blocked"],
  ["NotAllowedError", "blocked"],
]);

/**
 * The state to display.
 *
 * @typedef {object} StrapState
 * @property {"off" | "choosing" | "connecting" | "on" | "lost"} phase lost: reconnects automatically
 * @property {string} name the strap's own name: untrusted text
 * @property {number | null} bpm the last usable measurement, or null
 * @property {boolean | null} contact null if unknown
 * @property {number | null} battery percent
 * @property {number | null} ignored the last measurement if it is out of range, else null
 * @property {boolean} noPulse whether the strap says that it finds no pulse (yet)
 * @property {boolean} frozen whether the value has not changed for FROZEN_MS
 * @property {boolean} anyContact whether measurements without skin contact are recorded
 * @property {{ kind: "adapter" | "blocked" | "noService" | "other", reason: string } | null} fault why the strap is off
 */

const OFF = Object.freeze({
  phase: "off", name: "", bpm: null, contact: null, battery: null, ignored: null, noPulse: false, frozen: false,
  anyContact: false, fault: null,
});

/** What a new connection starts with. */
const UNMEASURED = Object.freeze({ bpm: null, contact: null, ignored: null, noPulse: false, frozen: false });

/** What a measurement that cannot be recorded says about the strap. */
function problemOf({ bpm, contact }) {
  if (contact === false) return { contact, ignored: null, noPulse: false };
  return bpm === 0 ? { contact, ignored: null, noPulse: true } : { contact, ignored: bpm, noPulse: false };
}

/**
 * Dispatches "change" whenever `state` changes, and "sample" with `{ bpm }` when a reading is due.
 */
export class StrapSession extends EventTarget {
  #bluetooth;
  #timers;
  #sampler = new StrapSampler();
  #state = OFF;
  /** Replaced on each start and stop, so that callbacks of an earlier run are ignored. */
  #run = {};
  #device = null;
  #lastDeviceId;
  #attempts = 0;
  #retry = null;
  #silence = null;
  /** What the last measurement that could not be recorded said. */
  #problem = null;
  /** The last usable value and since when there is no other one. */
  #same = { bpm: null, since: 0 };

  /**
   * @param {Bluetooth} bluetooth `navigator.bluetooth`
   * @param {{ now(): number, set(work: () => void, ms: number): unknown, clear(id: unknown): void }} [timers]
   * @param {string | null} [lastDeviceId] the strap that `anyContact` was set for at an earlier visit
   */
  constructor(bluetooth, timers = pageTimers, lastDeviceId = null) {
    super();
    this.#bluetooth = bluetooth;
    this.#lastDeviceId = lastDeviceId;
    this.#timers = timers;
  }

  /** @returns {StrapState} */
  get state() {
    return this.#state;
  }

  get intervalS() {
    return this.#sampler.intervalS;
  }

  set intervalS(seconds) {
    this.#sampler.intervalS = seconds;
    this.dispatchEvent(new Event("change"));
  }

  /** Records measurements without skin contact, or no longer. Ends when another strap is connected. */
  set anyContact(on) {
    this.#sampler.anyContact = on;
    this.#update({ anyContact: on });
  }

  /** The chosen strap's ID in this browser, or null. */
  get deviceId() {
    return this.#device?.id ?? null;
  }

  /** Keeps a strap connected that was chosen at an earlier visit. Never rejects. */
  async resume(device) {
    if (this.#state.phase !== "off") return;
    this.#begin({ ...OFF, anyContact: this.#state.anyContact, phase: "connecting" });
    await this.#keep(device);
  }

  /**
   * Lets the user choose a strap, and keeps it connected until `stop`. Must be called from a click. Never rejects.
   *
   * @param {{ all?: boolean }} [which] all: also devices that do not announce what they measure
   */
  async start({ all = false } = {}) {
    if (this.#state.phase !== "off") return;
    const run = this.#begin({ ...OFF, anyContact: this.#state.anyContact, phase: "choosing" });
    let device;
    try {
      device = await this.#bluetooth.requestDevice(
        all
          ? { acceptAllDevices: true, optionalServices: ["heart_rate", "battery_service"] }
          : { filters: [{ services: ["heart_rate"] }], optionalServices: ["battery_service"] },
      );
    } catch (error) {
      const fault = await this.#chooserFault(error);
      if (run === this.#run) this.#begin({ ...OFF, anyContact: this.#state.anyContact, fault });
      return;
    }
    if (run !== this.#run) return;
    await this.#keep(device);
  }

  async #keep(device) {
    this.#device = device;
    // Another strap may be right about the skin.
    if (device.id !== this.#lastDeviceId) this.anyContact = false;
    this.#lastDeviceId = device.id;
    this.#update({ name: device.name ?? "" });
    device.addEventListener("gattserverdisconnected", this.#onLost);
    await this.#connect();
  }

  /** Disconnects the strap. After this returns, there are no more measurements or attempts. */
  stop() {
    this.#end(null);
  }

  #end(fault) {
    const device = this.#device;
    this.#begin({ ...OFF, anyContact: this.#state.anyContact, fault });
    this.#device = null;
    device?.removeEventListener("gattserverdisconnected", this.#onLost);
    device?.gatt.disconnect();
  }

  async #connect() {
    const run = this.#begin({ ...this.#state, ...UNMEASURED, phase: "connecting" });
    const device = this.#device;
    const timeout = this.#timers.set(() => this.#lose(run), CONNECT_TIMEOUT_MS);
    try {
      const server = await device.gatt.connect();
      const service = await heartRateService(server);
      if (run !== this.#run) return;
      if (service === null) {
        this.#end({ kind: "noService", reason: "" });
        return;
      }
      const measurements = await service.getCharacteristic("heart_rate_measurement");
      measurements.addEventListener("characteristicvaluechanged", ({ target }) => {
        if (run === this.#run) this.#take(target.value);
      });
      await measurements.startNotifications();
      if (run !== this.#run) return;
      this.#attempts = 0;
      this.#update({ phase: "on" });
      this.#restartSilenceTimer();
      this.#readBattery(run, server);
    } catch {
      this.#lose(run);
    } finally {
      this.#timers.clear(timeout);
    }
  }

  /** The strap is out of reach or does not respond: reconnects with increasing delays. */
  #lose(run) {
    if (run !== this.#run) return;
    const device = this.#device;
    const delay = RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)];
    this.#attempts += 1;
    this.#begin({ ...this.#state, ...UNMEASURED, phase: "lost" });
    // Aborts an attempt that still hangs. The disconnect event it causes does not count as another loss.
    device.gatt.disconnect();
    this.#retry = this.#timers.set(() => this.#connect(), delay);
  }

  #onLost = () => {
    if (this.#state.phase === "on" || this.#state.phase === "connecting") this.#lose(this.#run);
  };

  #take(value) {
    const measurement = parseMeasurement(value);
    if (measurement === null) return;
    const now = this.#timers.now();
    const sample = this.#sampler.take(measurement, now);
    if (isUsable(measurement, this.#state.anyContact)) this.#show(measurement, now);
    else {
      this.#problem = problemOf(measurement);
      if (this.#state.bpm === null && this.#silence === null) this.#update(this.#problem);
    }
    if (sample !== null) this.dispatchEvent(new CustomEvent("sample", { detail: { bpm: sample } }));
  }

  #show({ bpm, contact }, now) {
    if (bpm !== this.#same.bpm) this.#same = { bpm, since: now };
    this.#problem = null;
    this.#update({ bpm, contact, ignored: null, noPulse: false, frozen: now - this.#same.since >= FROZEN_MS });
    this.#restartSilenceTimer();
  }

  #restartSilenceTimer() {
    this.#timers.clear(this.#silence);
    this.#silence = this.#timers.set(() => {
      this.#silence = null;
      this.#same = { bpm: null, since: 0 };
      this.#update({ ...UNMEASURED, ...this.#problem });
    }, SILENCE_MS);
  }

  /** Reads the battery level, which is optional. */
  async #readBattery(run, server) {
    try {
      const service = await server.getPrimaryService("battery_service");
      const level = await service.getCharacteristic("battery_level");
      const show = (value) => {
        if (run === this.#run) this.#update({ battery: parseBattery(value) });
      };
      show(await level.readValue());
      if (!level.properties.notify) return;
      level.addEventListener("characteristicvaluechanged", ({ target }) => show(target.value));
      await level.startNotifications();
    } catch {
      // Keeps the last known level, or unknown.
    }
  }

  async #chooserFault(error) {
    const available = await this.#bluetooth.getAvailability().catch(() => true);
    if (!available) return { kind: "adapter", reason: "" };
    const kind = CHOOSER_FAULTS.get(error.name);
    if (kind === null) return null;
    return { kind: kind ?? "other", reason: String(error.message ?? error) };
  }

  /** Ends the current run and starts a new one with this state. */
  #begin(state) {
    this.#timers.clear(this.#retry);
    this.#timers.clear(this.#silence);
    this.#silence = null;
    this.#problem = null;
    this.#same = { bpm: null, since: 0 };
    this.#sampler.reset();
    if (state.phase === "off") this.#attempts = 0;
    this.#run = {};
    this.#update(state);
    return this.#run;
  }

  #update(change) {
    const next = { ...this.#state, ...change };
    if (Object.keys(next).every((key) => next[key] === this.#state[key])) return;
    this.#state = Object.freeze(next);
    this.dispatchEvent(new Event("change"));
  }
}

/** A device's heart-rate service; null if it has none. */
async function heartRateService(server) {
  try {
    return await server.getPrimaryService("heart_rate");
  } catch (error) {
    if (error.name === "NotFoundError") return null;
    throw error;
  }
}

const pageTimers = {
  now: () => performance.now(),
  set: (work, ms) => setTimeout(work, ms),
  clear: (id) => clearTimeout(id),
};
