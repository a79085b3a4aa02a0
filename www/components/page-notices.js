//! Notices about a running node: features missing in this browser, a wrong clock, and the node's own notices. Shows
//! only a few at a time.

import { element, reconcile, setText } from "../dom.js";
import { messageValues, noticeMessage } from "../notice-messages.js";
import { formatDuration, formatTime, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** With a larger offset, others see this tab's blocks as too early (the chain's bound on a block's time), ms. */
const CLOCK_TOLERANCE_MS = 30_000;

/** The most notices shown; older ones are dropped. */
const MAX_NOTICES = 4;

/**
 * Properties: `browser`, the result of `capabilities()`; `clockOffsetMs` and `heldBack`, as in the node's `status()`.
 * `notice(detail)` shows a "notice" event of the node; `offer(key, action, work)` shows a notice with a button.
 */
export class PageNotices extends LocalizedElement {
  #browser = { secure: true, missing: [] };
  #clockOffsetMs = null;
  #heldBack = null;
  #count = 0;
  /** @type {{ id: string, key: string, values: object, action?: string, work?: () => void }[]} */
  #notices = [];

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

  /** Shows a notice of the node. Kinds without a text are ignored. */
  notice(detail) {
    const message = noticeMessage(detail);
    if (message !== null) this.#add(message);
  }

  /** Shows a text with a button that runs `work`. */
  offer(key, action, work) {
    this.#add({ key, values: {}, action, work });
  }

  languageChanged() {
    this.querySelector(".noticed").replaceChildren();
  }

  render() {
    this.#show(".withheld", this.#missingFeatures());
    this.#show(".clock", this.#clock());
    reconcile(this.querySelector(".noticed"), this.#notices, ({ id }) => id, (notice) => this.#item(notice));
  }

  #add(notice) {
    this.#count += 1;
    const same = ({ key, values }) => key === notice.key && JSON.stringify(values) === JSON.stringify(notice.values);
    this.#notices = [...this.#notices.filter((other) => !same(other)), { ...notice, id: String(this.#count) }].slice(-MAX_NOTICES);
    this.invalidate();
  }

  #item(notice) {
    const { key, action, work } = notice;
    const values = messageValues(notice.values);
    const item = element("li", { class: "notice" }, element("span", {}, say(key, values)));
    if (work !== undefined) {
      const button = element("button", { type: "button" }, say(action));
      button.onclick = work;
      item.append(button);
    }
    const dismiss = element("button", { type: "button", class: "quiet dismiss" }, say("notice.dismiss"));
    dismiss.onclick = () => {
      this.#notices = this.#notices.filter(({ id }) => id !== notice.id);
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

  #missingFeatures() {
    const { secure, missing } = this.#browser;
    if (missing.length === 0) return "";
    const features = missing.map((feature) => say(`feature.${feature}`)).join(", ");
    return say(secure ? "withheld.secure" : "withheld.insecure", { features });
  }

  #clock() {
    const messages = [];
    const offset = this.#clockOffsetMs ?? 0;
    if (Math.abs(offset) > CLOCK_TOLERANCE_MS) {
      messages.push(say(offset > 0 ? "clock.slow" : "clock.fast", { by: formatDuration(Math.abs(offset)) }));
    }
    if (this.#heldBack !== null) {
      const { blocks, until } = this.#heldBack;
      messages.push(say("clock.heldBack", { blocks, time: formatTime(until, Date.now()) }));
    }
    return messages.join(" ");
  }
}

customElements.define("page-notices", PageNotices);
