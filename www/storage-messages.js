//! Describes the node's storage for users, from its `status()`. Does not query the browser.

import { formatBytes, say } from "./strings.js";

/**
 * Where this tab stores its chain, and the state of that storage.
 *
 * @param {object} storage as in the node's `status()`
 */
export function storageMessage({ kind, reason, persisted, failing, unchecked, saving, lost }) {
  if (failing) return say(`storage.failing-${kind === "disk" ? reason : "failed"}`);
  if (saving > 0) return say("storage.saving", { readings: saving });
  if (unchecked > 0) return say("storage.checking", { blocks: unchecked });
  if (kind === "disk") {
    const kept = say(persisted === true ? "storage.persisted" : "storage.disk");
    return (lost ?? 0) > 0 ? `${kept} ${say("storage.lost", { readings: lost })}` : kept;
  }
  return reason === null ? say("storage.memory") : `${say("storage.memory")} ${say(`storage.because-${reason}`)}`;
}

/** How much of its quota the browser reports as used. */
export function usageMessage({ usage, quota }) {
  if (usage === null || quota === null) return "";
  return say("storage.usage", { usage: formatBytes(usage), quota: formatBytes(quota) });
}
