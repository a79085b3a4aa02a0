//! The rooms on this device: what is deleted in which order, and what a failure leaves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceRooms } from "../../www/rooms/device-rooms.js";

const failing = (code) => async () => {
  throw Object.assign(new Error(code), { code });
};

/** A device with two rooms, of which "here" is open in this tab. `calls` lists what was asked of it. */
function device({ here = true, fails = {} } = {}) {
  const calls = [];
  let stored = ["here", "other"];
  const call = (name, work = () => {}) => async (...given) => {
    calls.push([name, ...given].join(" "));
    if (fails[name]) await failing(fails[name])();
    return work(...given);
  };
  const api = {
    rooms: call("rooms", () => stored.map((genesis) => ({ genesis }))),
    labelRoom: call("labelRoom"),
    deleteRoom: call("deleteRoom", (genesis) => (stored = stored.filter((other) => other !== genesis))),
    forgetRoom: call("forgetRoom"),
    importIdentity: call("importIdentity", () => ({ genesis: "new", link: "#room=new", readings: 3 })),
  };
  let isStopped = false;
  const retire = call("retire", () => (isStopped = true));
  const tab = { genesis: "here", export: call("export", () => "file"), retire, isStopped: () => isStopped, leave: call("leave") };
  return { calls, rooms: new DeviceRooms(api, here ? tab : null) };
}

const listed = ({ state }) => state.rooms.map(({ genesis }) => genesis);

test("room_is_deleted_with_what_the_page_keeps", async () => {
  const { calls, rooms } = device();
  assert.equal(await rooms.remove("other"), true);
  assert.deepEqual(calls, ["forgetRoom other", "deleteRoom other", "rooms"]);
  assert.deepEqual([listed(rooms), rooms.state.ended, rooms.state.busy], [["here"], false, null]);
});

test("late_list_does_not_bring_a_deleted_room_back", async () => {
  const lists = [];
  const api = { rooms: () => new Promise((answer) => lists.push(answer)), forgetRoom: async () => {}, deleteRoom: async () => {} };
  const rooms = new DeviceRooms(api, null);
  const shown = rooms.list();
  const removed = rooms.remove("other");
  await new Promise((resolve) => setTimeout(resolve));
  const [before, after] = lists;
  after([{ genesis: "here" }]);
  await removed;
  before([{ genesis: "here" }, { genesis: "other" }]);
  await shown;
  assert.deepEqual(listed(rooms), ["here"]);
});

test("room_of_this_tab_is_left_before_it_is_deleted", async () => {
  const { calls, rooms } = device();
  await rooms.remove("here");
  assert.deepEqual(calls, ["leave", "forgetRoom here", "deleteRoom here", "rooms"]);
  assert.equal(rooms.state.ended, true);
});

test("room_open_in_another_tab_stays", async () => {
  const { rooms } = device({ fails: { deleteRoom: "room-open" } });
  assert.equal(await rooms.remove("other"), false);
  assert.deepEqual([rooms.state.fault.genesis, rooms.state.fault.error.code, listed(rooms)], ["other", "room-open", ["here", "other"]]);
  await rooms.rename("other", "B");
  assert.equal(rooms.state.fault, null, "the next command starts afresh");
});

test("author_is_given_up_only_after_the_confirmation", async () => {
  const { calls, rooms } = device();
  assert.equal(await rooms.lock("a long passphrase"), "file");
  assert.deepEqual([rooms.state.move, rooms.state.ended, calls.includes("retire")], ["locked", false, false]);
  await rooms.retire();
  assert.deepEqual([rooms.state.move, rooms.state.ended], ["retired", true]);
});

test("failed_move_changes_nothing", async () => {
  const { rooms } = device({ fails: { export: "storage", retire: "storage" } });
  assert.equal(await rooms.lock("a long passphrase"), null);
  assert.deepEqual([rooms.state.move, rooms.state.fault.genesis], [null, "here"]);
  await rooms.retire();
  assert.deepEqual([rooms.state.move, rooms.state.ended], [null, false]);
});

test("wrong_passphrase_is_told_and_can_be_corrected", async () => {
  const fails = { importIdentity: "wrong-passphrase" };
  const { rooms } = device({ here: false, fails });
  await rooms.bring("file", "wrong");
  assert.deepEqual([rooms.state.imported, rooms.state.fault.error.code, rooms.state.fault.genesis], [null, "wrong-passphrase", null]);
  delete fails.importIdentity;
  await rooms.bring("file", "right");
  assert.deepEqual([rooms.state.imported.readings, rooms.state.fault], [3, null]);
  rooms.settle();
  assert.equal(rooms.state.imported, null);
});

test("commands_run_one_at_a_time", async () => {
  const { calls, rooms } = device();
  const [first, second] = await Promise.all([rooms.remove("other"), rooms.remove("other")]);
  assert.deepEqual([first, second, calls.filter((call) => call.startsWith("delete"))], [true, false, ["deleteRoom other"]]);
});

test("list_that_cannot_be_read_is_told", async () => {
  const fails = { rooms: "storage" };
  const { rooms } = device({ fails });
  await rooms.list();
  assert.equal(rooms.state.failure.code, "storage");
  delete fails.rooms;
  await rooms.list();
  assert.deepEqual([rooms.state.failure, listed(rooms)], [null, ["here", "other"]]);
});
