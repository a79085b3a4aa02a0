//! The status line describes every state of the node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { knowsRoom, noPeersKey, statusSentence } from "../../www/messages.js";
import { say } from "../../www/strings.js";

const relay = { path: "relay", index: null };
const direct = { path: "direct", index: 41 };
const relayed = { path: "relayed", index: 41 };
const status = (state, { index = 41, connected = true } = {}) => ({
  state, tip: { index, hash: "" }, relays: [{ connected, reserved: connected }],
});
const line = (status, peers) => {
  const { spoken, ...shown } = statusSentence(status, peers, say);
  return shown;
};

test("new_blocks_and_peers_are_not_announced", () => {
  const spoken = (index, peers) => statusSentence(status("synced", { index }), peers, say).spoken;
  assert.equal(spoken(41, [direct]), "In sync");
  assert.equal(spoken(42, [direct, relayed]), spoken(41, [direct]));
  assert.equal(statusSentence(status("alone"), [], say).spoken, say("status.alone"));
});

test("status_before_the_node_runs_is_starting", () => {
  assert.deepEqual(line(null, []), { sentence: "Starting …", tone: "busy" });
  assert.deepEqual(line(status("starting"), [relay]), { sentence: "Ready · looking for peers …", tone: "busy" });
  assert.match(line({ ...status("starting"), isolated: true }, []).sentence, /^Disconnected by you/);
});

test("stopped_node_offers_no_recording", () => {
  assert.deepEqual(line(status("stopped", { connected: false }), []), { sentence: "Not running", tone: "warning" });
});

test("checking_saved_data_is_reported_at_startup", () => {
  const checking = (state) => ({ ...status(state), storage: { unchecked: 12_000 } });
  assert.deepEqual(line(checking("starting"), []), { sentence: "Ready · checking saved data …", tone: "busy" });
  assert.match(line(checking("synced"), [direct]).sentence, /^In sync/);
});

test("in_sync_shows_block_and_paths", () => {
  const peers = [direct, direct, direct, direct, relayed, relay];
  assert.deepEqual(line(status("synced"), peers), {
    sentence: "In sync · block 41 · 5 peers (4 direct, 1 through the relay)", tone: "good",
  });
  assert.equal(line(status("synced"), [relay, relayed]).sentence, "In sync · block 41 · 1 peer (through the relay)");
  assert.equal(line(status("synced"), [direct]).sentence, "In sync · block 41 · 1 peer (direct)");
  assert.equal(line(status("synced"), [direct, direct]).sentence, "In sync · block 41 · 2 peers (2 direct)");
});

test("catching_up_shows_the_highest_known_block", () => {
  const far = { path: "direct", index: 9800 };
  assert.deepEqual(line(status("syncing", { index: 1200 }), [direct, far, relay]), {
    sentence: "Catching up · block 1,200 of 9,800 · 2 peers (2 direct)", tone: "busy",
  });
  assert.equal(line({ ...status("syncing"), target: 50 }, [direct]).sentence, "Catching up · block 41 of 50 · 1 peer (direct)");
  assert.equal(line(status("syncing"), [{ path: "direct", index: null }]).sentence,
    "Catching up · block 41 · 1 peer (direct)");
});

