//! A recent fork: the branch this tab follows and the other branch, from their common block on. Hidden without a fork.

import { element, reconcile } from "../dom.js";
import { recentForks } from "../fork.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** Hex digits shown of a hash, so that five blocks of a branch fit side by side. */
const HASH_END = 6;

/**
 * Property: `chain` = `{ branches, tip, block(index) }`, the result of the node's `branches()`, the height of its tip,
 * and its blocks.
 */
export class ForkView extends LocalizedElement {
  #forks = [];

  set chain({ branches, tip, block }) {
    this.#forks = recentForks(branches, tip).map((fork) => ({
      ...fork,
      ours: fork.ours.map((index) => ({ index, hash: block(index)?.hash })),
    }));
    this.invalidate();
  }

  languageChanged() {
    this.replaceChildren();
  }

  render() {
    this.hidden = this.#forks.length === 0;
    const key = ({ tip, ours }) => `${tip} ${JSON.stringify(ours)}`;
    reconcile(this, this.#forks, key, forkFigure);
  }
}

customElements.define("fork-view", ForkView);

function forkFigure({ fork, ours, oursLeft, theirs, theirsLeft }) {
  const values = { fork, ours: ours.length + oursLeft, theirs: theirs.length + theirsLeft };
  const lane = (name, label, left, boxes) =>
    element(
      "div",
      { class: `lane lane-${name}` },
      element("span", { class: "lane-label" }, label),
      element("ol", { role: "list" }, ...(left > 0 ? [element("li", { class: "lane-left" }, say("chain.moreOf", { count: left }))] : []), ...boxes),
    );
  const box = (index, hash) => {
    const item = element("li", { class: "lane-block" }, element("strong", {}, say("fork.block", { index })));
    if (hash !== undefined) item.append(element("code", { title: hash }, `…${hash.slice(-HASH_END)}`));
    return item;
  };
  return element(
    "figure",
    { class: "fork" },
    element("figcaption", {}, element("strong", {}, say("fork.heading")), " ", say("fork.sentence", values)),
    element(
      "div",
      { class: "fork-picture", role: "region", tabindex: "0", "aria-label": say("fork.picture") },
      element("div", { class: "lane-block fork-root" }, element("strong", {}, say("fork.block", { index: fork }))),
      element(
        "div",
        { class: "lanes" },
        lane("ours", say("fork.ours"), oursLeft, ours.map(({ index, hash }) => box(index, hash))),
        lane("theirs", say("fork.theirs"), theirsLeft, theirs.map(({ index, hash }) => box(index, hash))),
      ),
    ),
  );
}
