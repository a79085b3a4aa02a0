//! The status line tells the truth in words, whatever the node says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { statusSentence } from "../../www/status-sentence.js";
import { say } from "../../www/strings.js";

const relay = { path: "relay", index: null };
const direct = { path: "direct", index: 41 };
const relayed = { path: "relayed", index: 41 };
const status = (state, { index = 41, connected = true } = {}) => ({
  state, tip: { index, hash: "" }, relays: [{ connected, reserved: connected }],
});
const line = (status, peers) => statusSentence(status, peers, say);

test("before_the_node_runs_it_is_starting_and_then_ready", () => {
  assert.deepEqual(line(null, []), { sentence: "Starting …", tone: "busy" });
  assert.deepEqual(line(status("starting"), [relay]), { sentence: "Ready · looking for others …", tone: "busy" });
  assert.match(line({ ...status("starting"), isolated: true }, []).sentence, /^Cut off by you/);
});

test("while_it_starts_it_says_that_it_checks_what_is_stored", () => {
  const checking = (state) => ({ ...status(state), storage: { unchecked: 12_000 } });
  assert.deepEqual(line(checking("starting"), []), { sentence: "Ready · checking what is stored …", tone: "busy" });
  assert.match(line(checking("synced"), [direct]).sentence, /^In sync/);
});

test("in_sync_names_block_and_paths", () => {
  const peers = [direct, direct, direct, direct, relayed, relay];
  assert.deepEqual(line(status("synced"), peers), {
    sentence: "In sync · block 41 · 5 peers (4 direct, 1 through the relay)", tone: "good",
  });
  assert.equal(line(status("synced"), [relay, relayed]).sentence, "In sync · block 41 · 1 peer (through the relay)");
  assert.equal(line(status("synced"), [direct]).sentence, "In sync · block 41 · 1 peer (direct)");
  assert.equal(line(status("synced"), [direct, direct]).sentence, "In sync · block 41 · 2 peers (2 direct)");
});

test("catching_up_names_the_highest_block_known", () => {
  const far = { path: "direct", index: 9800 };
  assert.deepEqual(line(status("syncing", { index: 1200 }), [direct, far, relay]), {
    sentence: "Catching up 1,200 of 9,800 · 2 peers (2 direct)", tone: "busy",
  });
  assert.equal(line({ ...status("syncing"), target: 50 }, [direct]).sentence, "Catching up 41 of 50 · 1 peer (direct)");
  assert.equal(line(status("syncing"), [{ path: "direct", index: null }]).sentence,
    "Catching up · block 41 · 1 peer (direct)");
});

test("alone_is_said_with_and_without_a_relay", () => {
  const alone = "On your own: readings are kept and will be shared";
  assert.deepEqual(line(status("alone"), [relay]), { sentence: alone, tone: "warning" });
  assert.equal(line(status("synced"), [relay]).sentence, alone, "nobody to be in sync with");
  assert.equal(line(status("alone", { connected: false }), []).sentence,
    "Relay unreachable · on your own: readings are kept and will be shared");
  assert.match(line({ ...status("alone"), relays: [] }, []).sentence, /^Relay unreachable/);
});

test("a_lost_relay_is_said_while_peers_remain", () => {
  const lost = status("synced", { connected: false });
  assert.deepEqual(line(lost, [direct, direct]), {
    sentence: "Relay unreachable · 2 direct peers, still in sync", tone: "warning",
  });
  assert.equal(line(lost, [direct]).sentence, "Relay unreachable · 1 direct peer, still in sync");
  assert.equal(line(lost, [direct, relayed]).sentence,
    "Relay unreachable · 2 peers (1 direct, 1 through the relay), still in sync");
});

test("one_of_two_relays_is_enough", () => {
  const two = { ...status("synced"), relays: [{ connected: false }, { connected: true }] };
  assert.match(line(two, [direct]).sentence, /^In sync/);
});

test("a_tab_that_cut_itself_off_says_so_and_not_that_the_relay_is_lost", () => {
  const cut = { ...status("alone", { connected: false }), isolated: true };
  assert.deepEqual(line(cut, []), {
    sentence: "Cut off by you: readings are kept, and shared when you join again", tone: "warning",
  });
  assert.match(line({ ...status("synced"), isolated: false }, [direct]).sentence, /^In sync/);
});
