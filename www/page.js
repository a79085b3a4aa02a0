//! Connects the components with the node: passes its events to them and their requests to it. Draws nothing
//! itself and does not import the wasm package.

import { lookOf, setAuthorOrder, setNames } from "./authors.js";
import { MAX_OWN_SHOWN } from "./components/chain.js";
import "./components/frame.js";
import { capabilities, hashForRoom, isPrivateAddress, isPrivateHost, labelFromHash, linkToRoom, roomFromHash } from "./input.js";
import { knowsRoom } from "./messages.js";
import { ChainWindow, ReadingFeed, coalesce, newestOnly, readText, rivals, saveAs } from "./model.js";
import { newPrivateRoom, qrModules } from "./node.js";
import { enableOffline, isReplaced } from "./offline.js";
import { requested, starting } from "./start.js";
import { csvSeparator, warmUpFormatters } from "./strings.js";

export { errorMessage } from "./messages.js";

/** What only shows what a running node does. On a phone, it would delay the start of the node by half a second. */
const historyLoaded = starting.then(() => import("./history.js"));
const pictures = starting.then(() => Promise.all([import("./components/chart.js"), import("./components/network.js")]));
// presentPictures() handles a failure.
historyLoaded.catch(() => {});
pictures.catch(() => {});

/** The shortest pause between two redraws of the chart, ms: eight per second look smooth. */
const CHART_REST_MS = 125;

/** The same while old blocks are read, and for the order of authors, ms. */
const PAST_REST_MS = 1_000;
const ORDER_REST_MS = 250;

const part = (selector) => document.querySelector(selector);
const roomBar = part("room-bar");
const notices = part("page-notices");
let runningRoom = null;
/** The link of the private room in this tab, with the label that this device gives it. */
let shownLink = requested.link;
/** @type {import("./history.js").ChainHistory | null} */
let past = null;
/** @type {Promise<HTMLElement> | null} the dialog of the rooms on this device, once somebody asks for it */
let rooms = null;

let persistenceRequested = false;
let asksForStorage = false;

/** Connects all components except the form, now and once the node runs. */
export function openPage() {
  // The main thread is idle while the wasm loads.
  setTimeout(warmUpFormatters);
  const browser = capabilities(globalThis);
  for (const missing of browser.missing) if (missing !== "webrtc" || requested.direct) notices.tell(`capability.${missing}`);
  part(".strap-missing").hidden = !browser.secure || browser.bluetooth;
  part("storage-line").browser = browser;
  part("storage-line").addEventListener("persistence-requested", () => starting.then((node) => node.requestPersistence()).catch(() => {}));
  asksForStorage = browser.asksForStorage;
  openRoom(requested.room, browser);
  starting.then(onStarted, (error) => showFailure(failureKind(requested), error));
  starting.then(offerMore).catch(() => {});
  part("lesson-panel").addEventListener("form-requested", () => part("record-form").focusField());
  enableOffline(
    navigator.serviceWorker,
    (activate) => notices.offer("notice.update", "notice.reload", activate),
    // By plain http, the relay explains how to install its certificate.
    () => notices.offer("notice.certificate", "notice.install", () => location.assign(`http://${location.host}/`)),
    starting,
  );
}

/**
 * Records a reading from the form or a strap.
 *
 * @param {number} bpm
 * @returns {Promise<void>} rejects if it could not be saved
 */
export async function recordReading(bpm) {
  const node = await starting;
  await node.record(bpm);
  // Not awaited: its failure must not make a recorded reading look unrecorded.
  requestPersistence(node).catch(() => {});
}

/** Asks the browser, once, not to clear this page's data when the disk is full. */
async function requestPersistence(node) {
  const { kind, persisted } = node.status().storage;
  // A browser that asks the person must not do so unexpectedly: the storage line has a button.
  if (persistenceRequested || asksForStorage || kind !== "disk" || persisted) return;
  persistenceRequested = true;
  // The result is in status().storage. A broken node has already reported its failure.
  await node.requestPersistence();
}

