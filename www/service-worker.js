//! Keeps the page, its glue and its wasm in the browser, so that the page opens with the relay down or without a
//! network. Answers for nothing else: what relays say of themselves, above all `relay.json`, always comes from them.
//!
//! The relay's build writes `PRECACHE` before this line: `{ version, files }`, each file's path with its SHA-256 in hex.
//! All files but the page itself have addresses of their version (`v/<version>/index.js`), and each version has a cache
//! of its own, filled completely or deleted. A newer version waits until every tab of the old one is closed, or until a
//! page says "take-over", which it does when a person asks for it. Tabs that stay open then still get all of their own
//! version: its cache is deleted only when no tab holds the Web Lock of that name.

/** What this worker keeps begins with this, and so do the locks of open pages; `offline.js` knows it, too. */
const FAMILY = "heartchain page ";
const CACHE = FAMILY + PRECACHE.version;
/** The page's file; its address is that of the folder, as people open it. */
const PAGE = "index.html";
/** Files fetched at a time: the page that is open has connections to make as well. */
const AT_ONE_TIME = 4;

self.addEventListener("install", (event) => event.waitUntil(keepAllOrNothing()));
self.addEventListener("message", (event) => {
  if (event.data === "take-over") self.skipWaiting();
  if (event.data === "tidy-up") event.waitUntil(forgetUnused());
});
self.addEventListener("fetch", (event) => {
  const kept = whereKept(event.request);
  if (kept !== null) event.respondWith(answer(kept, event.request));
});

/** The cache and the address there of what answers a request; null: this worker does not answer it. */
function whereKept({ method, mode, url }) {
  const scope = self.registration.scope;
  const { origin, pathname, search } = new URL(url);
  const address = origin + pathname;
  if (method !== "GET" || !address.startsWith(scope)) return null;
  const path = address.slice(scope.length);
  // A page's query names relays, and is the page's to read.
  if (mode === "navigate") return path === "" || path === PAGE ? { cacheName: CACHE, address: addressOf(PAGE) } : null;
  const version = /^v\/([0-9a-f]+)\/./.exec(path)?.[1];
  return version === undefined || search !== "" ? null : { cacheName: FAMILY + version, address };
}

async function answer({ cacheName, address }, request) {
  // The browser may have made room; then it is as if nothing had been kept.
  return (await caches.match(address, { cacheName })) ?? fetch(request);
}

function addressOf(path, version = PRECACHE.version) {
  return new URL(path === PAGE ? "./" : `v/${version}/${path}`, self.registration.scope).href;
}

async function keepAllOrNothing() {
  const cache = await caches.open(CACHE);
  // The page is kept last, so that a cache with it is a complete one.
  const isComplete = (await cache.match(addressOf(PAGE))) !== undefined;
  try {
    await keepAll(cache);
  } catch (error) {
    if (!isComplete) await caches.delete(CACHE);
    throw error;
  }
}

async function keepAll(cache) {
  const { [PAGE]: page, ...others } = PRECACHE.files;
  const waiting = Object.entries(others);
  let failed = false;
  const keepSome = async () => {
    for (let next = waiting.pop(); next !== undefined && !failed; next = waiting.pop()) {
      await keep(cache, ...next).catch((error) => {
        failed = true;
        throw error;
      });
    }
  };
  // All have ended before a failure is told, so that none fills a cache that was deleted.
  const ended = await Promise.allSettled(Array.from({ length: AT_ONE_TIME }, keepSome));
  const failure = ended.find(({ status }) => status === "rejected");
  if (failure !== undefined) throw failure.reason;
  if (page !== undefined) await keep(cache, PAGE, page);
}

async function keep(cache, path, sha256) {
  const address = addressOf(path);
  const older = await keptBefore(path, sha256);
  // A new one: scripts take the address that their response came from for their own, and import from there.
  if (older !== undefined) return cache.put(address, new Response(older.body, { headers: older.headers }));
  // What is not this version's to the byte is refused: the relay may be renewed between two files.
  const integrity = `sha256-${base64(sha256)}`;
  const response = await fetch(new Request(address, { cache: "no-cache", integrity }));
  if (!response.ok) throw new Error(`${path} could not be kept: the relay answered ${response.status}`);
  return cache.put(address, response);
}

/** The same file of any version that is kept. */
async function keptBefore(path, sha256) {
  for (const cacheName of await ownCaches()) {
    const older = await caches.match(addressOf(path, cacheName.slice(FAMILY.length)), { cacheName });
    // The relay's tags begin with the file's hash.
    if (older?.headers.get("etag")?.startsWith(`"${sha256}`)) return older;
  }
  return undefined;
}

/** Deletes the caches of versions that no tab runs. */
async function forgetUnused() {
  const { active, installing, waiting } = self.registration;
  // A version that is still to come has no tabs yet.
  if (active === null || installing !== null || waiting !== null) return;
  const locks = await self.navigator.locks?.query();
  const used = new Set([CACHE, ...(locks?.held ?? []).map(({ name }) => name)]);
  const old = (await ownCaches()).filter((name) => !used.has(name));
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function ownCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(FAMILY));
}

function base64(hex) {
  return btoa(String.fromCharCode(...hex.match(/../g).map((byte) => parseInt(byte, 16))));
}
