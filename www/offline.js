//! Registers the service worker, so that the page opens while the relay is down, and offers newer versions of the page.
//! Reloads only when the user asks for it.

/** Delay between the start of the node and registering, so that the page's first connections come first, ms. */
export const REGISTER_AFTER_MS = 4_000;
/**
 * Prefix of the Web Locks that open pages hold on their version. `service-worker.js` keeps the caches of locked
 * versions.
 */
const LOCK_PREFIX = "heartchain page ";
/** In the addresses of a page that the relay reads from disk, for work on it. Its files must not be cached. */
const FROM_DISK = "/v/dev/";
/** How often an open page checks for a newer version, ms. */
export const UPDATE_INTERVAL_MS = 3_600_000;

/**
 * Registers the service worker a while after the node has started or failed: before, it would take bandwidth from the wasm.
 *
 * @param {ServiceWorkerContainer | undefined} container `navigator.serviceWorker`; undefined over plain http from
 *   another machine, where service workers are not available
 * @param {(activate: () => void) => void} offer called when a newer version is ready; `activate` switches to it and
 *   reloads
 * @param {() => void} warn called when the browser refuses because this device does not trust the relay's certificate
 * @param {Promise<unknown>} starting settles when the node has started or failed
 * @param {{ wait?: typeof setTimeout, every?: typeof setInterval, reload?: () => void, locks?: LockManager,
 *   address?: string }} world overrides for tests
 */
export function enableOffline(container, offer, warn, starting, world = {}) {
  const {
    wait = (work, ms) => setTimeout(work, ms),
    every = (work, ms) => setInterval(work, ms),
    reload = () => location.reload(),
    locks = globalThis.navigator?.locks,
    address = import.meta.url,
  } = world;
  if (container === undefined || address.includes(FROM_DISK)) return;
  lockVersion(locks, versionOf(address));
  const register = async () => {
    try {
      watch(await container.register("service-worker.js"), container, { offer, every, reload });
    } catch (error) {
      // A person has accepted the browser's warning about the certificate. Browsers say so only in the text.
      if (/certificate/iu.test(error?.message)) warn();
      // Private windows and some browsers forbid it. The page works, but needs its relay to open.
    }
  };
  const registerLater = () => wait(register, REGISTER_AFTER_MS);
  starting.then(registerLater, registerLater);
}

/** The version in a module's address; null if the page is served without versions. */
function versionOf(address) {
  return /\/v\/([0-9a-f]+)\//.exec(address)?.[1] ?? null;
}

/** Keeps the cache of this version for as long as this page is open. */
function lockVersion(locks, version) {
  if (locks === undefined || version === null) return;
  // Locks fail where storage is blocked; then nothing is cached either.
  locks.request(LOCK_PREFIX + version, { mode: "shared" }, () => new Promise(() => {})).catch(() => {});
}

/**
 * Whether the server has replaced this version of the page, so that parts not yet loaded can no longer be loaded.
 *
 * @param {{ ask?: typeof fetch, address?: string }} world overrides for tests
 * @returns {Promise<boolean>} false if the server still has this version or does not answer
 */
export async function isReplaced({ ask = fetch, address = import.meta.url } = {}) {
  if (versionOf(address) === null) return false;
  try {
    // The service worker does not handle HEAD.
    return (await ask(address, { method: "HEAD", cache: "no-store" })).status === 404;
  } catch {
    return false;
  }
}

function watch(registration, container, { offer, every, reload }) {
  let accepted = false;
  const offerWaiting = () => {
    // Without a controller, the installed version is the first one, which this page already runs.
    if (container.controller === null || registration.waiting === null) return;
    offer(() => {
      accepted = true;
      registration.waiting?.postMessage("take-over");
    });
  };
  const hadController = container.controller !== null;
  container.addEventListener("controllerchange", () => {
    if (accepted) reload();
    // The user accepted it in another tab. This tab continues with its own version.
    else if (hadController) offer(reload);
  });
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => {
      if (installing.state === "installed") offerWaiting();
    });
  });
  offerWaiting();
  // By now every open tab holds the lock on its version.
  registration.active?.postMessage("tidy-up");
  // Fails without a network; the next check retries.
  every(() => registration.update().catch(() => {}), UPDATE_INTERVAL_MS);
}
