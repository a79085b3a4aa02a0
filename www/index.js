//! Puts the page together: starts the node, hands its news to the components and their wishes to it.
//! Never draws anything itself, never knows the wasm package.

import "./components/chain-list.js";
import "./components/failure-notice.js";
import "./components/language-switch.js";
import "./components/page-notices.js";
import "./components/peer-list.js";
import "./components/pending-list.js";
import "./components/record-form.js";
import "./components/relay-list.js";
import "./components/room-bar.js";
import "./components/status-line.js";
import { capabilities } from "./capabilities.js";
import { ChainWindow } from "./chain-window.js";
import { coalesce } from "./coalesce.js";
import { startNode } from "./node.js";
import { offerStrap } from "./offer-strap.js";
import {
  directFromSearch, hashForRoom, linkToRoom, peersFromSearch, relaysFromSearch, roomFromHash,
} from "./room-link.js";
import { chooseLanguage, language, languageChanges, setLanguage, translate } from "./strings.js";

const LANGUAGE_KEY = "heartchain.language";

const part = (selector) => document.querySelector(selector);
const bpmForm = part("record-form");
const chainList = part("chain-list");
const roomBar = part("room-bar");
const notices = part("page-notices");
const statusLine = part("status-line");

const browser = capabilities(globalThis);
const requestedRoom = roomFromHash(location.hash);
const requestedRelays = relaysFromSearch(location.search);
const requestedPeers = peersFromSearch(location.search);
let runningRoom = null;

languageChanges.addEventListener("change", speak);
setLanguage(chooseLanguage([rememberedLanguage(), ...navigator.languages]));
speak();
part("language-switch").addEventListener("language-chosen", ({ detail }) => {
  rememberLanguage(detail.language);
  setLanguage(detail.language);
});

notices.browser = browser;
roomBar.canCopy = !browser.missing.includes("clipboard");
roomBar.room = requestedRoom ?? null;
roomBar.addEventListener("room-chosen", ({ detail }) => {
  location.hash = hashForRoom(detail.room);
});
addEventListener("hashchange", () => {
  const wanted = roomFromHash(location.hash);
  if (wanted !== requestedRoom && wanted !== runningRoom) location.reload();
});

const starting = startNode({
  room: requestedRoom,
  relays: requestedRelays,
  peers: requestedPeers,
  direct: directFromSearch(location.search),
});
starting.then(present, (error) => {
  const byDefault = requestedRoom === undefined && requestedRelays.length === 0 && requestedPeers.length === 0;
  giveUp(byDefault ? "start" : "address", wordsOf(error));
});

// One after the other, so that readings get their numbers in the order in which they were typed.
let recording = Promise.resolve();
bpmForm.addEventListener("reading-submitted", ({ detail }) => {
  recording = recording.then(() => record(detail.bpm));
});

async function record(bpm) {
  try {
    const node = await starting;
    await node.record(bpm);
    bpmForm.confirm(bpm);
  } catch (error) {
    bpmForm.fail(bpm, wordsOf(error));
  }
}

offerStrap(part("strap-control"), navigator.bluetooth, async (bpm) => (await starting).record(bpm));

/** Shows a running node, now and whenever it has news. */
function present(node) {
  globalThis.heartchain = node;
  runningRoom = node.status().room;
  const chain = new ChainWindow(node);
  let broken = false;
  const refresh = coalesce(() => {
    if (broken) return;
    const status = node.status();
    const peers = node.peers();
    statusLine.node = { status, peers };
    part("peer-list").self = status.peerId;
    part("peer-list").peers = peers;
    part("relay-list").relays = status.relays;
    part("pending-list").pending = { readings: node.pending(), self: status.peerId };
    notices.clockOffsetMs = status.clockOffsetMs;
    roomBar.room = status.room;
    roomBar.link = linkToRoom(location.href, status.room);
    chain.refresh();
  });
  // A broken node says so once, and must not be asked anything after.
  node.addEventListener("status", ({ detail }) => {
    if (detail.error === undefined) return;
    broken = true;
    giveUp("broken", detail.error);
  });
  for (const type of ["status", "chain", "peers", "reading"]) node.addEventListener(type, refresh);
  chain.addEventListener("change", () => {
    chainList.chain = { view: chain.view, self: node.status().peerId };
  });
  chainList.addEventListener("older-wanted", () => chain.showOlder());
  chainList.addEventListener("newer-wanted", () => chain.showNewer());
  // Peers learn at once that this tab is gone, unless the browser keeps the page to come back to.
  addEventListener("pagehide", (event) => {
    if (!event.persisted) node.stop();
  });
  refresh();
}

/** Says why there is no node. What needs one goes, but not what was recorded in a node that broke. */
function giveUp(kind, reason) {
  part("failure-notice").failure = { kind, reason };
  statusLine.failed = true;
  part("main").hidden = kind !== "broken";
}

/** Puts the words of the language in use into everything that is not a component. */
function speak() {
  document.documentElement.lang = language();
  translate(document);
}

function wordsOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** Storage may be forbidden; the language is then chosen anew each time. */
function rememberedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}

function rememberLanguage(code) {
  try {
    localStorage.setItem(LANGUAGE_KEY, code);
  } catch {
    // Nothing is lost but the preference.
  }
}
