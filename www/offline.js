//! Has the browser keep the page for when the relay is down, and says when a newer version of it is ready. Never
//! reloads a page without being asked to: a person may be in the middle of something.

/** The page's own loading and its first connections come first, ms. */
export const KEEP_AFTER_MS = 4_000;
/** Locks of open pages are named by this and their version; `service-worker.js` deletes no files of these. */
const FAMILY = "heartchain page ";
/** A page that stays open asks for a newer version this often, ms. */
export const UPDATE_INTERVAL_MS = 3_600_000;

/**
 * Begins to keep the page, a while after this is called.
 *
 * @param {ServiceWorkerContainer | undefined} container `navigator.serviceWorker`; not there over plain http from
 *   another machine, where nothing can be kept
 * @param {(goOver: () => void) => void} offer called when a newer version is ready; `goOver` reloads the page with it
 * @param {{ wait?: typeof setTimeout, every?: typeof setInterval, reload?: () => void, locks?: LockManager,
 *   address?: string }} world for tests
 */
export function keepPage(container, offer, world = {}) {
  if (container === undefined) return;
  const {
    wait = (work, ms) => setTimeout(work, ms),
    every = (work, ms) => setInterval(work, ms),
    reload = () => location.reload(),
    locks = globalThis.navigator?.locks,
    address = import.meta.url,
  } = world;
  holdVersion(locks, versionOf(address));
  wait(async () => {
    try {
      watch(await container.register("service-worker.js"), container, { offer, every, reload });
    } catch {
      // A private window, or a browser that forbids it: the page works, and needs its relay to open.
    }
  }, KEEP_AFTER_MS);
}

/** The version that a module's address names; null where the page is served without versions. */
function versionOf(address) {
  return /\/v\/([0-9a-f]+)\//.exec(address)?.[1] ?? null;
}

/** Keeps the files of this version in the browser for as long as this page is open. */
function holdVersion(locks, version) {
  if (locks === undefined || version === null) return;
  // Where storage is forbidden, so are locks; then nothing is kept either.
  locks.request(FAMILY + version, { mode: "shared" }, () => new Promise(() => {})).catch(() => {});
}

/**
 * Whether the server has a newer version of the page and no longer this one, so that parts that were not loaded cannot
 * be loaded any more.
 *
 * @param {{ ask?: typeof fetch, address?: string }} world for tests
 * @returns {Promise<boolean>} false: it has this one, or does not answer
 */
export async function isReplaced({ ask = fetch, address = import.meta.url } = {}) {
  if (versionOf(address) === null) return false;
  try {
    // No service worker answers HEAD.
    return (await ask(address, { method: "HEAD", cache: "no-store" })).status === 404;
  } catch {
    return false;
  }
}

function watch(registration, container, { offer, every, reload }) {
  let accepted = false;
  const tell = () => {
    // Without a controller this is the first version, and this page is it.
    if (container.controller === null || registration.waiting === null) return;
    offer(() => {
      accepted = true;
      registration.waiting?.postMessage("take-over");
    });
  };
  const hadController = container.controller !== null;
  container.addEventListener("controllerchange", () => {
    if (accepted) reload();
    // A person accepted it in another tab; this tab goes on with its own version.
    else if (hadController) offer(reload);
  });
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => {
      if (installing.state === "installed") tell();
    });
  });
  tell();
  // By now every tab that is open holds its version.
  registration.active?.postMessage("tidy-up");
  // It fails without a network, and then there is nothing new.
  every(() => registration.update().catch(() => {}), UPDATE_INTERVAL_MS);
}
