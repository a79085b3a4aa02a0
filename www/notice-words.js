//! What a person reads of a notice of the node's: a key of the catalogues, and what it speaks of. Never shows anything.

import { peerIdOf, shortName } from "./peer-name.js";
import { formatDuration } from "./strings.js";

const WORDS = {
  equivocation: ({ author, seq }) => ["notice.equivocation", { name: nameOf(author), seq }],
  "key-replaced": ({ author }) => ["notice.keyReplaced", { name: nameOf(author) }],
  healed: ({ records }) => ["notice.healed", { records }],
  "storage-failing": ({ reason }) => [`storage.failing-${reason}`, {}],
  "storage-reopened": ({ readings }) =>
    readings === null ? ["notice.storageReopened", {}] : ["notice.storageReset", { readings }],
  "storage-lost": ({ readings, saved }) => ["notice.storageLost", { readings, saved }],
  "clock-set-back": ({ byMs }) => ["notice.clockSetBack", { ms: byMs }],
  "clock-set-ahead": ({ byMs }) => ["notice.clockSetAhead", { ms: byMs }],
  "readings-adopted": ({ readings }) => ["notice.readingsAdopted", { readings }],
};

/**
 * The words of a notice. Kinds that the page has no words for are none of a person's business.
 *
 * @param {{ kind: string }} detail as the node's event "notice" carries it
 * @returns {{ key: string, values: object } | null}
 */
export function noticeWords(detail) {
  const [key, values] = WORDS[detail.kind]?.(detail) ?? [];
  return key === undefined ? null : { key, values };
}

/** What the words of a notice speak of, in the language in use: a span of time is written again when that changes. */
export function spoken({ ms, ...values }) {
  return ms === undefined ? values : { ...values, by: formatDuration(ms) };
}

function nameOf(author) {
  return shortName(peerIdOf(author));
}
