//! What a person should know though everything runs: what the browser withholds here, a clock that is off, and what
//! the node noticed. Never more than a few at a time.

import { element, reconcile, setText } from "../dom.js";
import { noticeWords, spoken } from "../notice-words.js";
import { formatDuration, formatTime, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** A clock that differs by more makes blocks look too early to others (the chain's bound on a block's time), ms. */
const CLOCK_TOLERANCE_MS = 30_000;

/** What was noticed and not dismissed: the newest of these. */
const MAX_NOTICES = 4;

/**
 * Properties: `browser`, what `capabilities()` found; `clockOffsetMs` and `heldBack`, as in the node's `status()`.
 * `notice(detail)` shows what the node's event "notice" says; `offer(key, action, work)` one with a button.
 */
export class PageNotices extends LocalizedElement {
  #browser = { secure: true, missing: [] };
  #clockOffsetMs = null;
  #heldBack = null;
  #count = 0;
  /** @type {{ id: string, key: string, values: object, action?: string, work?: () => void }[]} */
  #noticed = [];

  set browser(browser) {
    this.#browser = browser;
    this.invalidate();
  }

  set clockOffsetMs(offset) {
    this.#clockOffsetMs = offset ?? null;
    this.invalidate();
  }

  set heldBack(heldBack) {
    this.#heldBack = heldBack ?? null;
    this.invalidate();
  }

  /** Shows what the node noticed; kinds that the page has no words for are none of a person's business. */
  notice(detail) {
    const words = noticeWords(detail);
    if (words !== null) this.#add(words);
  }

  /** Shows an offer: a sentence and a button that does the work. */
  offer(key, action, work) {
    this.#add({ key, values: {}, action, work });
  }

  languageChanged() {
    this.querySelector(".noticed").replaceChildren();
  }

  render() {
    this.#show(".withheld", this.#withheld());
    this.#show(".clock", this.#clock());
    reconcile(this.querySelector(".noticed"), this.#noticed, ({ id }) => id, (notice) => this.#item(notice));
  }

  #add(notice) {
    this.#count += 1;
    const same = ({ key, values }) => key === notice.key && JSON.stringify(values) === JSON.stringify(notice.values);
    this.#noticed = [...this.#noticed.filter((other) => !same(other)), { ...notice, id: String(this.#count) }].slice(-MAX_NOTICES);
    this.invalidate();
  }

  #item(notice) {
    const { key, action, work } = notice;
    const values = spoken(notice.values);
    const item = element("li", { class: "notice" }, element("span", {}, say(key, values)));
    if (work !== undefined) {
      const button = element("button", { type: "button" }, say(action));
      button.onclick = work;
      item.append(button);
    }
    const dismiss = element("button", { type: "button", class: "quiet dismiss" }, say("notice.dismiss"));
    dismiss.onclick = () => {
      this.#noticed = this.#noticed.filter(({ id }) => id !== notice.id);
      this.render();
    };
    item.append(dismiss);
    return item;
  }

  #show(selector, text) {
    const notice = this.querySelector(selector);
    notice.hidden = text === "";
    setText(notice, text);
  }

  #withheld() {
    const { secure, missing } = this.#browser;
    if (missing.length === 0) return "";
    const features = missing.map((feature) => say(`feature.${feature}`)).join(", ");
    return say(secure ? "withheld.secure" : "withheld.insecure", { features });
  }

  #clock() {
    const words = [];
    const offset = this.#clockOffsetMs ?? 0;
    if (Math.abs(offset) > CLOCK_TOLERANCE_MS) {
      words.push(say(offset > 0 ? "clock.slow" : "clock.fast", { by: formatDuration(Math.abs(offset)) }));
    }
    if (this.#heldBack !== null) {
      const { blocks, until } = this.#heldBack;
      words.push(say("clock.heldBack", { blocks, time: formatTime(until, Date.now()) }));
    }
    return words.join(" ");
  }
}

customElements.define("page-notices", PageNotices);
