//! Offers "See how it works": loads the lessons when somebody turns them on, joins them and the node, and undoes all
//! when they are turned off. Most visits never load them. Never draws anything itself.

import "./components/lesson-panel.js";
import { addWords } from "./strings.js";

/**
 * @param {HTMLElement} panel a `<lesson-panel>`
 * @param {Promise<object>} starting the node; if it cannot start, there are no lessons
 * @param {() => void} onNotLoaded called when a part of the page could not be loaded
 */
export function offerLessons(panel, starting, onNotLoaded) {
  let mode = null;
  let wanted = false;
  const turnOn = async () => {
    const loaded = await Promise.all([
      starting,
      import("./lessons/lesson-mode.js"),
      import("./lessons/words-en.js"),
      import("./lessons/words-ko.js"),
      import("./components/lesson-cards.js"),
    ]).catch(() => null);
    if (!wanted || mode !== null) return;
    if (loaded === null) {
      panel.failed = true;
      onNotLoaded();
      return;
    }
    const [node, { LessonMode }, en, ko] = loaded;
    addWords({ en: en.default, ko: ko.default });
    mode = new LessonMode(node);
    const show = () => {
      panel.state = mode?.state ?? null;
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
  });
  panel.addEventListener("lesson-wish", ({ detail: { name, values } }) => mode?.[name](...values));
  starting.then(
    () => (panel.hidden = false),
    () => {},
  );
}
