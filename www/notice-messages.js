//! Maps the node's notices to texts: a key of the catalogues and the values of its placeholders. Displays nothing.

import { peerIdOf, shortName } from "./peer-name.js";
import { formatDuration } from "./strings.js";

const MESSAGES = {
  equivocation: ({ author, seq }) => ["notice.equivocation", { name: nameOf(author), seq }],
  "key-replaced": ({ author }) => ["notice.keyReplaced", { name: nameOf(author) }],
  repaired: ({ records }) => ["notice.repaired", { records }],
  "storage-failing": ({ reason }) => [`storage.failing-${reason}`, {}],
  "storage-reopened": ({ readings }) =>
    readings === null ? ["notice.storageReopened", {}] : ["notice.storageReset", { readings }],
  "storage-lost": ({ readings, saved }) => ["notice.storageLost", { readings, saved }],
  "clock-set-back": ({ byMs }) => ["notice.clockSetBack", { ms: byMs }],
  "clock-set-ahead": ({ byMs }) => ["notice.clockSetAhead", { ms: byMs }],
  "readings-adopted": ({ readings }) => ["notice.readingsAdopted", { readings }],
};

/**
 * The text of a notice, or null for kinds that users need not know about.
 *
 * @param {{ kind: string }} detail the detail of the node's "notice" event
 * @returns {{ key: string, values: object } | null}
 */
export function noticeMessage(detail) {
  const [key, values] = MESSAGES[detail.kind]?.(detail) ?? [];
  return key === undefined ? null : { key, values };
}

/** The values of a notice's placeholders in the current language, with durations formatted. */
export function messageValues({ ms, ...values }) {
  return ms === undefined ? values : { ...values, by: formatDuration(ms) };
}

function nameOf(author) {
  return shortName(peerIdOf(author));
}
