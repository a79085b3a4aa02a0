//! One strap's session: opens the browser's chooser, connects, listens, reconnects after a loss, and stops on request.
//! Records nothing itself: it dispatches samples. Never touches the page.

import { StrapSampler, isUsable } from "./strap-sampler.js";
import { parseBattery, parseMeasurement } from "./strap.js";

/** Delays before each reconnect, in ms; the last one repeats. */
export const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];
/** Timeout of one connection attempt, in ms: some systems wait forever for a strap that is out of reach. */
export const CONNECT_TIMEOUT_MS = 20_000;
/** Straps measure about once per second. After this time without a measurement, in ms, the last value is hidden. */
export const SILENCE_MS = 5_000;

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
 * @property {{ kind: "adapter" | "blocked" | "other", reason: string } | null} fault why the strap is off
 */

const OFF = Object.freeze({
  phase: "off", name: "", bpm: null, contact: null, battery: null, ignored: null, fault: null,
});

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
  #attempts = 0;
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

  /** Lets the user choose a strap, and keeps it connected until `stop`. Must be called from a click. Never rejects. */
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

  /** Disconnects the strap. After this returns, there are no more measurements or attempts. */
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
    const timeout = this.#timers.set(() => this.#lose(run), CONNECT_TIMEOUT_MS);
    try {
      const server = await device.gatt.connect();
      const service = await server.getPrimaryService("heart_rate");
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
    this.#begin({ ...this.#state, phase: "lost", bpm: null, contact: null, ignored: null });
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
    const { bpm, contact } = measurement;
    const usable = isUsable(measurement);
    const sample = this.#sampler.take(measurement, this.#timers.now());
    this.#update({ bpm: usable ? bpm : null, contact, ignored: usable || contact === false ? null : bpm });
    this.#restartSilenceTimer();
    if (sample !== null) this.dispatchEvent(new CustomEvent("sample", { detail: { bpm: sample } }));
  }

  #restartSilenceTimer() {
    this.#timers.clear(this.#silence);
    this.#silence = this.#timers.set(() => this.#update({ bpm: null, ignored: null }), SILENCE_MS);
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

const pageTimers = {
  now: () => performance.now(),
  set: (work, ms) => setTimeout(work, ms),
  clear: (id) => clearTimeout(id),
};
