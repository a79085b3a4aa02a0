//! Every state of the page that docs/browsers.md names, and the states of its network, in Chromium. Each is brought about as it
//! happens to a person: by a setting, a missing feature, a lost relay. Checks that the page says its sentence on a phone and on a
//! desktop, in light and dark, that nothing is wider than the window, and photographs all four.
//!
//!   node states.mjs RELAY [FOLDER [STATE ...]]    the relay's program; a folder for the screenshots; only these states

import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chromium, freePort, until } from "./drivers.mjs";
import { Relay, check, enter, hasReading, json, open, status } from "./page.mjs";

const [relayProgram, folder = mkdtempSync(join(tmpdir(), "heartchain-states-")), ...wanted] = process.argv.slice(2);

/** What a screenshot is taken of: a phone held upright, and a small desktop. */
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const SCHEMES = ["light", "dark"];

/** How long the chart takes to be drawn in another scheme, ms. */
const DRAWN_MS = 250;

/** How many states are visited at the same time. */
const AT_ONCE = 2;

/** Bytes in which some thousand readings fit, but not the page itself. */
const MEGABYTE = 1_000_000;

/** An address that belongs to no one (RFC 5737): a page from there is not a secure context, as on any other computer. */
const ANOTHER_COMPUTER = "192.0.2.7";

/** A tab in a browser of its own, with a new profile. */
class Visitor {
  /** Whether the page's scripts run. */
  hasScripts = true;
  #said = [];

  static async start({ script, ...options }) {
    const visitor = new Visitor();
    visitor.browser = await Chromium.start({ ...options, waits: false, flags: ["--accept-lang=en-US", ...(options.flags ?? [])] });
    visitor.tab = await visitor.browser.tab();
    await visitor.devtools("Page.enable");
    if (script !== undefined) await visitor.devtools("Page.addScriptToEvaluateOnNewDocument", { source: `{${script}}` });
    return visitor;
  }

  devtools(command, params) {
    return this.tab.devtools(command, params);
  }

  evaluate(expression) {
    return this.tab.evaluate(expression);
  }

  /** Opens a page without waiting for it. */
  async go(url) {
    const { errorText } = await this.devtools("Page.navigate", { url });
    check(errorText === undefined, `${url}: ${errorText}`);
  }

  /** Opens a page, and waits for its node. */
  async open(url) {
    await this.go(url);
    await until("the node", () => this.evaluate(`location.href === ${json(url)} && globalThis.heartchain !== undefined`));
  }

  /** Lets requests for these addresses fail. */
  async block(...urls) {
    await this.devtools("Network.enable");
    await this.devtools("Network.setBlockedURLs", { urls });
  }

  /** Lets requests for this address wait forever. */
  holdBack(urlPattern) {
    return this.devtools("Fetch.enable", { patterns: [{ urlPattern }] });
  }

  /** Waits until a part shows this text. It must still do so in each screenshot. */
  async shows(selector, words) {
    this.#said.push([selector, words]);
    await until(`${selector} to show ${words}`, async () => {
      const shown = await this.#shown(selector);
      if (!words.test(shown)) throw new Error(`it shows ${json(shown)}`);
      return true;
    });
  }

