//! The page in other browsers than Chromium: Firefox and WebKitGTK, each with Chromium in the same room, and the real relay.
//! Prints a line for each scenario. docs/browsers.md has the results as a table.
//!
//!   node run.mjs RELAY [FOLDER]    the relay's program; a folder for screenshots of each state

import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { keyLetters } from "../../www/authors.js";
import { Chromium, Firefox, WebKit, until } from "./drivers.mjs";
import { Relay, check, click, enter, hasReading, json, open, started, status, text } from "./page.mjs";
import { localAddress, testWebRtcDirect } from "./webrtc_direct.mjs";

const [relayProgram, folder] = process.argv.slice(2);

/** Lines that browsers print about their own features, not about the page. */
const HARMLESS = [/downloadable font/i, /WebGL/i, /Cookie .* has been rejected/, /was preloaded using link preload but not used/];

const results = [];
let failures = 0;

async function photograph(tab, name) {
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  // WebKit photographs what it has drawn last.
  await tab.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))");
  writeFileSync(join(folder, `${name}.png`), await tab.screenshot());
}

async function scenario(browser, name, work) {
  const began = performance.now();
  let outcome = "ok";
  try {
    const found = await work();
    if (typeof found === "string") outcome = found;
  } catch (error) {
    outcome = `FAILED: ${error.message}`;
    failures += 1;
  }
  results.push({ browser, name, outcome });
  console.log(`${browser.padEnd(12)} ${name.padEnd(34)} ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${outcome}`);
}

