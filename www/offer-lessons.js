//! Loads the lessons when the user turns "See how it works" on, connects them to the node, and undoes everything when
//! the user turns them off. Most visits never load them. Draws nothing itself.

import "./components/frame.js";
import { importServed } from "./importing.js";
import { addTexts } from "./strings.js";

/**
 * @param {HTMLElement} panel a `<lesson-panel>`
 * @param {Promise<object>} starting resolves to the node; if it rejects, there are no lessons
 * @param {HTMLElement} forkView a `<fork-view>`, which keeps the fork of a lesson in view
 * @param {() => void} onNotLoaded called when loading failed
 */
export function offerLessons(panel, starting, forkView, onNotLoaded) {
  let mode = null;
  let wanted = false;
  const turnOn = async () => {
    const loaded = await importServed(new URL("lessons/lesson-mode.js", import.meta.url), () =>
      Promise.all([
        starting,
        import("./lessons/lesson-mode.js"),
        import("./lessons/strings-en.js"),
        import("./lessons/strings-ko.js"),
        import("./components/lesson-cards.js"),
      ]),
    ).catch(() => null);
    if (!wanted || mode !== null) return;
    if (loaded === null) {
      panel.failed = true;
      onNotLoaded();
      return;
    }
    const [node, { LessonMode }, en, ko] = loaded;
    addTexts({ en: en.default, ko: ko.default });
    mode = new LessonMode(node);
    const show = () => {
      panel.state = mode?.state ?? null;
      forkView.pinned = mode?.state.pinnedFork ?? null;
    };
    mode.addEventListener("change", show);
    show();
  };
  panel.addEventListener("lessons-switched", async ({ detail: { on } }) => {
    wanted = on;
    if (on) {
      await turnOn();
      return;
    }
    mode?.leave();
    mode = null;
    panel.state = null;
    forkView.pinned = null;
  });
  forkView.addEventListener("fork-dismissed", () => mode?.dismissFork());
  panel.addEventListener("lesson-command", ({ detail: { name, values } }) => mode?.[name](...values));
  // The lessons change heart rates, which are sealed in a private room.
  starting.then(
    (node) => (panel.hidden = node.status().private),
    () => {},
  );
}