  /** The visible text of a part, in one line. */
  async #shown(selector) {
    const of = `[...document.querySelectorAll(${json(selector)})].filter((part) => part.checkVisibility()).map((part) => part.innerText).join(" ")`;
    // Unlike the driver, DevTools can also ask a page whose scripts do not run.
    const { result } = await this.devtools("Runtime.evaluate", { expression: of, returnByValue: true });
    return String(result.value ?? result.description).replace(/\s+/g, " ").trim();
  }

  async photograph(name) {
    for (const [size, { width, height }] of Object.entries(SIZES)) {
      const mobile = size === "phone";
      await this.devtools("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
      await this.devtools("Emulation.setTouchEmulationEnabled", { enabled: mobile });
      for (const scheme of SCHEMES) {
        const features = { "prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce" };
        await this.devtools("Emulation.setEmulatedMedia", { features: Object.entries(features).map(([name, value]) => ({ name, value })) });
        await this.#settled(size, width);
        const { data } = await this.devtools("Page.captureScreenshot", { captureBeyondViewport: true });
        writeFileSync(join(folder, `${name}-${size}-${scheme}.png`), Buffer.from(data, "base64"));
      }
    }
  }

  /** Waits until the page is drawn, and looks at it. */
  async #settled(size, width) {
    await new Promise((resolve) => setTimeout(resolve, DRAWN_MS));
    if (this.hasScripts) await this.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))");
    for (const [selector, words] of this.#said) {
      const shown = await this.#shown(selector);
      check(words.test(shown), `on a ${size}, ${selector} shows ${json(shown)}, not ${words}`);
    }
    const { result } = await this.devtools("Runtime.evaluate", { expression: "document.documentElement.scrollWidth" });
    check(result.value <= width, `on a ${size}, the page is ${result.value} px wide`);
  }

  end() {
    return this.browser.end();
  }
}

/**
 * The states by name. `options` are those of the visitor; `arrive` brings it into the state.
 *
 * @type {Map<string, { options: object, arrive: (visitor: Visitor, place: Place) => Promise<void> }>}
 */
const states = new Map();

function state(name, options, arrive) {
  states.set(name, { options, arrive });
}

/** The relay, a room for one state alone, and another browser in which others visit it. */
class Place {
  #afterwards = [];

  constructor(relay, others, room) {
    this.relay = relay;
    this.others = others;
    this.url = `${relay.url}#room=${room}`;
  }

  /** Another person's tab, in the same room unless told. */
  async other(url = this.url) {
    const tab = await this.others.tab();
    await open(tab, url);
    this.afterwards(() => tab.evaluate("heartchain.stop()"));
    return tab;
  }

  /** Adds what follows once the state is over, also if it was never reached. */
  afterwards(work) {
    this.#afterwards.unshift(work);
  }

