//! Coalesces many refresh requests into one run per frame, and runs slow work less often. Still runs in hidden tabs,
//! which get no animation frames.

/** The longest wait for a frame, which never comes if the tab is hidden or covered, in ms. */
const FRAME_TIMEOUT_MS = 100;

/** Once the work of a frame has taken this long, further work waits for the next frame, in ms. */
const FRAME_BUDGET_MS = 12;

/** After each run, the same work rests this many times as long as the run took. */
const REST_FACTOR = 4;

/** Rests shorter than a frame are skipped, in ms. */
const SHORTEST_REST_MS = 16;

/** The longest rest in ms, so that the page is never more outdated than this. */
const LONGEST_REST_MS = 1_000;

/** The current frame, identified by its timestamp, and the time spent on it so far. */
let current = { frame: 0, spent: 0 };

/**
 * @param {() => void} work
 * @param {number} [minRest] the shortest pause between two runs, in ms
 * @returns {() => void} requests a run; cheap to call often
 */
export function coalesce(work, minRest = 0) {
  let requested = false;
  let restUntil = 0;
  return () => {
    if (requested) return;
    requested = true;
    const rest = restUntil - performance.now();
    if (rest > 0) setTimeout(awaitFrame, rest);
    else awaitFrame();
  };

  function awaitFrame() {
    let frame = 0;
    const run = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      requested = false;
      const began = performance.now();
      work();
      const took = performance.now() - began;
      current.spent += took;
      restUntil = began + took + Math.max(minRest, restAfter(took));
    };
    const inFrame = (time) => {
      if (current.frame !== time) current = { frame: time, spent: 0 };
      if (current.spent < FRAME_BUDGET_MS) run();
      else frame = requestAnimationFrame(inFrame);
    };
    const hidden = document.visibilityState === "hidden";
    const timer = setTimeout(run, hidden ? 0 : FRAME_TIMEOUT_MS);
    if (!hidden) frame = requestAnimationFrame(inFrame);
  }
}

/**
 * How long to rest after a run.
 *
 * @param {number} ms the duration of the run
 * @returns {number} ms
 */
export function restAfter(ms) {
  const rest = ms * REST_FACTOR;
  return rest < SHORTEST_REST_MS ? 0 : Math.min(rest, LONGEST_REST_MS);
}