function openRoom(requestedRoom, browser) {
  roomBar.canCopy = browser.clipboard;
  roomBar.canShare = browser.share;
  roomBar.kind = requested.fault !== undefined ? null : requested.link === undefined ? "open" : "private";
  roomBar.room = requestedRoom ?? (labelFromHash(requested.link ?? "") || null);
  roomBar.addEventListener("room-chosen", ({ detail }) => {
    location.hash = hashForRoom(detail.room);
  });
  roomBar.addEventListener("link-chosen", ({ detail }) => location.assign(detail.link));
  roomBar.addEventListener("private-room-requested", ({ detail }) => createPrivateRoom(detail.label));
  roomBar.addEventListener("rooms-requested", showRooms);
  part("failure-notice").addEventListener("link-requested", () => roomBar.askForLink());
  part("failure-notice").addEventListener("rooms-requested", showRooms);
  addEventListener("hashchange", () => {
    const { room, link, fault } = roomFromHash(location.hash);
    const isSame = link === shownLink && (room === requestedRoom || room === runningRoom);
    if (fault !== undefined || !isSame) location.reload();
  });
}

/** Creates a private room and opens it. Its link is the only key, so that it is shown first. */
async function createPrivateRoom(label) {
  try {
    const link = await newPrivateRoom(label);
    // The state outlives the reload, and needs no storage.
    history.pushState({ isNew: true }, "", link);
    location.reload();
  } catch (error) {
    roomBar.notCreated(error);
  }
}

/** What may be wrong if the node did not start. */
function failureKind({ room, link, fault, relays, peers, stun }) {
  if (link !== undefined || fault === "key" || fault === "unknown") return "link";
  const isDefault = room === undefined && fault === undefined && [relays, peers, stun].every(({ length }) => length === 0);
  return isDefault ? "start" : "address";
}

/** Shows the rooms on this device. The dialog is loaded when it is wanted first. */
async function showRooms() {
  try {
    rooms ??= roomsDialog();
    (await rooms).open();
  } catch {
    rooms = null;
    if (!(await offerIfReplaced())) notices.offer("notice.incomplete", "notice.reload", () => location.reload());
  }
}

async function roomsDialog() {
  const node = await starting.catch(() => null);
  const { importServed } = await import("./importing.js");
  const { offerRooms } = await importServed(new URL("offer-rooms.js", import.meta.url), () => import("./offer-rooms.js"));
  return offerRooms(node, {
    async leave() {
      past?.close();
      await node.stop();
    },
    onRenamed(link, label) {
      // The address keeps the label, so that it is the same after a reload.
      shownLink = link;
      history.replaceState(null, "", link);
      roomBar.room = label || null;
      roomBar.link = location.href;
    },
  });
}

/** Loads what is not needed before the node runs: the offers of the lessons and of a strap. */
async function offerMore() {
  const { offerLessons } = await import("./offer-lessons.js");
  offerLessons(part("lesson-panel"), starting, part("fork-view"), offerIfReplaced);
  if (!navigator.bluetooth) return;
  const { offerStrap } = await import("./offer-strap.js");
  offerStrap(part("strap-control"), navigator.bluetooth, recordReading);
}

/** Called after a failed load: offers a reload if the server has a newer version of the page. Returns whether it has. */
export async function offerIfReplaced() {
  const replaced = await isReplaced();
  if (replaced) notices.offer("notice.replaced", "notice.reload", () => location.reload());
  return replaced;
}

/** Connects the running node with the page until the page is closed. */
function onStarted(node) {
  globalThis.heartchain = node;
  part("record-form").queuing = false;
  explainLocalNetwork(node);
  runningRoom = node.status().room;
  roomBar.makeCode = qrModules;
  present(node);
  if (history.state?.isNew) {
    history.replaceState(null, "");
    roomBar.link = location.href;
    roomBar.showNew();
  }
  // Peers learn at once that this tab is gone, unless the page goes into the back/forward cache.
  addEventListener("pagehide", (event) => {
    if (!event.persisted) node.stop();
  });
}

/** Explains the browser's question before it appears: a page from the internet needs permission to reach a private address. */
async function explainLocalNetwork(node) {
  const isPrivate = ({ address }) => isPrivateAddress(address);
  if (isPrivateHost(location.hostname) || !node.status().relays.some(isPrivate)) return;
  // Browsers without this permission do not ask either.
  const permission = await navigator.permissions?.query({ name: "local-network-access" }).catch(() => null);
  if (!permission) return;
  const tell = () => {
    if (permission.state !== "granted") notices.tell(permission.state === "denied" ? "capability.localNetworkDenied" : "capability.localNetwork");
  };
  permission.addEventListener("change", tell);
  tell();
}

