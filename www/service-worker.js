//! Caches the page, its JavaScript and its wasm, so that the page opens while the relay is down or without a network.
//! Handles no other requests: relay data such as `relay.json` always comes from the relay.
//!
//! The relay's build inserts `PRECACHE` before this line: `{ version, files }`, each file's path with its SHA-256 in
//! hex. All files except the page itself have versioned addresses (`v/<version>/index.js`). Each version has its own
//! cache, which is filled completely or deleted. A newer version waits until every tab of the old one is closed, or
//! until a page sends "take-over" because the user asked for it. Tabs that stay open still get all files of their own
//! version: its cache is deleted only when no tab holds the Web Lock of that name.

/** Prefix of this worker's caches and of the locks of open pages. Must match `offline.js`. */
const CACHE_PREFIX = "heartchain page ";
const CACHE = CACHE_PREFIX + PRECACHE.version;
/** The page's file. Its address is that of the folder, as users open it. */
const PAGE = "index.html";
/** Files fetched at a time, to leave connections for the open page. */
const MAX_CONCURRENT = 4;

self.addEventListener("install", (event) => event.waitUntil(precacheAllOrNothing()));
self.addEventListener("message", (event) => {
  if (event.data === "take-over") self.skipWaiting();
  if (event.data === "tidy-up") event.waitUntil(deleteUnusedCaches());
});
self.addEventListener("fetch", (event) => {
  const location = cacheLocationOf(event.request);
  if (location !== null) event.respondWith(respond(location, event.request));
});

/** The cache and the address in it that answer a request; null if this worker does not handle it. */
function cacheLocationOf({ method, mode, url }) {
  const scope = self.registration.scope;
  const { origin, pathname, search } = new URL(url);
  const address = origin + pathname;
  if (method !== "GET" || !address.startsWith(scope)) return null;
  const path = address.slice(scope.length);
  // The page reads its query itself, so the query does not select a file.
  if (mode === "navigate") return path === "" || path === PAGE ? { cacheName: CACHE, address: addressOf(PAGE) } : null;
  const version = /^v\/([0-9a-f]+)\/./.exec(path)?.[1];
  return version === undefined || search !== "" ? null : { cacheName: CACHE_PREFIX + version, address };
}

async function respond({ cacheName, address }, request) {
  // The browser may have evicted the cache: fall back to the network.
  return (await caches.match(address, { cacheName })) ?? fetch(request);
}

function addressOf(path, version = PRECACHE.version) {
  return new URL(path === PAGE ? "./" : `v/${version}/${path}`, self.registration.scope).href;
}

async function precacheAllOrNothing() {
  const cache = await caches.open(CACHE);
  // The page is stored last, so a cache that contains it is complete.
  const isComplete = (await cache.match(addressOf(PAGE))) !== undefined;
  try {
    await precacheAll(cache);
  } catch (error) {
    if (!isComplete) await caches.delete(CACHE);
    throw error;
  }
}

async function precacheAll(cache) {
  const { [PAGE]: page, ...others } = PRECACHE.files;
  const waiting = Object.entries(others);
  let failed = false;
  const precacheSome = async () => {
    for (let next = waiting.pop(); next !== undefined && !failed; next = waiting.pop()) {
      await precache(cache, ...next).catch((error) => {
        failed = true;
        throw error;
      });
    }
  };
  // Wait for all before reporting a failure, so that none fills a cache that was deleted.
  const results = await Promise.allSettled(Array.from({ length: MAX_CONCURRENT }, precacheSome));
  const failure = results.find(({ status }) => status === "rejected");
  if (failure !== undefined) throw failure.reason;
  if (page !== undefined) await precache(cache, PAGE, page);
}

async function precache(cache, path, sha256) {
  const address = addressOf(path);
  const older = await findInOtherCaches(path, sha256);
  // A new response, because scripts resolve imports relative to the URL that their response came from.
  if (older !== undefined) return cache.put(address, new Response(older.body, { headers: older.headers }));
  // The integrity check rejects files of another version: the relay may be updated between two fetches.
  const integrity = `sha256-${base64(sha256)}`;
  const response = await fetch(new Request(address, { cache: "no-cache", integrity }));
  if (!response.ok) throw new Error(`${path} could not be cached: the relay answered ${response.status}`);
  return cache.put(address, response);
}

/** The same file from the cache of any version. */
async function findInOtherCaches(path, sha256) {
  for (const cacheName of await ownCaches()) {
    const older = await caches.match(addressOf(path, cacheName.slice(CACHE_PREFIX.length)), { cacheName });
    // The relay's ETags start with the file's hash.
    if (older?.headers.get("etag")?.startsWith(`"${sha256}`)) return older;
  }
  return undefined;
}

/** Deletes the caches of versions that no tab uses. */
async function deleteUnusedCaches() {
  const { active, installing, waiting } = self.registration;
  // A version that is not active yet has no tabs.
  if (active === null || installing !== null || waiting !== null) return;
  const locks = await self.navigator.locks?.query();
  const used = new Set([CACHE, ...(locks?.held ?? []).map(({ name }) => name)]);
  const old = (await ownCaches()).filter((name) => !used.has(name));
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function ownCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(CACHE_PREFIX));
}

function base64(hex) {
  return btoa(String.fromCharCode(...hex.match(/../g).map((byte) => parseInt(byte, 16))));
}