test("alone_is_reported_with_and_without_a_relay", () => {
  const alone = "Only you are here. Readings are saved and shared later.";
  assert.deepEqual(line(status("alone"), [relay]), { sentence: alone, tone: "calm" });
  assert.equal(line(status("alone", { connected: false }), []).tone, "warning");
  assert.equal(line(status("synced"), [relay]).sentence, alone, "there is no peer to be in sync with");
  assert.equal(line(status("alone", { connected: false }), []).sentence,
    "Can't reach the relay. You can keep recording; readings are shared later.");
  assert.match(line({ ...status("alone"), relays: [] }, []).sentence, /^Can't reach the relay/);
});

test("nothing_is_called_saved_that_is_not_on_disk", () => {
  const withoutKey = { path: "direct", author: null, index: 41 };
  const unsaved = [{ kind: "memory", unchecked: 0 }, { kind: "disk", failing: true, unchecked: 0 }];
  for (const storage of unsaved) {
    for (const [state, peers] of [
      [status("alone"), [relay]],
      [status("alone", { connected: false }), []],
      [{ ...status("alone"), isolated: true }, []],
      [{ ...status("alone"), private: true }, [withoutKey]],
    ]) {
      const { sentence } = line({ ...state, storage }, peers);
      assert.match(sentence, /if this tab stays open\.$/);
      assert.doesNotMatch(sentence, /saved/);
      assert.equal(line({ ...state, storage: { kind: "disk", unchecked: 0 } }, peers).sentence.includes("stays open"), false);
    }
  }
});

test("full_relay_is_reported_until_one_has_room", () => {
  const full = { connected: true, reserved: false, full: true };
  assert.deepEqual(line({ ...status("alone"), relays: [full] }, [relay]), {
    sentence: "The relay is full. You can still record, and reach tabs you know.", tone: "warning",
  });
  const refused = { connected: false, reserved: false, full: true };
  assert.match(line({ ...status("alone"), relays: [refused] }, []).sentence, /^The relay is full/);
  assert.match(line({ ...status("synced"), relays: [full] }, [direct]).sentence, /^In sync/);
  const free = { connected: true, reserved: true, full: false };
  assert.match(line({ ...status("alone"), relays: [full, free] }, [relay]).sentence, /^Only you are here/);
});

test("peers_without_the_key_are_counted_apart", () => {
  const inPrivate = (state, options) => ({ ...status(state, options), private: true });
  const member = { path: "direct", index: 41, author: "a" };
  const keyless = { path: "direct", index: 41, author: null };
  const unknown = { path: "direct", index: null, author: null };
  const relayPeer = { path: "relay", index: null, author: null };
  assert.deepEqual(line(inPrivate("synced"), [member, keyless, keyless, unknown, relayPeer]), {
    sentence: "In sync · block 41 · 1 peer (direct) · 2 without the key", tone: "good",
  });
  const alone = "Only peers without this room's key are here. Readings are saved and shared later.";
  assert.deepEqual(line(inPrivate("synced"), [keyless]), { sentence: alone, tone: "warning" });
  assert.equal(line(inPrivate("synced"), [unknown]).sentence, say("status.alone"), "a peer that has told nothing yet is no stranger");
  assert.match(line(inPrivate("syncing"), [{ ...keyless, index: 99 }]).sentence, /^Catching up · block 41 of 99 .* · 1 without the key$/);
  assert.equal(line(status("synced"), [keyless]).sentence, "In sync · block 41 · 1 peer (direct)", "an open room has no key");
});

test("lost_relay_is_reported_while_peers_remain", () => {
  const lost = status("synced", { connected: false });
  assert.deepEqual(line(lost, [direct, direct]), {
    sentence: "Can't reach the relay · 2 direct peers, still in sync", tone: "warning",
  });
  assert.equal(line(lost, [direct]).sentence, "Can't reach the relay · 1 direct peer, still in sync");
  assert.equal(line(lost, [direct, relayed]).sentence,
    "Can't reach the relay · 2 peers (1 direct, 1 through the relay), still in sync");
});

test("one_of_two_relays_is_enough", () => {
  const two = { ...status("synced"), relays: [{ connected: false }, { connected: true }] };
  assert.match(line(two, [direct]).sentence, /^In sync/);
});

test("isolated_tab_is_not_reported_as_relay_loss", () => {
  const cut = { ...status("alone", { connected: false }), isolated: true };
  assert.deepEqual(line(cut, []), {
    sentence: "Disconnected by you. Readings are saved and sent when you reconnect.", tone: "warning",
  });
  assert.match(line({ ...status("synced"), isolated: false }, [direct]).sentence, /^In sync/);
});

test("no_one_is_called_absent_who_was_not_looked_for", () => {
  const key = (state, relays, isolated = false) => noPeersKey({ state, relays, isolated });
  const reserved = { connected: true, reserved: true, full: false };
  const connected = { connected: true, reserved: false, full: false };
  const full = { connected: true, reserved: false, full: true };
  const lost = { connected: false, reserved: false, full: false };
  for (const relay of [reserved, connected]) assert.equal(key("alone", [lost, relay]), "peers.none");
  for (const relays of [[], [lost], [full]]) assert.equal(key("alone", relays), "peers.withoutRelay");
  assert.equal(key("starting", [reserved]), "peers.looking");
  assert.equal(key("starting", [reserved], true), "peers.cut");
  assert.equal(key("stopped", [lost]), null);
});

test("room_is_known_once_peers_were_asked", () => {
  const reserved = { connected: true, reserved: true, full: false };
  const known = (relays, isolated = false) =>
    ["starting", "syncing", "synced", "alone", "stopped"].filter((state) => knowsRoom({ state, relays, isolated }));
  assert.deepEqual(known([reserved]), ["synced", "alone"]);
  // Without a relay that lets others find this tab, it does not know whether it is alone.
  const full = { connected: true, reserved: false, full: true };
  for (const relays of [[], [{ connected: false, reserved: false, full: false }], [full], [full, { ...full, full: false }]])
    assert.deepEqual(known(relays), ["synced"]);
  assert.deepEqual(known([reserved, full]), ["synced", "alone"]);
  assert.deepEqual(known([reserved], true), ["synced"]);
});
