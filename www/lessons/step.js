//! Which step of which lesson is at hand while a person is elsewhere on the page: the lessons ask for the page's own form.
//! Never asks the node, and says nothing itself: it names the words.

/**
 * @param {object} state of a LessonMode
 * @param {boolean} told whether the person has seen, beside the lesson, what came of meeting the others
 * @returns {{ lesson: "branches" | "mining", key: string, values: object } | null} null where nothing is under way
 */
export function stepAtHand(state, told) {
  const { isolated, cutAt, own, met, settled, limit, mempool } = state;
  if (isolated) {
    return own.all === 0 ? step("branches", "step.cut", { at: cutAt ?? state.tip }) : step("branches", "step.own", own);
  }
  if (met !== null && !told) return settled ? outcome(met) : step("branches", "branches.looking");
  return limit === null ? null : step("mining", "mining.waiting", { count: mempool });
}

/** Whether there is something to tell of two branches that met. */
export function isSettled({ isolated, met, settled }) {
  return !isolated && met !== null && settled;
}

/** Where the readings are matters most. */
function outcome(met) {
  if (met.waiting > 0) return step("branches", "branches.waiting", met);
  if (met.inChain > 0) return step("branches", "branches.returned", met);
  if (met.left > 0) return step("branches", "branches.left", met);
  return met.kept > 0 ? step("branches", "branches.kept", met) : step("branches", "branches.nothing");
}

function step(lesson, key, values = {}) {
  return { lesson, key, values };
}