async function testBrowser(Browser, relay, chromium) {
  const browser = await Browser.start();
  const name = `${Browser.name} ${browser.version.split(".").slice(0, 2).join(".")}`;
  const each = (title, work) => scenario(name, title, work);
  const room = `${relay.url}#room=${Browser.name}`;
  try {
    const tab = await browser.tab();
    let before;
    await each("starts and records alone", async () => {
      await open(tab, room);
      await photograph(tab, `${Browser.name}-empty`);
      await enter(tab, 72);
      await hasReading(tab, 72);
      check((await text(tab, ".storage-words")).includes("private window forgets"), `storage: ${await text(tab, ".storage-words")}`);
      // Firefox would ask the person; the page does so only after a click.
      const asks = await tab.evaluate("!document.querySelector('.storage-keep').hidden");
      check(asks === (Browser === Firefox), `the button that asks for storage is ${asks ? "" : "not "}there`);
      before = await status(tab);
      check(before.storage.kind === "disk", json(before.storage));
      await photograph(tab, `${Browser.name}-alone`);
    });
    await each("keeps its identity when reloaded", async () => {
      await tab.reload();
      await started(tab);
      const after = await status(tab);
      for (const key of ["peerId", "author"]) check(after[key] === before[key], `${before[key]} became ${after[key]}`);
      await until("the chain", async () => (await status(tab)).tip.index >= before.tip.index);
    });
    await each("meets Chromium, both ways", async () => {
      const other = await chromium.tab();
      await open(other, room);
      await until("a peer", async () => (await status(tab)).peers === 1 && (await status(other)).peers === 1);
      await enter(other, 91);
      await hasReading(tab, 91);
      await enter(tab, 73);
      await hasReading(other, 73);
      const hasWebRtc = await tab.evaluate("typeof RTCPeerConnection === 'function'");
      const path = async () => (await tab.evaluate("heartchain.peers()")).find(({ path }) => path !== "relay")?.path;
      await until(`a ${hasWebRtc ? "direct" : "relayed"} path`, async () => (await path()) === (hasWebRtc ? "direct" : "relayed"));
      await photograph(tab, `${Browser.name}-together`);
      await other.evaluate("heartchain.stop()");
      return hasWebRtc ? "ok, directly" : "ok, through the relay";
    });
    await each("checks a block", async () => {
      await tab.evaluate("document.querySelector('.block-open').click()");
      await until("the verdict", async () => {
        const verdict = await text(tab, ".verdict");
        // The dialog follows the chain, and forgets the verdict when the block is another one.
        if (verdict === "") await click(tab, ".block-check");
        return verdict === "This block is valid.";
      });
      await photograph(tab, `${Browser.name}-block`);
      await click(tab, "block-dialog .dialog-close");
    });
    await each("shows the lessons", async () => {
      await click(tab, ".lesson-switch");
      await until("the lessons", () => tab.evaluate("document.querySelector('lesson-tampering button') !== null"));
      await tab.evaluate("document.querySelector('lesson-tampering button').click()");
      await until("the checks", async () => /signed/.test(await text(tab, "lesson-tampering")));
      await photograph(tab, `${Browser.name}-lessons`);
      await click(tab, ".lesson-switch");
    });
    await each("speaks Korean", async () => {
      await click(tab, "language-switch button");
      await until("Korean", async () => (await text(tab, "#record-heading")) === "심박수 기록");
      await click(tab, "language-switch button");
    });
    await each("exports and imports", async () => {
      const tip = (await status(tab)).tip.index;
      const imported = await tab.evaluate(`(async () => heartchain.importJson(await (await heartchain.exportJson()).text()))()`);
      check(imported.blocks >= tip && imported.newBlocks === 0, json(imported));
      const csv = await tab.evaluate(`heartchain.exportCsv().then((file) => file.text())`);
      check(csv.includes(",72,") && csv.includes(keyLetters(before.author)), csv.slice(0, 200));
    });
    await each("opens without its relay", async () => {
      if (!(await tab.evaluate("'serviceWorker' in navigator"))) return "no service worker here";
      await until("the service worker", () => tab.evaluate("navigator.serviceWorker.ready.then(() => true)"));
      await relay.end();
      await until("the lost relay", async () => /Can't reach the relay/.test(await text(tab, ".status-text")));
      await tab.reload();
      await started(tab);
      await enter(tab, 74);
      await hasReading(tab, 74);
      check((await status(tab)).author === before.author, "another author");
      await photograph(tab, `${Browser.name}-offline`);
    });
    await each("finds its relay again", async () => {
      await relay.start();
      await until("the relay", async () => (await status(tab)).relays.some(({ connected }) => connected));
    });
    await each("prints no error", async () => {
      if (browser.console === null) return "not checked: its driver cannot read the console";
      const lines = browser.console.filter((line) => !HARMLESS.some((pattern) => pattern.test(line)) && !/relay\.json|WebSocket|ws:|NetworkError|refused/i.test(line));
      check(lines.length === 0, lines.slice(0, 3).join(" | "));
    });
  } finally {
    await browser.end();
  }
}

/** What developers may rely on, in Chromium, which can be told to collect garbage. */
async function testApi(relay, chromium) {
  const name = `Chromium ${chromium.version.split(".")[0]}`;
  const tab = await chromium.tab();
  await open(tab, `${relay.url}#room=api`);
  const load = `import(document.querySelector('script[src$="index.js"]').src.replace(/index\\.js$/, "pkg/wasm_node.js"))`;
  await scenario(name, "a node lives without its handle", async () => {
    await tab.evaluate(`(async () => {
      const { HeartchainNode } = await ${load};
      let node = await HeartchainNode.start({ room: "collected" });
      globalThis.peersSeen = 0;
      node.addEventListener("peers", ({ detail }) => (globalThis.peersSeen = detail.filter(({ path }) => path !== "relay").length));
      node = null;
    })()`);
    for (let times = 0; times < 3; times += 1) await tab.evaluate("(async () => { gc(); await new Promise((resolve) => setTimeout(resolve, 200)); })()");
    await tab.evaluate(`(async () => {
      const { HeartchainNode } = await ${load};
      globalThis.other = await HeartchainNode.start({ room: "collected" });
    })()`);
    await until("the collected node to meet the other one", () => tab.evaluate("globalThis.peersSeen === 1"));
    await tab.evaluate("globalThis.other.stop()");
  });
  await scenario(name, "init() at once loads one instance", async () => {
    const same = await tab.evaluate(`(async () => {
      const { default: init } = await ${load};
      const [first, second] = [init(), init()];
      return first === second && (await first) === (await second);
    })()`);
    check(same, "two instances");
  });
  await scenario(name, "200 starts and stops do not grow", async () => {
    const cycles = (count) => tab.evaluate(`(async () => {
      const { HeartchainNode, default: init } = await ${load};
      const { memory } = await init();
      const peers = new Set();
      for (let i = 0; i < ${count}; i += 1) {
        const node = await HeartchainNode.start({ room: "cycles" });
        peers.add(node.status().peerId);
        await node.stop();
      }
      for (let i = 0; i < 3; i += 1) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return { bytes: memory.buffer.byteLength, peers: peers.size };
    })()`);
    const before = await cycles(20);
    let after = before;
    for (let round = 0; round < 9; round += 1) after = await cycles(20);
    check(after.peers === 1, `${after.peers} identities`);
    // Wasm memory never shrinks, so it shows what was ever needed at once.
    check(after.bytes <= before.bytes * 1.3, `${before.bytes} became ${after.bytes} bytes`);
    return `ok, ${Math.round(after.bytes / 1e6)} MB`;
  });
  await tab.evaluate("heartchain.stop()");
}

/**
 * A private window has a disk, as far as a page can tell: the words must be true anyway, even after the person agreed to keep the
 * data. Then the window is closed, and opened again with the same profile.
 */
async function testPrivateWindow(relay) {
  const preferences = { "browser.privatebrowsing.autostart": true, "permissions.default.persistent-storage": 1 };
  let browser = await Firefox.start(preferences);
  const name = `Firefox ${browser.version.split(".").slice(0, 2).join(".")}`;
  const visit = async () => {
    const tab = await browser.tab();
    await open(tab, `${relay.url}#room=private`);
    return tab;
  };
  try {
    await scenario(name, "private window forgets, as it says", async () => {
      const tab = await visit();
      await enter(tab, 80);
      await hasReading(tab, 80);
      const words = async () => {
        const said = await text(tab, ".storage-words");
        check(/private window forgets|Not saved on this device/.test(said), said);
        return said;
      };
      await words();
      await photograph(tab, "Firefox-private");
      await tab.evaluate("heartchain.requestPersistence()");
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const said = await words();
      const before = await status(tab);
      browser = await Firefox.start(preferences, await browser.end({ keepProfile: true }));
      const again = await visit();
      const after = await status(again);
      check(after.author !== before.author && after.tip.index === 0, `it kept ${json([after.author, after.tip])}`);
      check((await again.evaluate("heartchain.ownReadings(10).length")) === 0, "it kept readings");
      check(!/lost/.test(await text(again, ".noticed")), await text(again, ".noticed"));
      return before.storage.persisted === null ? "ok" : `ok, persisted: ${before.storage.persisted}, “${said}”`;
    });
  } finally {
    await browser.end();
  }
}

/** LibreWolf and the Tor Browser resist fingerprinting: what a page draws cannot be read back, and clocks are coarse. */
async function testFingerprinting(relay) {
  const browser = await Firefox.start({ "privacy.resistFingerprinting": true });
  const name = `Firefox ${browser.version.split(".").slice(0, 2).join(".")}`;
  try {
    await scenario(name, "resists fingerprinting", async () => {
      const tab = await browser.tab();
      await open(tab, `${relay.url}#room=fingerprinting`);
      await enter(tab, 82);
      await hasReading(tab, 82);
      await until("the legend", () => tab.evaluate("document.querySelector('.chart-legend li') !== null"));
      await photograph(tab, "Firefox-resists-fingerprinting");
    });
  } finally {
    await browser.end();
  }
}

/** Pages whose browser lacks a feature: WebRTC and service workers, or WebAssembly. */
async function testLackingFeatures(relay) {
  const browser = await Firefox.start({
    "media.peerconnection.enabled": false, "dom.serviceWorkers.enabled": false, "javascript.options.wasm": true,
  });
  const name = `Firefox ${browser.version.split(".").slice(0, 2).join(".")}`;
  try {
    await scenario(name, "without WebRTC and service worker", async () => {
      const tab = await browser.tab();
      await open(tab, `${relay.url}#room=lacking`);
      await enter(tab, 81);
      await hasReading(tab, 81);
      check((await text(tab, ".noticed")).includes("no direct connections"), await text(tab, ".noticed"));
      await photograph(tab, "Firefox-without-webrtc");
    });
  } finally {
    await browser.end();
  }
  const plain = await Firefox.start({ "javascript.options.wasm": false });
  try {
    await scenario(name, "without WebAssembly", async () => {
      const tab = await plain.tab();
      await tab.open(relay.url);
      await until("the sentence", async () => /WebAssembly/.test(await text(tab, "#guard")));
      check(await tab.evaluate("getComputedStyle(document.querySelector('main')).display === 'none'"), "the form is still there");
      await photograph(tab, "Firefox-without-webassembly");
    });
  } finally {
    await plain.end();
  }
}

/** WebRTC-direct in Firefox. */
async function testDirectRelay() {
  const ip = localAddress();
  if (ip === undefined) {
    console.log("Firefox      WebRTC-direct skipped: this computer has only loopback addresses");
    return;
  }
  const local = new Relay(relayProgram, ip);
  try {
    await local.start();
    await testWebRtcDirect(local, (title, work) => scenario("Firefox", title, work));
  } finally {
    await local.remove();
  }
}

/** The types, as a strict project sees them. */
async function testTypes(relay) {
  await scenario("TypeScript", "strict project", async () => {
    const page = await (await fetch(relay.url)).text();
    const version = /"(v\/[^/"]+\/)index\.js"/.exec(page)[1];
    const types = await (await fetch(new URL(`${version}pkg/wasm_node.d.ts`, relay.url))).text();
    const project = mkdtempSync(join(tmpdir(), "heartchain-types-"));
    try {
      writeFileSync(join(project, "wasm_node.d.ts"), types);
      copyFileSync(new URL("strict-app.ts", import.meta.url), join(project, "app.ts"));
      const program = ts.createProgram([join(project, "app.ts")], {
        strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false, noEmit: true,
        target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
        lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"], types: [],
      });
      const found = ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, " "));
      check(found.length === 0, found.slice(0, 3).join(" | "));
      check(types.includes("@throws") && !types.includes("# Errors"), "the documentation of errors is Rust's");
    } finally {
      rmSync(project, { recursive: true, force: true });
    }
  });
}

const relay = new Relay(relayProgram);
let chromium = null;
try {
  if (!Chromium.installed()) throw new Error("Chromium and its chromedriver are not installed");
  await relay.start();
  await testTypes(relay);
  chromium = await Chromium.start();
  await testApi(relay, chromium);
  for (const Browser of [Firefox, WebKit]) {
    if (Browser.installed()) await testBrowser(Browser, relay, chromium);
    else console.log(`${Browser.name.padEnd(12)} skipped: not installed`);
  }
  if (Firefox.installed()) {
    await testPrivateWindow(relay);
    await testFingerprinting(relay);
    await testLackingFeatures(relay);
    await testDirectRelay();
  }
} catch (error) {
  failures += 1;
  console.log(`FAILED: ${error.stack}`);
} finally {
  await chromium?.end();
  await relay.remove();
}
console.log(failures === 0 ? `all ${results.length} passed` : `${failures} of ${results.length} failed`);
process.exit(failures === 0 ? 0 : 1);
