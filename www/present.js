//! Connects a running node with the components: passes its events to them and their requests to it. Does not start or
//! stop the node and draws nothing itself.

import { ChainWindow } from "./chain-window.js";
import { coalesce } from "./coalesce.js";
import { MAX_OWN_SHOWN } from "./components/own-readings.js";
import { readText, saveAs } from "./files.js";
import { rivals } from "./fork.js";
import { ReadingFeed } from "./reading-feed.js";
import { linkToRoom } from "./room-link.js";

/** The shortest pause between two redraws of the chart, ms: eight per second look smooth. */
const CHART_REST_MS = 125;

/**
 * @param {object} node
 * @param {(selector: string) => Element} part finds a component
 * @param {(reason: string) => void} onBroken called once when the node breaks; after that, the node must not be used
 */
export function present(node, part, onBroken) {
  let broken = false;
  node.addEventListener("status", ({ detail }) => {
    if (detail.error === undefined || broken) return;
    broken = true;
    onBroken(detail.error);
  });
  const soon = (work, minRest) => coalesce(() => broken || work(), minRest);
  const self = node.status().peerId;
  presentState(node, part, soon);
  presentReadings(node, part, soon);
  presentChain(node, part, soon, self);
  presentChart(node, part, soon, self);
  presentBlock(node, part, self);
  presentData(node, part);
  node.addEventListener("notice", ({ detail }) => part("page-notices").notice(detail));
}

/** The status, the peers and the relays. */
function presentState(node, part, soon) {
  const refresh = soon(() => {
    const status = node.status();
    const peers = node.peers();
    part("status-line").node = { status, peers };
    part("peer-list").self = status.peerId;
    part("peer-list").network = { peers, isolated: status.isolated };
    part("relay-list").network = { relays: status.relays, isolated: status.isolated };
    part("network-picture").network = { peers, relays: status.relays, self: status.peerId };
    part("storage-line").storage = status.storage;
    part("page-notices").clockOffsetMs = status.clockOffsetMs;
    part("page-notices").heldBack = status.heldBack;
    part("room-bar").room = status.room;
    part("room-bar").link = linkToRoom(location.href, status.room);
  });
  for (const type of ["status", "chain", "peers"]) node.addEventListener(type, refresh);
  refresh();
}

/** The waiting readings, and the progress of this tab's own ones. */
function presentReadings(node, part, soon) {
  const waiting = part("pending-list");
  const refresh = soon(() => {
    const { peerId, tip, mempool } = node.status();
    waiting.pending = { readings: node.pending(waiting.limit), count: mempool, self: peerId };
    part("own-readings").own = { readings: node.ownReadings(MAX_OWN_SHOWN), tip: tip.index };
  });
  for (const type of ["status", "chain", "reading"]) node.addEventListener(type, refresh);
  waiting.addEventListener("more-requested", refresh);
  refresh();
}

/** The blocks in view, and the side branches. */
function presentChain(node, part, soon, self) {
  const chain = new ChainWindow(node);
  const list = part("chain-list");
  const show = soon(() => {
    const { tip, failure } = chain;
    const block = (index) => chain.block(index);
    const branches = node.branches();
    list.chain = { tip, failure, self, block, rivals: rivals(branches) };
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

function presentChart(node, part, soon, self) {
  const chart = part("heart-chart");
  const feed = new ReadingFeed(node);
  chart.addEventListener("past-requested", ({ detail }) => feed.loadSince(detail.since));
  feed.addEventListener("change", soon(() => chart.refresh(), CHART_REST_MS));
  chart.self = self;
  chart.history = feed.history;
}

/** The block dialog. */
function presentBlock(node, part, self) {
  const dialog = part("block-dialog");
  const open = async (index) => {
    // If the block cannot be read, the dialog stays closed: the list shows the error.
    const [block] = await node.blocks(index, index).catch(() => []);
    if (block !== undefined) dialog.open(block, node.status().tip.index, self);
  };
  node.addEventListener("chain", async ({ detail: { to } }) => {
    const { index } = dialog;
    if (index === null) return;
    // A failed read says nothing about the block, but an empty result means that the chain now ends below it.
    const blocks = await node.blocks(index, index).catch(() => null);
    if (blocks !== null && dialog.index === index) dialog.follow(to, blocks[0]?.hash);
  });
  part("chain-list").addEventListener("block-opened", ({ detail }) => open(detail.index));
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
function presentData(node, part) {
  const panel = part("data-panel");
  panel.addEventListener("export-requested", async ({ detail: { format } }) => {
    try {
      const blob = await (format === "csv" ? node.exportCsv() : node.exportJson());
      saveAs(blob, `heartchain-${node.status().room}.${format}`);
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
