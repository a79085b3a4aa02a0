//! Offers the rooms on this device: joins a `<rooms-dialog>` with the node and its module. Loaded when it is wanted first.

import "./components/rooms-dialog.js";
import { forgetHistory } from "./history.js";
import { saveAs } from "./model.js";
import { deleteRoom, importIdentity, labelRoom, rooms } from "./node.js";
import { forgetAsked } from "./offer-name.js";
import { DeviceRooms } from "./rooms/device-rooms.js";
import en from "./rooms/strings-en.js";
import ko from "./rooms/strings-ko.js";
import { addTexts, say } from "./strings.js";

addTexts({ en, ko });

const api = {
  rooms,
  labelRoom,
  deleteRoom,
  importIdentity,
  async forgetRoom(genesis) {
    forgetAsked(genesis);
    await forgetHistory(genesis);
  },
};

/**
 * Makes the dialog. Call its `open()`.
 *
 * @param {object | null} node null if the node does not run
 * @param {{ leave: () => Promise<void>, onRenamed: (link: string, label: string) => void }} page leave: stops the node and all that
 *   writes for its room; onRenamed: called with the new link of this tab's room
 * @returns {HTMLElement} a `<rooms-dialog>` on the page
 */
export function offerRooms(node, { leave, onRenamed }) {
  const here = node && {
    genesis: node.status().genesis,
    export: (passphrase) => node.exportIdentity(passphrase),
    retire: () => node.retire(),
    isStopped: () => node.status().state === "stopped",
    leave,
  };
  const rooms = new DeviceRooms(api, here);
  const dialog = document.createElement("rooms-dialog");
  document.body.append(dialog);
  const on = (type, work) => dialog.addEventListener(type, ({ detail }) => work(detail ?? {}));
  on("rooms-shown", () => {
    rooms.settle();
    rooms.list();
  });
  on("room-renamed", async ({ genesis, label }) => {
    if (!(await rooms.rename(genesis, label)) || genesis !== here?.genesis) return;
    const { link } = rooms.state.rooms?.find((room) => room.genesis === genesis) ?? {};
    if (link) onRenamed(link, label);
  });
  on("room-deleted", async ({ genesis }) => {
    if ((await rooms.remove(genesis)) && genesis === here?.genesis) location.replace(location.pathname + location.search);
  });
  on("move-requested", async ({ passphrase }) => {
    const file = await rooms.lock(passphrase);
    if (file !== null) saveAs(file, `heartchain-${node.status().room ?? say("move.fileRoom")}.move`);
  });
  on("move-confirmed", () => rooms.retire());
  on("import-requested", ({ file, passphrase }) => rooms.bring(file, passphrase));
  on("room-opened", ({ link, genesis }) => openRoom(link, genesis === here?.genesis));
  let isHidden = true;
  const leaveIfEnded = () => {
    // Not before what was asked for is done: a room that is being deleted would open again.
    if (isHidden && rooms.state.ended && rooms.state.busy === null) location.reload();
  };
  on("rooms-shown", () => (isHidden = false));
  on("rooms-hidden", () => {
    isHidden = true;
    leaveIfEnded();
  });
  rooms.addEventListener("change", () => {
    dialog.state = rooms.state;
    leaveIfEnded();
  });
  dialog.state = rooms.state;
  return dialog;
}

/** Opens a room in this tab. The same room is opened again, with what was brought here. */
function openRoom(link, isHere) {
  if (isHere) {
    history.replaceState(null, "", link);
    location.reload();
    return;
  }
  const before = location.hash;
  location.hash = link;
  if (location.hash === before) location.reload();
}
