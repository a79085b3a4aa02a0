//! What a person reads of the node's storage, from its `status()`. Never looks at the browser's.

import { formatBytes, say } from "./strings.js";

/**
 * Where this tab keeps its chain, and how that goes.
 *
 * @param {object} storage as in the node's `status()`
 */
export function storageWords({ kind, reason, persisted, failing, unchecked, saving, lost }) {
  if (failing) return say(`storage.failing-${kind === "disk" ? reason : "failed"}`);
  if (saving > 0) return say("storage.saving", { readings: saving });
  if (unchecked > 0) return say("storage.checking", { blocks: unchecked });
  if (kind === "disk") {
    const kept = say(persisted === true ? "storage.persisted" : "storage.disk");
    return (lost ?? 0) > 0 ? `${kept} ${say("storage.lost", { readings: lost })}` : kept;
  }
  return reason === null ? say("storage.memory") : `${say("storage.memory")} ${say(`storage.because-${reason}`)}`;
}

/** How much of its place the browser says is used. */
export function usageWords({ usage, quota }) {
  if (usage === null || quota === null) return "";
  return say("storage.usage", { usage: formatBytes(usage), quota: formatBytes(quota) });
}
