//! Keeps the page, its glue and its wasm in the browser, so that the page opens with the relay down or without a
//! network. Answers for nothing else: what relays say of themselves, above all `relay.json`, always comes from them.
//!
//! The relay's build writes `PRECACHE` before this line: `{ version, files }`, each file's path with its SHA-256 in hex.
//! All files of one version are kept together, and a page gets all of them or none. A newer version waits until every
//! tab of the old one is closed, or until a page says "take-over", which it does when a person wishes it.

/** What this worker keeps begins with this; other caches of this origin are somebody else's. */
const FAMILY = "heartchain page ";
const CACHE = FAMILY + PRECACHE.version;
/** Files fetched at a time: the page that is open has connections to make as well. */
const AT_ONE_TIME = 4;

self.addEventListener("install", (event) => event.waitUntil(keepAll()));
self.addEventListener("activate", (event) => event.waitUntil(forgetOthers()));
self.addEventListener("message", ({ data }) => {
  if (data === "take-over") self.skipWaiting();
});
self.addEventListener("fetch", (event) => {
  const path = keptPath(event.request);
  if (path !== null) event.respondWith(answer(path, event.request));
});

/** The file that answers a request; null: none of ours. */
function keptPath({ method, mode, url }) {
  const scope = self.registration.scope;
  const { origin, pathname, search } = new URL(url);
  const asked = origin + pathname;
  if (method !== "GET" || !asked.startsWith(scope)) return null;
  const path = asked.slice(scope.length);
  // A page's query names relays, and is the page's to read.
  if (mode === "navigate") return path === "" || path === "index.html" ? "index.html" : null;
  return search === "" && Object.hasOwn(PRECACHE.files, path) ? path : null;
}

async function answer(path, request) {
  const cache = await caches.open(CACHE);
  // The browser may have made room; then it is as if nothing had been kept.
  return (await cache.match(addressOf(path))) ?? fetch(request);
}

/** The page itself is asked for as people do, so that the browser need not load it again under another name. */
function addressOf(path) {
  return new URL(path === "index.html" ? "./" : path, self.registration.scope).href;
}

async function keepAll() {
  const cache = await caches.open(CACHE);
  const waiting = Object.entries(PRECACHE.files);
  const keepSome = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await keep(cache, ...next);
  };
  await Promise.all(Array.from({ length: AT_ONE_TIME }, keepSome));
}

async function keep(cache, path, sha256) {
  const address = addressOf(path);
  const older = await caches.match(address);
  // The relay's tags begin with the file's hash.
  if (older?.headers.get("etag")?.startsWith(`"${sha256}`)) return cache.put(address, older);
  // What is not this version's to the byte is refused: the relay may be renewed between two files.
  const integrity = `sha256-${base64(sha256)}`;
  const response = await fetch(new Request(address, { cache: "no-cache", integrity }));
  if (!response.ok) throw new Error(`${path} could not be kept: the relay answered ${response.status}`);
  return cache.put(address, response);
}

async function forgetOthers() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(FAMILY) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

function base64(hex) {
  return btoa(String.fromCharCode(...hex.match(/../g).map((byte) => parseInt(byte, 16))));
}
