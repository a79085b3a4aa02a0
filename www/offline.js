//! Has the browser keep the page for when the relay is down, and says when a newer version of it is ready. Never
//! reloads a page by itself: somebody may be in the middle of something.

/** The page's own loading and its first connections come first, ms. */
export const KEEP_AFTER_MS = 4_000;
/** A page that stays open asks for a newer version this often, ms. */
export const UPDATE_INTERVAL_MS = 3_600_000;

/**
 * Begins to keep the page, a while after this is called.
 *
 * @param {ServiceWorkerContainer | undefined} container `navigator.serviceWorker`; not there over plain http from
 *   another machine, where nothing can be kept
 * @param {(goOver: () => void) => void} offer called when a newer version is ready; `goOver` reloads the page with it
 * @param {{ wait?: typeof setTimeout, every?: typeof setInterval, reload?: () => void }} world for tests
 */
export function keepPage(container, offer, world = {}) {
  if (container === undefined) return;
  const {
    wait = (work, ms) => setTimeout(work, ms),
    every = (work, ms) => setInterval(work, ms),
    reload = () => location.reload(),
  } = world;
  wait(async () => {
    try {
      watch(await container.register("service-worker.js"), container, { offer, every, reload });
    } catch {
      // A private window, or a browser that forbids it: the page works, and needs its relay to open.
    }
  }, KEEP_AFTER_MS);
}

function watch(registration, container, { offer, every, reload }) {
  let wished = false;
  const tell = () => {
    // Without a controller this is the first version, and this page is it.
    if (container.controller === null || registration.waiting === null) return;
    offer(() => {
      wished = true;
      registration.waiting?.postMessage("take-over");
    });
  };
  const hadController = container.controller !== null;
  container.addEventListener("controllerchange", () => {
    if (wished) reload();
    // Another tab's person wished it; this tab goes on with what it has loaded.
    else if (hadController) offer(reload);
  });
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => {
      if (installing.state === "installed") tell();
    });
  });
  tell();
  // It fails without a network, and then there is nothing new.
  every(() => registration.update().catch(() => {}), UPDATE_INTERVAL_MS);
}
