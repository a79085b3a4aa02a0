//! Localization: one catalogue per language, chosen by the browser's settings or the language switch. Texts are in
//! `strings/`. Changes the page only in `translate`.

import en from "./strings/en.js";

/** The texts by language. Those of other languages than English are loaded when they are wanted. */
const CATALOGUES = { en, ko: {} };
const LOADERS = { ko: () => import("./strings/ko.js") };

/** Units of time and their length in ms, longest first. */
const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
];

/** Units of storage, each 1000 times the previous one. */
const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** The languages of the page. */
export const LANGUAGES = Object.keys(CATALOGUES);

/**
 * Loads the texts of a language, so that `setLanguage` can switch to it.
 *
 * @param {string} code one of LANGUAGES
 * @returns {Promise<void>} rejects if the server does not give them
 */
export async function loadLanguage(code) {
  const loaded = await LOADERS[code]?.();
  if (loaded !== undefined) addTexts({ [code]: loaded.default });
}

/**
 * Adds texts of a part of the page that is loaded later.
 *
 * @param {Record<string, Record<string, unknown>>} catalogues one per language
 */
export function addTexts(catalogues) {
  for (const code of LANGUAGES) Object.assign(CATALOGUES[code], catalogues[code]);
}

/** Dispatches "change" after the language has changed. */
export const languageChanges = new EventTarget();

const TIME = { timeStyle: "medium" };
const DATE_AND_TIME = { dateStyle: "medium", timeStyle: "medium" };

/** Bounded by the number of languages times the number of formats. */
const formatters = new Map();

let current = "en";

/** @returns {string} the current language, as a BCP 47 tag */
export function language() {
  return current;
}

/** @param {string} code one of LANGUAGES, and loaded; others are ignored */
export function setLanguage(code) {
  if (code === current || !LANGUAGES.includes(code)) return;
  current = code;
  languageChanges.dispatchEvent(new Event("change"));
}

/**
 * The first preferred language that the page supports, or English.
 *
 * @param {readonly (string | null | undefined)[]} preferred BCP 47 tags, most preferred first
 */
export function chooseLanguage(preferred) {
  const codes = preferred.map((tag) => String(tag ?? "").toLowerCase().split("-")[0]);
  return codes.find((code) => LANGUAGES.includes(code)) ?? "en";
}

/**
 * A text in the current language.
 *
 * @param {string} key
 * @param {object} [values] the values of its placeholders
 */
export function say(key, values = {}) {
  const text = CATALOGUES[current][key];
  if (text === undefined) throw new Error(`no text for "${key}" in "${current}"`);
  return typeof text === "function" ? text(values, formatNumber) : text;
}

/** @param {number} value */
export function formatNumber(value) {
  return formatter(Intl.NumberFormat).format(value);
}

/**
 * A timestamp for display: the time, with the date unless it is today.
 *
 * @param {number} time Unix ms
 * @param {number} now Unix ms
 */
export function formatTime(time, now) {
  const moment = new Date(time);
  const today = new Date(now).toDateString() === moment.toDateString();
  return formatter(Intl.DateTimeFormat, today ? TIME : DATE_AND_TIME).format(moment);
}

/** The same in few letters: without seconds, and without a year that is the current one. */
export function formatMoment(time, now) {
  const [moment, today] = [new Date(time), new Date(now)];
  const sameYear = moment.getFullYear() === today.getFullYear();
  const options =
    moment.toDateString() === today.toDateString()
      ? { hour: "numeric", minute: "2-digit" }
      : { ...(sameYear ? {} : { year: "numeric" }), month: "short", day: "numeric", ...(sameYear ? { hour: "numeric", minute: "2-digit" } : {}) };
  return formatter(Intl.DateTimeFormat, options).format(moment);
}

/** Creates the formatters of the current language ahead of their first use, which takes a browser about 20 ms. */
export function warmUpFormatters() {
  formatNumber(0);
  formatTime(0, 0);
}

/**
 * A formatter of the current language. Formatters are cached: creating one takes longer than all it formats on a page.
 *
 * @template F
 * @param {new (language: string, options?: object) => F} Format
 * @param {object} [options] must come from a small set, because each one is cached
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

/** What spreadsheets expect between two fields of a CSV: it follows from the browser's first language, not the page's. */
export function csvSeparator() {
  return new Intl.NumberFormat(navigator.language).format(1.5).includes(",") ? ";" : ",";
}

/**
 * A duration in the one unit that fits best ("10 minutes").
 *
 * @param {number} ms
 */
export function formatDuration(ms) {
  const [unit, length] = UNITS.find(([, length]) => ms >= 1.5 * length) ?? UNITS.at(-1);
  const options = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  return formatter(Intl.NumberFormat, options).format(ms / length);
}

/**
 * An amount of storage in the unit that fits best ("1.2 MB").
 *
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  const power = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const options = { style: "unit", unit: BYTE_UNITS[power], unitDisplay: power === 0 ? "long" : "short", maximumSignificantDigits: 3 };
  return formatter(Intl.NumberFormat, options).format(bytes / 1000 ** power);
}

/**
 * Sets the texts of all elements below `root` that have `data-say` (the key of their text) or `data-say-label` (the key
 * of their accessible name).
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
