//! Offers heart-rate straps where the browser has Web Bluetooth: joins one session and its control. Never shown
//! elsewhere, and never talks to a strap or draws anything itself.

import "./components/strap-control.js";
import { StrapSession } from "./strap-session.js";

/**
 * @param {HTMLElement} control a `<strap-control>`
 * @param {Bluetooth | undefined} bluetooth `navigator.bluetooth`
 * @param {(bpm: number) => Promise<unknown>} record rejects if the reading could not be kept
 */
export function offerStrap(control, bluetooth, record) {
  if (!bluetooth) return;
  const session = new StrapSession(bluetooth);
  const show = () => {
    control.strap = { state: session.state, intervalS: session.intervalS };
  };
  session.addEventListener("change", show);
  // What comes while the sample before still waits for the node is left out: a strap never stops measuring.
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
  control.addEventListener("strap-wanted", () => session.start());
  control.addEventListener("strap-stopped", () => session.stop());
  control.addEventListener("interval-chosen", ({ detail }) => {
    session.intervalS = detail.seconds;
  });
  show();
}
