//! The page's words: one catalogue a language, chosen by the browser and by the switch. Never holds a
//! sentence itself (see `strings/`), and touches the page only where `translate` is asked to.

import en from "./strings/en.js";
import ko from "./strings/ko.js";

const CATALOGUES = { en, ko };

/** Units of time and their length in ms, longest first. */
const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
];

/** Units of storage, each a thousand times the one before. */
const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** The languages of the page. */
export const LANGUAGES = Object.keys(CATALOGUES);

/**
 * Adds sentences that came later, with the part of the page that speaks them.
 *
 * @param {Record<string, Record<string, unknown>>} catalogues one a language
 */
export function addWords(catalogues) {
  for (const code of LANGUAGES) Object.assign(CATALOGUES[code], catalogues[code]);
}

/** Dispatches "change" after the language has changed. */
export const languageChanges = new EventTarget();

const TIME = { timeStyle: "medium" };
const DATE_AND_TIME = { dateStyle: "medium", timeStyle: "medium" };

/** As many as there are languages times kinds of formats. */
const formatters = new Map();

let current = "en";

/** @returns {string} the language in use, as a BCP 47 tag */
export function language() {
  return current;
}

/** @param {string} code one of LANGUAGES; anything else is left alone */
export function setLanguage(code) {
  if (code === current || !LANGUAGES.includes(code)) return;
  current = code;
  languageChanges.dispatchEvent(new Event("change"));
}

/**
 * The first language wished for that the page has, English otherwise.
 *
 * @param {readonly (string | null | undefined)[]} wished BCP 47 tags, dearest first
 */
export function chooseLanguage(wished) {
  const spoken = wished.map((tag) => String(tag ?? "").toLowerCase().split("-")[0]);
  return spoken.find((code) => LANGUAGES.includes(code)) ?? "en";
}

/**
 * A sentence in the language in use.
 *
 * @param {string} key
 * @param {object} [values] what the sentence speaks of
 */
export function say(key, values = {}) {
  const sentence = CATALOGUES[current][key];
  if (sentence === undefined) throw new Error(`no words for "${key}" in "${current}"`);
  return typeof sentence === "function" ? sentence(values, formatNumber) : sentence;
}

/** @param {number} value */
export function formatNumber(value) {
  return formatter(Intl.NumberFormat).format(value);
}

/**
 * A moment as a person reads it: the time, with the date when it is not today.
 *
 * @param {number} time Unix ms
 * @param {number} now Unix ms
 */
export function formatTime(time, now) {
  const moment = new Date(time);
  const today = new Date(now).toDateString() === moment.toDateString();
  return formatter(Intl.DateTimeFormat, today ? TIME : DATE_AND_TIME).format(moment);
}

/** Makes the formatters of the language in use, which takes a browser some 20 ms the first time. */
export function prepareFormats() {
  formatNumber(0);
  formatTime(0, 0);
}

/**
 * A formatter of the language in use. Making one takes longer than all that it formats on a page, so they are kept.
 *
 * @template F
 * @param {new (language: string, options?: object) => F} Format
 * @param {object} [options] one of few constants
 * @returns {F}
 */
export function formatter(Format, options) {
  const key = `${current} ${Format.name} ${JSON.stringify(options)}`;
  let made = formatters.get(key);
  if (made === undefined) {
    made = new Format(current, options);
    formatters.set(key, made);
  }
  return made;
}

/**
 * A span of time in its one fitting unit ("10 minutes").
 *
 * @param {number} ms
 */
export function formatDuration(ms) {
  const [unit, length] = UNITS.find(([, length]) => ms >= 1.5 * length) ?? UNITS.at(-1);
  const options = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  return formatter(Intl.NumberFormat, options).format(ms / length);
}

/**
 * An amount of storage, with its fitting unit ("1.2 MB").
 *
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  const place = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const options = { style: "unit", unit: BYTE_UNITS[place], unitDisplay: "short", maximumSignificantDigits: 3 };
  return formatter(Intl.NumberFormat, options).format(bytes / 1000 ** place);
}

/**
 * Puts the words into everything below `root` that asks for them by `data-say` (its text) or
 * `data-say-label` (its accessible name).
 *
 * @param {ParentNode} root
 */
export function translate(root) {
  for (const target of root.querySelectorAll("[data-say]")) {
    target.textContent = say(target.dataset.say);
  }
  for (const target of root.querySelectorAll("[data-say-label]")) {
    target.setAttribute("aria-label", say(target.dataset.sayLabel));
  }
}
