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

/** The languages of the page. */
export const LANGUAGES = Object.keys(CATALOGUES);

/** Dispatches "change" after the language has changed. */
export const languageChanges = new EventTarget();

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
  return new Intl.NumberFormat(current).format(value);
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
  const options = today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" };
  return new Intl.DateTimeFormat(current, options).format(moment);
}

/**
 * A span of time in its one fitting unit ("10 minutes").
 *
 * @param {number} ms
 */
export function formatDuration(ms) {
  const [unit, length] = UNITS.find(([, length]) => ms >= 1.5 * length) ?? UNITS.at(-1);
  const options = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  return new Intl.NumberFormat(current, options).format(ms / length);
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
