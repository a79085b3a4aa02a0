//! One strap, from the browser's chooser to its last measurement: connects, listens, connects again when the strap
//! was lost, and stops when told to. Never records: it dispatches what is to be recorded. Never touches the page.

import { StrapSampler, isUsable } from "./strap-sampler.js";
import { parseBattery, parseMeasurement } from "./strap.js";

/** Waits before the tries to connect again, in ms; the last one is for all that follow. */
export const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];
/** How long one try to connect may take, in ms: some systems wait for ever for a strap that is out of reach. */
export const CONNECT_LIMIT_MS = 20_000;
/** Straps measure about once a second; after this long without, in ms, the last value is no longer shown. */
export const SILENCE_MS = 5_000;

/** What may follow from the chooser. Anything else that goes wrong is shown with the browser's words. */
const CHOOSER_FAULTS = new Map([
  ["NotFoundError", null], // the person closed the chooser
  ["AbortError", null],
  ["SecurityError", "blocked"],
  ["NotAllowedError", "blocked"],
]);

/**
 * What is to be shown.
 *
 * @typedef {object} StrapState
 * @property {"off" | "choosing" | "connecting" | "on" | "lost"} phase lost: will be tried again by itself
 * @property {string} name what the strap calls itself: words of a stranger
 * @property {number | null} bpm the last measurement, null while there is none to be recorded
 * @property {boolean | null} contact null: unknown
 * @property {number | null} battery percent
 * @property {number | null} ignored a measurement just now that no heart has
 * @property {{ kind: "adapter" | "blocked" | "other", reason: string } | null} fault why it is off
 */

const OFF = Object.freeze({
  phase: "off", name: "", bpm: null, contact: null, battery: null, ignored: null, fault: null,
});

/**
 * Dispatches "change" whenever `state` is another, and "sample" with `{ bpm }` when a reading is due.
 */
export class StrapSession extends EventTarget {
  #bluetooth;
  #timers;
  #sampler = new StrapSampler();
  #state = OFF;
  /** Another object with each start and stop: what belongs to an earlier one is dropped when it comes back. */
  #run = {};
  #device = null;
  #tries = 0;
  #retry = null;
  #silence = null;

  /**
   * @param {Bluetooth} bluetooth `navigator.bluetooth`
   * @param {{ now(): number, set(work: () => void, ms: number): unknown, clear(id: unknown): void }} [timers]
   */
  constructor(bluetooth, timers = pageTimers) {
    super();
    this.#bluetooth = bluetooth;
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

  /** Asks the person for a strap, and stays with it until `stop`. Must be called from a click. Never rejects. */
  async start() {
    if (this.#state.phase !== "off") return;
    const run = this.#begin({ ...OFF, phase: "choosing" });
    let device;
    try {
      device = await this.#bluetooth.requestDevice({
        filters: [{ services: ["heart_rate"] }],
        optionalServices: ["battery_service"],
      });
    } catch (error) {
      const fault = await this.#chooserFault(error);
      if (run === this.#run) this.#begin({ ...OFF, fault });
      return;
    }
    if (run !== this.#run) return;
    this.#device = device;
    this.#update({ name: device.name ?? "" });
    device.addEventListener("gattserverdisconnected", this.#onLost);
    await this.#connect();
  }

  /** Leaves the strap. Nothing is measured or tried again after this returns. */
  stop() {
    const device = this.#device;
    this.#begin(OFF);
    this.#device = null;
    device?.removeEventListener("gattserverdisconnected", this.#onLost);
    device?.gatt.disconnect();
  }

  async #connect() {
    const run = this.#begin({ ...this.#state, phase: "connecting", bpm: null, contact: null, ignored: null });
    const device = this.#device;
    const limit = this.#timers.set(() => this.#lose(run), CONNECT_LIMIT_MS);
    try {
      const server = await device.gatt.connect();
      const service = await server.getPrimaryService("heart_rate");
      const measurements = await service.getCharacteristic("heart_rate_measurement");
      measurements.addEventListener("characteristicvaluechanged", ({ target }) => {
        if (run === this.#run) this.#take(target.value);
      });
      await measurements.startNotifications();
      if (run !== this.#run) return;
      this.#tries = 0;
      this.#update({ phase: "on" });
      this.#listenForSilence();
      this.#readBattery(run, server);
    } catch {
      this.#lose(run);
    } finally {
      this.#timers.clear(limit);
    }
  }

  /** The strap is out of reach, or would not talk: it is tried again later, and later each time. */
  #lose(run) {
    if (run !== this.#run) return;
    const device = this.#device;
    const wait = RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)];
    this.#tries += 1;
    this.#begin({ ...this.#state, phase: "lost", bpm: null, contact: null, ignored: null });
    // A try that still hangs ends by this; being told so is no other loss.
    device.gatt.disconnect();
    this.#retry = this.#timers.set(() => this.#connect(), wait);
  }

  #onLost = () => {
    if (this.#state.phase === "on" || this.#state.phase === "connecting") this.#lose(this.#run);
  };

  #take(value) {
    const measurement = parseMeasurement(value);
    if (measurement === null) return;
    const { bpm, contact } = measurement;
    const usable = isUsable(measurement);
    const sample = this.#sampler.take(measurement, this.#timers.now());
    this.#update({ bpm: usable ? bpm : null, contact, ignored: usable || contact === false ? null : bpm });
    this.#listenForSilence();
    if (sample !== null) this.dispatchEvent(new CustomEvent("sample", { detail: { bpm: sample } }));
  }

  #listenForSilence() {
    this.#timers.clear(this.#silence);
    this.#silence = this.#timers.set(() => this.#update({ bpm: null, ignored: null }), SILENCE_MS);
  }

  /** Not every strap tells its battery, and none needs to. */
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
      // Shown as it was before: unknown, or the last that was heard.
    }
  }

  async #chooserFault(error) {
    const available = await this.#bluetooth.getAvailability().catch(() => true);
    if (!available) return { kind: "adapter", reason: "" };
    const kind = CHOOSER_FAULTS.get(error.name);
    if (kind === null) return null;
    return { kind: kind ?? "other", reason: String(error.message ?? error) };
  }

  /** Ends what runs and begins what is next, in this state. */
  #begin(state) {
    this.#timers.clear(this.#retry);
    this.#timers.clear(this.#silence);
    this.#sampler.reset();
    if (state.phase === "off") this.#tries = 0;
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

const pageTimers = {
  now: () => performance.now(),
  set: (work, ms) => setTimeout(work, ms),
  clear: (id) => clearTimeout(id),
};