/** Shows why there is no node. Hides everything that needs one, except what a node that broke has already shown. */
function showFailure(kind, error) {
  part("failure-notice").failure = { kind, error };
  part("status-line").failed = true;
  for (const column of document.querySelectorAll("main > *")) column.hidden = kind !== "broken";
  offerIfReplaced();
}

/** Shows what the node does, until it breaks; after that, the node must not be used. */
function present(node) {
  let broken = false;
  node.addEventListener("status", ({ detail }) => {
    if (detail.error === undefined || broken) return;
    broken = true;
    showFailure("broken", detail.error);
  });
  const soon = (work, minRest) => coalesce(() => broken || work(), minRest);
  presentNames(node, soon);
  const presentNetwork = presentState(node, soon);
  presentReadings(node, soon);
  presentChain(node, soon);
  presentPictures(node, soon, presentNetwork);
  presentBlock(node);
  presentData(node);
  node.addEventListener("notice", ({ detail }) => part("page-notices").notice(detail));
}

/** The names that authors chose, and the offer to choose one. */
async function presentNames(node, soon) {
  node.addEventListener("names", ({ detail }) => setNames(detail));
  setNames(node.names());
  // If it cannot be loaded, presentPictures() offers a reload.
  const { offerName } = await import("./offer-name.js").catch(() => ({ offerName() {} }));
  offerName(part("your-name"), node, soon);
}

/** The status, and once its components have loaded the network: both are of one moment, and say how many peers there are. */
function presentState(node, soon) {
  let showsNetwork = false;
  const refresh = soon(() => {
    const status = node.status();
    const peers = node.peers();
    part("status-line").node = { status, peers };
    part("storage-line").storage = status.storage;
    part("chain-list").asksForFirst = status.mempool === 0 && knowsRoom(status);
    part("page-notices").clockOffsetMs = status.clockOffsetMs;
    part("page-notices").heldBack = status.heldBack;
    part("page-notices").storage = status.storage;
    if (status.minerError !== null) notices.tell(status.minerError === "no-worker" ? "capability.worker" : "capability.miner");
    if (!status.private) roomBar.room = status.room;
    roomBar.isStored = status.storage.kind === "disk";
    roomBar.link = status.private ? location.href : linkToRoom(location.href, status.room);
    if (showsNetwork) showNetwork(status, peers);
  });
  for (const type of ["status", "chain", "peers"]) node.addEventListener(type, refresh);
  refresh();
  return () => {
    showsNetwork = true;
    refresh();
  };
}

/** The peers and the relays. */
function showNetwork(status, peers) {
  const { author: self, relays, isolated, private: isPrivate } = status;
  part("peer-list").self = self;
  part("peer-list").network = { peers, status };
  part("relay-list").network = { relays, isolated };
  part("network-picture").network = { peers, relays, self, isPrivate };
}

/** What the pictures show, once their components have loaded. */
async function presentPictures(node, soon, presentNetwork) {
  // The history gives authors their colours, so it does not wait for the pictures.
  const opened = historyLoaded.then((loaded) => (past = openHistory(node, soon, loaded)));
  try {
    await Promise.all([historyLoaded, pictures]);
  } catch {
    if (!(await offerIfReplaced())) notices.offer("notice.incomplete", "notice.reload", () => location.reload());
    return;
  }
  presentNetwork();
  await opened;
  presentChart(node, soon);
}

/** Reads the room's whole history, which also says in which order its authors appeared. */
function openHistory(node, soon, { ChainHistory, historyDisk }) {
  const opened = new ChainHistory(node, historyDisk(node.status()));
  const orderAuthors = soon(() => setAuthorOrder(opened.authors()), ORDER_REST_MS);
  opened.addEventListener("change", orderAuthors);
  node.addEventListener("reading", ({ detail }) => {
    if (lookOf(detail.author) === null) orderAuthors();
  });
  addEventListener("visibilitychange", () => opened.save({ now: document.hidden }));
  opened.open();
  return opened;
}

