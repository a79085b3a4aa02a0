//! Offers to connect a heart-rate strap: joins a `<strap-control>` with a `StrapSession`, which talks to the strap. Remembers
//! the strap and the interval on this device, and keeps the screen on meanwhile.

import "./components/strap-control.js";
import { parseInterval } from "./strap-sampler.js";
import { StrapSession } from "./strap-session.js";

/** The key of what is remembered: `{ deviceId, on, anyContact, intervalS }`. */
const MEMORY_KEY = "heartchain.strap";

/**
 * @param {HTMLElement} control a `<strap-control>`
 * @param {Bluetooth} bluetooth `navigator.bluetooth`
 * @param {(bpm: number) => Promise<unknown>} record rejects if the reading could not be saved
 */
export function offerStrap(control, bluetooth, record) {
  const memory = remembered();
  const session = new StrapSession(bluetooth, undefined, memory.deviceId ?? null);
  session.intervalS = parseInterval(String(memory.intervalS ?? "")) ?? session.intervalS;
  session.anyContact = memory.anyContact === true;
  const show = () => {
    control.strap = { state: session.state, intervalS: session.intervalS };
    keepScreenOn(session.state.phase !== "off");
  };
  session.addEventListener("change", show);
  // A sample that arrives while the node still records the previous one is dropped: straps measure continuously.
  let busy = false;
  session.addEventListener("sample", async ({ detail }) => {
    if (busy) return;
    busy = true;
    try {
      await record(detail.bpm);
      control.failure = null;
    } catch (error) {
      control.failure = error;
    } finally {
      busy = false;
    }
  });
  control.addEventListener("strap-requested", async ({ detail }) => {
    control.hiddenMs = 0;
    await session.start(detail);
    memory.on = session.deviceId !== null;
    // If nothing was chosen, the last strap and what is known of it stay.
    if (memory.on) Object.assign(memory, { deviceId: session.deviceId, anyContact: session.state.anyContact });
    remember(memory);
  });
  control.addEventListener("strap-stopped", () => {
    session.stop();
    memory.on = false;
    remember(memory);
  });
  control.addEventListener("contact-overridden", ({ detail }) => {
    session.anyContact = detail.on;
    memory.anyContact = detail.on;
    remember(memory);
  });
  control.addEventListener("interval-chosen", ({ detail }) => {
    session.intervalS = detail.seconds;
    memory.intervalS = detail.seconds;
    remember(memory);
  });
  watchBackground(session, control);
  show();
  resume(session, bluetooth, memory);
}

/** Connects the strap that was connected when the page was left, if the browser still allows it without a question. */
async function resume(session, bluetooth, { deviceId, on }) {
  if (!on || typeof bluetooth.getDevices !== "function") return;
  const devices = await bluetooth.getDevices().catch(() => []);
  const device = devices.find(({ id }) => id === deviceId);
  if (device === undefined) return;
  // Some browsers connect only to a device that they have just heard.
  device.watchAdvertisements?.().catch(() => {});
  session.resume(device);
}

/** Measures how long a connected strap's page was in the background. */
function watchBackground(session, control) {
  let since = null;
  addEventListener("visibilitychange", () => {
    if (document.hidden) {
      since = session.state.phase === "off" ? null : performance.now();
      return;
    }
    if (since !== null) control.hiddenMs = performance.now() - since;
    since = null;
  });
}

let wanted = false;
/** The page's one lock, or null. */
let lock = null;
let requesting = false;

/** Keeps the screen on, as far as the browser lets it: a page behind a dark screen gets few measurements. */
function keepScreenOn(on) {
  if (on === wanted) return;
  wanted = on;
  if (on) requestLock();
  else releaseLock();
}

async function requestLock() {
  if (!wanted || document.hidden || lock !== null || requesting) return;
  requesting = true;
  try {
    const granted = (await navigator.wakeLock?.request("screen")) ?? null;
    lock = granted;
    // The browser releases it when the page is hidden.
    granted?.addEventListener("release", () => {
      if (lock === granted) lock = null;
    });
    if (!wanted) releaseLock();
  } catch {
    // The battery is low, or the browser does not allow it. Recording goes on.
  } finally {
    requesting = false;
  }
}

function releaseLock() {
  lock?.release().catch(() => {});
  lock = null;
}

addEventListener("visibilitychange", requestLock);

/** Nothing if storage is blocked or holds something else. */
function remembered() {
  try {
    return Object(JSON.parse(localStorage.getItem(MEMORY_KEY)));
  } catch {
    return {};
  }
}

function remember(memory) {
  try {
    localStorage.setItem(MEMORY_KEY, JSON.stringify(memory));
  } catch {
    // Only the preference is lost.
  }
}
