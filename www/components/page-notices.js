//! What a person should know though everything runs: what the browser withholds here, and a clock that is off.

import { setText } from "../dom.js";
import { formatDuration, say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** A clock that differs by more makes blocks look too early to others (the chain's bound on a block's time), ms. */
const CLOCK_TOLERANCE_MS = 30_000;

/** Properties: `browser`, what `capabilities()` found, and `clockOffsetMs`, as in the node's `status()`. */
export class PageNotices extends LocalizedElement {
  #browser = { secure: true, missing: [] };
  #clockOffsetMs = null;

  set browser(browser) {
    this.#browser = browser;
    this.invalidate();
  }

  set clockOffsetMs(offset) {
    this.#clockOffsetMs = offset ?? null;
    this.invalidate();
  }

  render() {
    this.#show(".withheld", this.#withheld());
    this.#show(".clock", this.#clock());
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
    const offset = this.#clockOffsetMs ?? 0;
    if (Math.abs(offset) <= CLOCK_TOLERANCE_MS) return "";
    return say(offset > 0 ? "clock.slow" : "clock.fast", { by: formatDuration(Math.abs(offset)) });
  }
}

customElements.define("page-notices", PageNotices);
