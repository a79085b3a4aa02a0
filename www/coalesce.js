//! Many causes, one refresh: calls made before the next frame run the work once, and work that takes long runs less
//! often. Never starves a hidden tab, where no frame comes.

/** How long the work waits at most for a frame that does not come (tab hidden or covered meanwhile), in ms. */
const FRAME_PATIENCE_MS = 100;

/** When the work of one frame has taken so long, what else was asked for waits for the next one, in ms. */
const FRAME_BUDGET_MS = 12;

/** After work that took a time, the page belongs to others for this many times as long. */
const REST_FACTOR = 4;

/** Rests shorter than a frame are none. */
const SHORTEST_REST_MS = 16;

/** The longest rest: what is shown is never older. */
const LONGEST_REST_MS = 1_000;

/** The frame that is being made, by the time the browser gives it, and what its work has taken. */
let now = { frame: 0, spent: 0 };

/**
 * @param {() => void} work
 * @param {number} [leastRest] between two runs, in ms
 * @returns {() => void} asks for the work; cheap, call it as often as you like
 */
export function coalesce(work, leastRest = 0) {
  let asked = false;
  let restUntil = 0;
  return () => {
    if (asked) return;
    asked = true;
    const rest = restUntil - performance.now();
    if (rest > 0) setTimeout(awaitFrame, rest);
    else awaitFrame();
  };

  function awaitFrame() {
    let frame = 0;
    const run = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      asked = false;
      const began = performance.now();
      work();
      const took = performance.now() - began;
      now.spent += took;
      restUntil = began + took + Math.max(leastRest, restAfter(took));
    };
    const inFrame = (time) => {
      if (now.frame !== time) now = { frame: time, spent: 0 };
      if (now.spent < FRAME_BUDGET_MS) run();
      else frame = requestAnimationFrame(inFrame);
    };
    const hidden = document.visibilityState === "hidden";
    const timer = setTimeout(run, hidden ? 0 : FRAME_PATIENCE_MS);
    if (!hidden) frame = requestAnimationFrame(inFrame);
  }
}

/**
 * How long to leave the page alone after work.
 *
 * @param {number} ms what the work took
 * @returns {number} ms
 */
export function restAfter(ms) {
  const rest = ms * REST_FACTOR;
  return rest < SHORTEST_REST_MS ? 0 : Math.min(rest, LONGEST_REST_MS);
}
