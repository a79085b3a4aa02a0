//! Picks the lesson step to show while the user is elsewhere on the page, because lessons use the page's own form.
//! Returns keys of texts; never asks the node.

/**
 * @param {object} state of a LessonMode
 * @param {boolean} seen whether the user has seen the outcome next to the lesson
 * @returns {{ lesson: "branches" | "mining", key: string, values: object } | null} null if no lesson is in progress
 */
export function currentStep(state, seen) {
  const { isolated, cutAt, own, outcome, settled, missing, limit, mempool } = state;
  if (isolated) {
    return own.all === 0 ? step("branches", "step.cut", { at: cutAt ?? state.tip }) : step("branches", "step.own", own);
  }
  if (outcome !== null && !seen) return settled ? outcomeStep(outcome) : lookingStep(missing);
  return limit === null ? null : step("mining", "mining.waiting", { count: mempool });
}

/** Whether the outcome of two branches that met is known. */
export function isSettled({ isolated, outcome, settled }) {
  return !isolated && outcome !== null && settled;
}

/**
 * What to say until the others are met.
 *
 * @param {"relay" | "others" | null} missing of a LessonMode
 */
export function lookingKey(missing) {
  if (missing === null) return "branches.looking";
  return missing === "relay" ? "branches.noRelay" : "branches.noOthers";
}

/** The same in fewer words: the line may not cover the form. */
function lookingStep(missing) {
  if (missing === null) return step("branches", "branches.looking");
  return step("branches", missing === "relay" ? "step.noRelay" : "step.noOthers");
}

/** Readings come first: they matter most to the user. */
function outcomeStep(outcome) {
  if (outcome.waiting > 0) return step("branches", "branches.waiting", outcome);
  if (outcome.inChain > 0) return step("branches", "branches.returned", outcome);
  if (outcome.left > 0) return step("branches", "branches.left", outcome);
  return outcome.kept > 0 ? step("branches", "branches.kept", outcome) : step("branches", "branches.nothing");
}

function step(lesson, key, values = {}) {
  return { lesson, key, values };
}
