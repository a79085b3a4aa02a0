//! Puts the page together: starts the node, hands its news to the components and their wishes to it.
//! Never draws anything itself, never knows the wasm package.

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
import { isReplaced, keepPage } from "./offline.js";
import { present } from "./present.js";
import {
  directFromSearch, hashForRoom, peersFromSearch, relaysFromSearch, roomFromHash, stunFromSearch,
} from "./room-link.js";
import { chooseLanguage, language, languageChanges, prepareFormats, setLanguage, translate } from "./strings.js";

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

languageChanges.addEventListener("change", speak);
setLanguage(chooseLanguage([rememberedLanguage(), ...navigator.languages]));
speak();
part("language-switch").addEventListener("language-chosen", ({ detail }) => {
  rememberLanguage(detail.language);
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
  const wanted = roomFromHash(location.hash);
  if (wanted !== requestedRoom && wanted !== runningRoom) location.reload();
});

const starting = startNode({
  room: requestedRoom,
  relays: requestedRelays,
  peers: requestedPeers,
  direct: directFromSearch(location.search),
  stun: requestedStun,
});
starting.then(begin, (error) => {
  const byDefault = [requestedRelays, requestedPeers, requestedStun].every(({ length }) => length === 0)
    && requestedRoom === undefined;
  giveUp(byDefault ? "start" : "address", error);
});
// Nobody waits for the page's thread while the wasm comes.
setTimeout(prepareFormats);

// One after the other, so that readings get their numbers in the order in which they were typed.
let recording = Promise.resolve();
let unrecorded = 0;
let persistenceRequested = false;
bpmForm.addEventListener("reading-submitted", ({ detail }) => {
  unrecorded += 1;
  recording = recording.then(() => record(detail.bpm)).finally(() => (unrecorded -= 1));
});
// The form is free again before a reading is kept: whoever leaves in that moment is asked.
addEventListener("beforeunload", (event) => {
  if (unrecorded > 0) event.preventDefault();
});

async function record(bpm) {
  try {
    await recordAndKeep(bpm);
    bpmForm.confirm(bpm);
  } catch (error) {
    bpmForm.fail(bpm, error);
  }
}

offerLessons(part("lesson-panel"), starting, offerIfReplaced);
part("lesson-panel").addEventListener("form-wanted", () => bpmForm.ask());
offerStrap(part("strap-control"), navigator.bluetooth, recordAndKeep);

keepPage(navigator.serviceWorker, (goOver) => notices.offer("notice.update", "notice.reload", goOver));

/** Something could not be loaded: where a newer version of the page is the reason, says so. */
async function offerIfReplaced() {
  if (await isReplaced()) notices.offer("notice.replaced", "notice.reload", () => location.reload());
}

/** Records, by whatever way a heart rate came. */
async function recordAndKeep(bpm) {
  const node = await starting;
  await node.record(bpm);
  // Last, and apart: what was recorded must not be offered for another try.
  keepFromNowOn(node).catch(() => {});
}

/** Asks the browser, once, not to clear what a person recorded here when its disk gets full. */
async function keepFromNowOn(node) {
  const { kind, persisted } = node.status().storage;
  if (persistenceRequested || kind !== "disk" || persisted) return;
  persistenceRequested = true;
  // Whatever it answers, status().storage says so; a node that broke has said so itself.
  await node.requestPersistence();
}

/** Lets a running node be seen and used, until the page goes. */
function begin(node) {
  globalThis.heartchain = node;
  runningRoom = node.status().room;
  roomBar.makeCode = qrModules;
  present(node, part, (reason) => giveUp("broken", reason));
  // Peers learn at once that this tab is gone, unless the browser keeps the page to come back to.
  addEventListener("pagehide", (event) => {
    if (!event.persisted) node.stop();
  });
}

/** Says why there is no node. What needs one goes, but not what was recorded in a node that broke. */
function giveUp(kind, error) {
  part("failure-notice").failure = { kind, error };
  part("status-line").failed = true;
  for (const column of document.querySelectorAll("main > *")) column.hidden = kind !== "broken";
  offerIfReplaced();
}

/** Puts the words of the language in use into everything that is not a component. */
function speak() {
  document.documentElement.lang = language();
  translate(document);
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
