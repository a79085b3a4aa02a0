//! The entry point: starts the node and connects it with the components. Draws nothing itself and does not import the
//! wasm package.

import "./components/block-dialog.js";
import "./components/chain-list.js";
import "./components/data-panel.js";
import "./components/failure-notice.js";
import "./components/fork-view.js";
import "./components/heart-chart.js";
import "./components/language-switch.js";
import "./components/network-picture.js";
import "./components/own-readings.js";
import "./components/page-notices.js";
import "./components/peer-list.js";
import "./components/pending-list.js";
import "./components/record-form.js";
import "./components/relay-list.js";
import "./components/room-bar.js";
import "./components/status-line.js";
import "./components/storage-line.js";
import { capabilities } from "./capabilities.js";
import { qrModules, startNode } from "./node.js";
import { offerLessons } from "./offer-lessons.js";
import { offerStrap } from "./offer-strap.js";
import { enableOffline, isReplaced } from "./offline.js";
import { present } from "./present.js";
import {
  directFromSearch, hashForRoom, peersFromSearch, relaysFromSearch, roomFromHash, stunFromSearch,
} from "./room-link.js";
import { chooseLanguage, language, languageChanges, setLanguage, translate, warmUpFormatters } from "./strings.js";

const LANGUAGE_KEY = "heartchain.language";

const part = (selector) => document.querySelector(selector);
const bpmForm = part("record-form");
const roomBar = part("room-bar");
const notices = part("page-notices");

const browser = capabilities(globalThis);
const requestedRoom = roomFromHash(location.hash);
const requestedRelays = relaysFromSearch(location.search);
const requestedPeers = peersFromSearch(location.search);
const requestedStun = stunFromSearch(location.search);
let runningRoom = null;

languageChanges.addEventListener("change", applyLanguage);
setLanguage(chooseLanguage([savedLanguage(), ...navigator.languages]));
applyLanguage();
part("language-switch").addEventListener("language-chosen", ({ detail }) => {
  saveLanguage(detail.language);
  setLanguage(detail.language);
});

notices.browser = browser;
roomBar.canCopy = !browser.missing.includes("clipboard");
roomBar.canShare = browser.share;
roomBar.room = requestedRoom ?? null;
roomBar.addEventListener("room-chosen", ({ detail }) => {
  location.hash = hashForRoom(detail.room);
});
addEventListener("hashchange", () => {
  const room = roomFromHash(location.hash);
  if (room !== requestedRoom && room !== runningRoom) location.reload();
});

const starting = startNode({
  room: requestedRoom,
  relays: requestedRelays,
  peers: requestedPeers,
  direct: directFromSearch(location.search),
  stun: requestedStun,
});
starting.then(onStarted, (error) => {
  const byDefault = [requestedRelays, requestedPeers, requestedStun].every(({ length }) => length === 0)
    && requestedRoom === undefined;
  showFailure(byDefault ? "start" : "address", error);
});
// The main thread is idle while the wasm loads.
setTimeout(warmUpFormatters);

// Readings are recorded one after the other, so that their sequence numbers follow the order of input.
let recording = Promise.resolve();
let unrecorded = 0;
let persistenceRequested = false;
bpmForm.addEventListener("reading-submitted", ({ detail }) => {
  unrecorded += 1;
  recording = recording.then(() => recordFromForm(detail.bpm)).finally(() => (unrecorded -= 1));
});
// The form is free before a reading is saved, so leaving the page at that moment asks for confirmation.
addEventListener("beforeunload", (event) => {
  if (unrecorded > 0) event.preventDefault();
});

async function recordFromForm(bpm) {
  try {
    await recordReading(bpm);
    bpmForm.confirm(bpm);
  } catch (error) {
    bpmForm.fail(bpm, error);
  }
}

offerLessons(part("lesson-panel"), starting, offerIfReplaced);
part("lesson-panel").addEventListener("form-requested", () => bpmForm.focusField());
offerStrap(part("strap-control"), navigator.bluetooth, recordReading);

enableOffline(navigator.serviceWorker, (activate) => notices.offer("notice.update", "notice.reload", activate));

/** Called after a failed load: offers a reload if the server has a newer version of the page. */
async function offerIfReplaced() {
  if (await isReplaced()) notices.offer("notice.replaced", "notice.reload", () => location.reload());
}

/** Records a reading from the form or a strap. */
async function recordReading(bpm) {
  const node = await starting;
  await node.record(bpm);
  // Not awaited: its failure must not make a recorded reading look unrecorded.
  requestPersistence(node).catch(() => {});
}

/** Asks the browser, once, not to clear this page's data when the disk is full. */
async function requestPersistence(node) {
  const { kind, persisted } = node.status().storage;
  if (persistenceRequested || kind !== "disk" || persisted) return;
  persistenceRequested = true;
  // The result is in status().storage. A broken node has already reported its failure.
  await node.requestPersistence();
}

/** Connects the running node with the page until the page is closed. */
function onStarted(node) {
  globalThis.heartchain = node;
  runningRoom = node.status().room;
  roomBar.makeCode = qrModules;
  present(node, part, (reason) => showFailure("broken", reason));
  // Peers learn at once that this tab is gone, unless the page goes into the back/forward cache.
  addEventListener("pagehide", (event) => {
    if (!event.persisted) node.stop();
  });
}

/** Shows why there is no node. Hides everything that needs one, except what a node that broke has already shown. */
function showFailure(kind, error) {
  part("failure-notice").failure = { kind, error };
  part("status-line").failed = true;
  for (const column of document.querySelectorAll("main > *")) column.hidden = kind !== "broken";
  offerIfReplaced();
}

/** Sets the texts of everything that is not a component. */
function applyLanguage() {
  document.documentElement.lang = language();
  translate(document);
}

/** Returns null if storage is blocked: the language is then detected on each visit. */
function savedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}

function saveLanguage(code) {
  try {
    localStorage.setItem(LANGUAGE_KEY, code);
  } catch {
    // Only the preference is lost.
  }
}