/** The waiting readings, and the progress of this tab's own ones. */
function presentReadings(node, soon) {
  const waiting = part("pending-list");
  const refresh = soon(() => {
    const { author, tip, mempool, private: isPrivate, storage } = node.status();
    waiting.pending = { readings: node.pending(waiting.limit), count: mempool, self: author };
    const own = node.ownReadings(MAX_OWN_SHOWN);
    part("own-readings").own = { readings: own, tip: tip.index, saved: storage.kind === "disk" };
    part(".open-room").hidden = isPrivate || own.length > 0;
  });
  for (const type of ["status", "chain", "reading"]) node.addEventListener(type, refresh);
  waiting.addEventListener("more-requested", refresh);
  refresh();
}

/** The blocks in view, and the side branches. */
function presentChain(node, soon) {
  const chain = new ChainWindow(node);
  const list = part("chain-list");
  const show = soon(() => {
    const { tip, failure } = chain;
    const block = (index) => chain.block(index);
    const branches = node.branches();
    list.chain = { tip, failure, self: node.status().author, block, rivals: rivals(branches) };
    part("fork-view").chain = { branches, tip, block };
  });
  chain.addEventListener("change", show);
  list.addEventListener("range-requested", ({ detail }) => chain.show(detail.first, detail.last));
  node.addEventListener("chain", () => {
    show();
    chain.refresh();
  });
  show();
}

function presentChart(node, soon) {
  const chart = part("heart-chart");
  const feed = new ReadingFeed(node);
  past.addEventListener("change", soon(() => chart.refresh(), PAST_REST_MS));
  chart.addEventListener("past-requested", ({ detail }) => feed.loadSince(detail.since));
  feed.addEventListener("change", soon(() => chart.refresh(), CHART_REST_MS));
  const showSelf = soon(() => (chart.self = node.status().author));
  node.addEventListener("status", showSelf);
  showSelf();
  chart.history = feed.history;
  chart.past = past;
}

/** The block dialog. */
function presentBlock(node) {
  const dialog = part("block-dialog");
  // If the block cannot be read, the dialog stays closed: the list shows the error.
  const read = newestOnly((index) => node.blocks(index, index).catch(() => []));
  const open = async (index) => {
    const wasOpen = dialog.index !== null;
    const [block] = (await read(index)) ?? [];
    // A person who closed the dialog meanwhile wants no neighbour.
    if (block === undefined || (wasOpen && dialog.index === null)) return;
    dialog.open(block, node.status().tip.index, node.status().author);
  };
  node.addEventListener("chain", async ({ detail: { to } }) => {
    const { index } = dialog;
    if (index === null) return;
    // A failed read says nothing about the block, but an empty result means that the chain now ends below it.
    const blocks = await node.blocks(index, index).catch(() => null);
    if (blocks !== null && dialog.index === index) dialog.follow(to, blocks[0]?.hash);
  });
  let opened = null;
  part("chain-list").addEventListener("block-opened", ({ detail }) => {
    opened = detail.index;
    open(opened);
  });
  dialog.addEventListener("closed", () => part("chain-list").returnFocus(opened));
  dialog.addEventListener("neighbour-requested", ({ detail }) => open(detail.index));
  dialog.addEventListener("check-requested", async ({ detail: { block } }) => {
    try {
      dialog.checked(block, await node.check(block));
    } catch (error) {
      dialog.failed(block, error);
    }
  });
}

/** Export and import. */
function presentData(node) {
  const panel = part("data-panel");
  panel.addEventListener("export-requested", async ({ detail: { format } }) => {
    try {
      const blob = await (format === "csv" ? node.exportCsv({ separator: csvSeparator() }) : node.exportJson());
      saveAs(blob, `heartchain-${node.status().room ?? "private-room"}.${format}`);
      panel.showResult("data.exported");
    } catch (error) {
      panel.showResult("data.exportFailed", {}, error);
    }
  });
  panel.addEventListener("import-requested", async ({ detail: { file } }) => {
    try {
      panel.showResult("data.imported", await node.importJson(await readText(file)));
    } catch (error) {
      panel.showResult("data.importFailed", {}, error);
    }
  });
}
