//! Offers to connect a heart-rate strap: joins a `<strap-control>` with a `StrapSession`,
//! which talks to the strap.

import "./components/strap-control.js";
import { StrapSession } from "./strap-session.js";

/**
 * @param {HTMLElement} control a `<strap-control>`
 * @param {Bluetooth} bluetooth `navigator.bluetooth`
 * @param {(bpm: number) => Promise<unknown>} record rejects if the reading could not be saved
 */
export function offerStrap(control, bluetooth, record) {
  const session = new StrapSession(bluetooth);
  const show = () => {
    control.strap = { state: session.state, intervalS: session.intervalS };
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
  control.addEventListener("strap-requested", () => session.start());
  control.addEventListener("strap-stopped", () => session.stop());
  control.addEventListener("interval-chosen", ({ detail }) => {
    session.intervalS = detail.seconds;
  });
  show();
}
