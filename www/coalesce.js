//! Many causes, one refresh: calls made before the next frame run the work once. Never starves a hidden tab,
//! where no frame comes.

/** How long the work waits at most for a frame that does not come (tab hidden or covered meanwhile), in ms. */
const FRAME_PATIENCE_MS = 100;

/**
 * @param {() => void} work
 * @returns {() => void} asks for the work; cheap, call it as often as you like
 */
export function coalesce(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    let frame = 0;
    const run = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      asked = false;
      work();
    };
    const hidden = document.visibilityState === "hidden";
    const timer = setTimeout(run, hidden ? 0 : FRAME_PATIENCE_MS);
    if (!hidden) frame = requestAnimationFrame(run);
  };
}