  /** The address of this relay, at another port. */
  async addressAt(port) {
    const { addresses } = await (await fetch(new URL("relay.json", this.relay.url))).json();
    return addresses.find((address) => address.includes("/ws/")).replace(/\/tcp\/\d+\//, `/tcp/${port}/`);
  }

  async leave() {
    let failure;
    for (const work of this.#afterwards) await Promise.resolve().then(work).catch((error) => (failure ??= error));
    if (failure !== undefined) throw failure;
  }
}

/** A server that accepts connections and never says a word. */
async function silentServer(place) {
  const sockets = new Set();
  const server = createServer((socket) => sockets.add(socket.on("error", () => {})));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  place.afterwards(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server.address().port;
}

/** Enters a heart rate that may not be recorded. */
function submit(visitor, bpm) {
  return visitor.evaluate(`void ((document.querySelector("#bpm").value = "${bpm}"), document.querySelector("record-form form").requestSubmit())`);
}

/** Lets the visitor keep a reading that waits: it mines too slowly for a block. */
async function recordWithoutBlock(visitor, bpm) {
  await visitor.evaluate("heartchain.limitMining(1)");
  await enter(visitor, bpm);
}

async function meet(visitor, tab) {
  await until("a peer", async () => (await status(visitor)).peers === 1 && (await status(tab)).peers === 1);
}

// Browsers in which the page cannot work.

/** Nothing is said about a room that the tab does not know. */
const NO_CLAIM = /^(?!.*(No one else is here|The chain has no readings))/;

state("too-old", { script: "delete Array.prototype.toSorted;" }, async (visitor, { url }) => {
  await visitor.go(url);
  await visitor.shows("#guard", /This browser is too old for Heartchain\./);
  await visitor.shows("body", /^Heartchain This browser[^.]+\. Use Chrome or Edge 110, Firefox 121, Safari 16\.4, or newer\.$/);
});

state("without-webassembly", { script: "delete globalThis.WebAssembly;" }, async (visitor, { url }) => {
  await visitor.go(url);
  await visitor.shows("#guard", /This browser doesn't run WebAssembly here/);
  await visitor.shows("body", /^Heartchain This browser doesn't [^.]+\. [^.]+\.$/);
});

state("without-javascript", { preferences: { "profile.default_content_setting_values.javascript": 2 } }, async (visitor, { url }) => {
  visitor.hasScripts = false;
  await visitor.go(url);
  await visitor.shows("body", /^Heartchain Heartchain needs JavaScript\. Turn it on for this page\.$/);
});

state("script-did-not-arrive", {}, async (visitor, { url }) => {
  await visitor.block("*/components/frame.js");
  await visitor.go(url);
  await visitor.shows("#guard", /The page didn't load completely\. Check the connection and reload it\. Reload$/);
});

// What takes 15 s takes half a second here.
const IMPATIENT = "const later = setTimeout; globalThis.setTimeout = (work, ms, ...rest) => later(work, ms === 15_000 ? 500 : ms, ...rest);";

state("not-ready", { script: IMPATIENT }, async (visitor, { url }) => {
  await visitor.holdBack("*/page.js");
  await visitor.go(url);
  await visitor.shows("#guard", /The page isn't ready yet\./);
});

// The start.

/** What a page must not say that does not know the room yet. */
const NOTHING_KNOWN = /^(?!.*(No readings are waiting|No one else is here|The chain has no readings))/;

state("loading", {}, async (visitor, { url }) => {
  await visitor.holdBack("*.wasm");
  await visitor.go(url);
  await visitor.shows(".status-text", /^Starting …$/);
  await submit(visitor, 72);
  await visitor.shows(".recorded", /^1 reading is waiting for the page to load, and will be recorded then\.$/);
  await visitor.shows("main", NOTHING_KNOWN);
});

state("node-starting", {}, async (visitor, place) => {
  await visitor.holdBack("*/relay.json");
  await visitor.open(place.url);
  await visitor.shows(".status-text", /^Ready · looking for peers …$/);
  await visitor.shows("peer-list", /Looking for others …$/);
  await visitor.shows("main", NO_CLAIM);
});

// The network.

state("alone", {}, async (visitor, { url }) => {
  await visitor.open(url);
  await visitor.shows(".status-text", /^Only you are here\. Readings are saved and shared later\.$/);
  await visitor.shows("peer-list", /No one else is here yet\./);
  await visitor.shows("relay-list", /connected, others can reach you through it/);
  await visitor.shows("chain-list", /^The chain has no readings yet\. Record the first one\./);
});

state("alone-with-readings", {}, async (visitor, { url }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await hasReading(visitor, 72);
  await recordWithoutBlock(visitor, 75);
  await visitor.shows("own-readings", /Saved, waiting for a block/);
  await visitor.shows("own-readings", /In block 1 · 1 confirmation/);
  await visitor.shows(".status-text", /^Only you are here\./);
  await visitor.shows(".recorded", /^75 BPM recorded\.$/);
});

state("in-sync", {}, async (visitor, place) => {
  await visitor.open(place.url);
  const other = await place.other();
  await meet(visitor, other);
  await enter(other, 91);
  await hasReading(visitor, 91);
  await visitor.shows(".status-text", /^In sync · block 1 · 1 peer \(direct\)$/);
});

/** Lets nothing more arrive once the node knows how long the chain is. */
const SLOW_NETWORK = `
  const Native = WebSocket;
  globalThis.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        const { state, target } = globalThis.heartchain?.status() ?? {};
        globalThis.held ||= state === "syncing" && target !== null;
        if (globalThis.held) event.stopImmediatePropagation();
      });
    }
  };`;

state("syncing", { script: SLOW_NETWORK }, async (visitor, place) => {
  const other = await place.other();
  for (let block = 1; block <= 3; block += 1) {
    await other.evaluate("(async () => { for (let i = 0; i < 10; i += 1) await Promise.all(Array.from({ length: 50 }, (_, i) => heartchain.record(60 + i))); })()");
    await until(`block ${block}`, async () => (await status(other)).tip.index >= block);
  }
  const url = new URL(place.url);
  // Nothing by WebRTC, neither from the other tab nor from the relay.
  url.searchParams.set("direct", "no");
  url.searchParams.set("relay", await place.addressAt(place.relay.port));
  await visitor.open(url.href);
  await visitor.shows(".status-text", /^Catching up · block \d+ of \d+ · 1 peer \(through the relay\)$/);
  await visitor.shows("main", NO_CLAIM);
});

state("disconnected-by-you", {}, async (visitor, { url }) => {
  await visitor.open(url);
  await visitor.evaluate("heartchain.isolate(true)");
  await visitor.shows(".status-text", /^Disconnected by you\. Readings are saved and sent when you reconnect\.$/);
  await visitor.shows("peer-list", /You disconnected this tab\./);
  await visitor.shows("relay-list", /not used while you are disconnected/);
  await visitor.shows("main", NO_CLAIM);
});

state("relay-missing", {}, async (visitor, place) => {
  await visitor.open(place.url);
  await until("the relay", async () => (await status(visitor)).relays.some(({ reserved }) => reserved));
  place.afterwards(() => place.relay.start());
  await place.relay.end();
  await visitor.shows(".status-text", /^Can't reach the relay\. You can keep recording; readings are shared later\.$/);
  await visitor.shows("relay-list", /unreachable, trying again/);
  await visitor.shows("peer-list", /No one else is connected\. Tabs find each other through a relay\.$/);
  await visitor.shows("main", NO_CLAIM);
});

state("relay-missing-with-peer", {}, async (visitor, place) => {
  await visitor.open(place.url);
  const other = await place.other();
  await meet(visitor, other);
  await until("a direct path", async () => (await visitor.evaluate("heartchain.peers()")).some(({ path }) => path === "direct"));
  place.afterwards(() => place.relay.start());
  await place.relay.end();
  await visitor.shows(".status-text", /^Can't reach the relay · 1 direct peer, still in sync$/);
});

state("relay-full", {}, async (visitor, place) => {
  const full = new Relay(relayProgram, "127.0.0.1", ["--max-tabs", "1"]);
  place.afterwards(() => full.remove());
  await full.start();
  const other = await place.other(`${full.url}#room=first`);
  await until("a reservation", async () => (await status(other)).relays.some(({ reserved }) => reserved));
  await visitor.open(`${full.url}#room=second`);
  await visitor.shows(".status-text", /^The relay is full\. You can still record, and reach tabs you know\.$/);
  await visitor.shows("relay-list", /full: others can't find you through it/);
  await visitor.shows("peer-list", /No one else is connected\. Tabs find each other through a relay\.$/);
  await visitor.shows("main", NO_CLAIM);
});

// What is kept.

state("private-window", { flags: ["--incognito"] }, async (visitor, { url }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await visitor.shows(".storage-words", /A private window forgets everything when it closes\./);
});

state("storage-persisted", {}, async (visitor, { url, relay }) => {
  await visitor.devtools("Browser.grantPermissions", { origin: relay.url, permissions: ["durableStorage"] });
  await visitor.open(url);
  await enter(visitor, 72);
  await visitor.shows(".storage-words", /^Saved in this browser, which keeps it even when the disk is full\. A private window/);
});

state("cookies-blocked", { preferences: { "profile.default_content_setting_values.cookies": 2 } }, async (visitor, { url }) => {
  await visitor.open(url);
  await recordWithoutBlock(visitor, 72);
  await visitor.shows(".storage-words", /^Not saved on this device, .* The browser doesn't let this page save anything\.$/);
  await visitor.shows(".status-text", /Readings are shared later, if this tab stays open\.$/);
  await visitor.shows("own-readings", /Waiting for a block/);
});

const NO_DATABASE = "Object.defineProperty(globalThis, 'indexedDB', { value: undefined });";

state("without-database", { script: NO_DATABASE }, async (visitor, { url }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await visitor.shows(".storage-words", /^Not saved on this device, .* This browser has no database here\.$/);
});

/** Records until the node refuses. */
const RECORD_UNTIL_FULL = `(async () => {
  for (;;) {
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => heartchain.record(72)));
    const refused = results.find(({ status }) => status === "rejected");
    if (refused && !refused.reason.message.includes("make room")) throw refused.reason;
    if (refused) return;
  }
})()`;

state("quota-of-a-megabyte", {}, async (visitor, { url, relay }) => {
  await visitor.devtools("Storage.overrideQuotaForOrigin", { origin: relay.url, quotaSize: MEGABYTE });
  await visitor.open(url);
  await visitor.evaluate(RECORD_UNTIL_FULL);
  await visitor.shows(".storage-words", /^No space left for this page\. Free some on this device or delete rooms/);
  await submit(visitor, 73);
  await visitor.shows("record-form", /73 BPM was not recorded: .* Try again/);
  // What Chromium reports is not what is left.
  await visitor.shows("storage-line", /^(?!.* used\.)/);
});

state("storage-cleared-while-open", {}, async (visitor, { url, relay }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await hasReading(visitor, 72);
  await visitor.devtools("Storage.clearDataForOrigin", { origin: relay.url, storageTypes: "indexeddb,local_storage" });
  await visitor.shows(".noticed", /^The browser deleted Heartchain's data while the page was open\. Your key and 1 reading were saved again\. Blocks are fetched again when others are here\.( Dismiss)?$/);
});

const STUCK_DISK = readFileSync(new URL("stuck_disk.js", import.meta.url), "utf8");

state("disk-not-responding", { script: STUCK_DISK }, async (visitor, { url }) => {
  await visitor.open(url);
  await visitor.evaluate("void (globalThis.stuck = true)");
  await submit(visitor, 71);
  await visitor.shows("record-form", /Saving 71 BPM …/);
  await visitor.shows(".storage-words", /^The disk isn't responding\. Readings are waiting to be saved, so keep this tab open\.$/);
  await visitor.shows(".status-text", /if this tab stays open\.$/);
});

state("newer-version-in-another-tab", {}, async (visitor, { url }) => {
  await visitor.open(url);
  await visitor.evaluate(`(async () => {
    const { name, version } = (await indexedDB.databases()).find(({ name }) => name.startsWith("heartchain/"));
    indexedDB.open(name, version + 1);
  })()`);
  await visitor.shows(".storage-words", /^A newer version of this page is open in another tab\. Reload this tab\. Until then, it saves nothing\.$/);
  await submit(visitor, 72);
  await visitor.shows("record-form", /72 BPM was not recorded: (?!.*space)/);
});

state("two-tabs-of-one-browser", {}, async (visitor, { url }) => {
  await visitor.open(url);
  const { tab } = visitor;
  visitor.tab = await visitor.browser.tab();
  await visitor.open(url);
  await meet(visitor, tab);
  await visitor.shows(".storage-words", /This is tab 2 of this room on this device\./);
});

// What the browser lacks or forbids.

state("without-webrtc", { script: "delete globalThis.RTCPeerConnection;" }, async (visitor, place) => {
  await visitor.open(place.url);
  const other = await place.other();
  await meet(visitor, other);
  await visitor.shows(".noticed", /This browser has no direct connections \(WebRTC\), so everything goes through the relay\./);
  await visitor.shows(".status-text", /1 peer \(through the relay\)$/);
});

state("without-udp", { preferences: { "webrtc.ip_handling_policy": "disable_non_proxied_udp" } }, async (visitor, place) => {
  await visitor.open(place.url);
  const other = await place.other();
  await meet(visitor, other);
  await enter(visitor, 72);
  await hasReading(other, 72);
  await visitor.shows(".status-text", /^In sync · block 1 · 1 peer \(through the relay\)$/);
});

state("without-worker", { script: "delete globalThis.Worker;" }, async (visitor, { url }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await visitor.shows(".noticed", /This browser can't mine here \(it has no workers\)\. Your readings wait until another tab in the room mines them\./);
  await visitor.shows("own-readings", /Saved, waiting for a block/);
  await visitor.shows("main", /^(?!.*Record the first one)/);
});

/** A worker whose script is not there. */
const NO_MINER = `
  const Native = Worker;
  globalThis.Worker = class extends Native {
    constructor(url, ...rest) {
      super(String(url).replace("miner.js", "no-such-file.js"), ...rest);
    }
  };`;

state("mining-program-not-loaded", { script: NO_MINER }, async (visitor, { url }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await visitor.shows(".noticed", /The mining program couldn't be loaded\. This tab tries again/);
});

state("chart-not-loaded", {}, async (visitor, { url }) => {
  await visitor.block("*/components/chart.js");
  await visitor.open(url);
  await enter(visitor, 72);
  await visitor.shows(".noticed", /Parts of this page couldn't be loaded\. Everything else works\. Reload/);
  await visitor.shows("main", /^(?!.*(No one else is here|hasn't listed its relays))/);
});

const ELSEWHERE = { flags: [`--host-resolver-rules=MAP ${ANOTHER_COMPUTER} 127.0.0.1`] };

state("plain-http-elsewhere", ELSEWHERE, async (visitor, place) => {
  const url = place.url.replace("127.0.0.1", ANOTHER_COMPUTER);
  await visitor.open(url);
  check((await visitor.evaluate("isSecureContext")) === false, `${url} is secure`);
  await enter(visitor, 72);
  await hasReading(visitor, 72);
  await visitor.shows(".noticed", /Over plain http the browser blocks straps, offline use and copying links here\. Recording and syncing work\./);
  await visitor.shows(".storage-words", /^Saved in this browser until its data is cleared\./);
});

/** Headless Chromium neither asks for this permission nor knows it. */
const permission = (answer) => `
  const { query } = Permissions.prototype;
  Permissions.prototype.query = async function (wanted) {
    if (wanted.name !== "local-network-access") return query.call(this, wanted);
    return Object.assign(new EventTarget(), { state: ${json(answer)} });
  };`;

/** A page from the internet whose relay is in the visitor's own network: at a port where no one answers, or no one is. */
function localNetwork(name, answer, findPort, shown) {
  state(name, { script: permission(answer), internet: true }, async (visitor, place) => {
    const address = (await place.addressAt(await findPort(place))).replace("/ws/", "/tls/ws/");
    await visitor.open(`https://heart.example/?relay=${encodeURIComponent(address)}`);
    for (const [selector, words] of Object.entries(shown)) await visitor.shows(selector, words);
  });
}

localNetwork("local-network-prompt", "prompt", silentServer, {
  ".noticed": /Your browser will ask whether this page may reach your local network: its relay is there\. Allow it to meet others\./,
  ".status-text": /looking for peers/,
});

localNetwork("local-network-denied", "denied", freePort, {
  ".noticed": /The browser doesn't let this page reach its relay in your local network\. Allow “Local network access” in the page's settings, then reload\./,
  ".status-text": /^Can't reach the relay\./,
});

// The end.

state("stopped", {}, async (visitor, { url }) => {
  await visitor.open(url);
  await visitor.evaluate("heartchain.stop()");
  await visitor.shows(".status-text", /^Not running$/);
  await submit(visitor, 72);
  await visitor.shows("record-form", /72 BPM was not recorded: this tab's peer has stopped; reload the page/);
});

/** Lets the node say that it panicked. */
const PANIC = `
  const listeners = [];
  globalThis.panic = () => listeners.forEach((listener) => listener({ detail: { error: "heartchain broke and must be reloaded: index out of bounds" } }));
  Object.defineProperty(globalThis, "heartchain", {
    configurable: true,
    set(node) {
      Object.defineProperty(globalThis, "heartchain", { value: node });
      const { addEventListener } = node;
      node.addEventListener = (type, listener) => {
        if (type === "status") listeners.push(listener);
        addEventListener.call(node, type, listener);
      };
    },
  });`;

state("broken", { script: PANIC }, async (visitor, { url }) => {
  await visitor.open(url);
  await enter(visitor, 72);
  await hasReading(visitor, 72);
  await visitor.evaluate("panic()");
  await visitor.shows("failure-notice", /Heartchain stopped working · .* Reload the page to continue\.$/);
  await visitor.shows(".status-text", /^Not running$/);
});

state("wrong-address", {}, async (visitor, { relay }) => {
  await visitor.go(`${relay.url}?relay=nonsense`);
  await visitor.shows("failure-notice", /Heartchain couldn't start · “nonsense” isn't a relay address/);
  await visitor.shows(".status-text", /^Not running$/);
});

state("damaged-link", {}, async (visitor, { relay }) => {
  await visitor.go(`${relay.url}#private=damaged`);
  await visitor.shows("failure-notice", /Heartchain couldn't start · .* Open a link/);
});

/** A page from the internet: a name of its own, with https. */
async function withName(relays) {
  relays.internet ??= new Relay(relayProgram, "127.0.0.1", ["--tls-self-signed", "--announce", "https://heart.example"]);
  if (relays.internet.url === undefined) await relays.internet.start();
  const rule = `--host-resolver-rules=MAP heart.example:443 127.0.0.1:${relays.internet.port}`;
  return { flags: [rule, "--ignore-certificate-errors"] };
}

async function visit(name, { options: { internet = false, ...options }, arrive }, relays, others) {
  const visitor = await Visitor.start({ ...options, ...(internet ? await withName(relays) : {}) });
  const place = new Place(relays.usual, others, name);
  try {
    await arrive(visitor, place);
    await visitor.photograph(name);
  } finally {
    await visitor.end();
    await place.leave();
  }
}

/** Visits all states in turn, with a relay and another browser of its own. Returns how many failed. */
async function visitInTurn(left) {
  const relays = { usual: new Relay(relayProgram) };
  let others = null;
  let failures = 0;
  try {
    await relays.usual.start();
    others = await Chromium.start();
    while (left.length > 0) {
      const [name, how] = left.shift();
      const began = performance.now();
      const outcome = await visit(name, how, relays, others).then(() => "ok", (error) => `FAILED: ${error.message}`);
      if (outcome !== "ok") failures += 1;
      console.log(`${name.padEnd(30)} ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${outcome}`);
    }
  } finally {
    await others?.end();
    for (const relay of Object.values(relays)) await relay.remove();
  }
  return failures;
}

async function main() {
  if (!Chromium.installed()) throw new Error("Chromium and its chromedriver are not installed");
  for (const name of wanted) check(states.has(name), `there is no state ${name}, only ${[...states.keys()].join(", ")}`);
  mkdirSync(folder, { recursive: true });
  const chosen = [...states].filter(([name]) => wanted.length === 0 || wanted.includes(name));
  // The visits mostly wait.
  const left = [...chosen];
  const failed = await Promise.all(Array.from({ length: AT_ONCE }, () => visitInTurn(left)));
  const failures = failed.reduce((sum, count) => sum + count);
  console.log(`${failures === 0 ? `all ${chosen.length} states passed` : `${failures} of ${chosen.length} states failed`}; screenshots: ${folder}`);
  return failures;
}

process.exit((await main()) === 0 ? 0 : 1);
