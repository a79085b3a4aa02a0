//! Nodes in the network picture do not overlap and stay inside it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_DRAWN_PEERS, MAX_DRAWN_RELAYS, PICTURE, labelShift, layoutNetwork } from "../../www/geometry.js";
import { peerRows } from "../../www/model.js";

const peers = (direct, relayed) => [
  ...Array.from({ length: direct }, (_, i) => ({ peerId: `d${String(i).padStart(3, "0")}`, path: "direct" })),
  ...Array.from({ length: relayed }, (_, i) => ({ peerId: `r${String(i).padStart(3, "0")}`, path: "relayed" })),
  { peerId: "relay", path: "relay" },
];
const relay = { peerId: "relay", address: "/ip4/127.0.0.1/tcp/1/ws", connected: true };

test("nodes_do_not_overlap_or_leave_the_picture", () => {
  for (let count = 0; count <= 30; count += 1) {
    const { self, peers: placed, relays } = layoutNetwork(peers(count, count % 4), [relay]);
    const all = [self, ...placed, ...relays];
    for (const [i, a] of all.entries()) {
      assert.ok(a.x >= 10 && a.x <= PICTURE.width - 10 && a.y >= 10 && a.y <= PICTURE.height - 22, JSON.stringify(a));
      for (const b of all.slice(i + 1)) assert.ok(Math.hypot(a.x - b.x, a.y - b.y) > 20, `${count}: ${JSON.stringify([a, b])}`);
    }
  }
});

test("each_peer_and_relay_has_one_link", () => {
  const { links } = layoutNetwork(peers(2, 1), [relay]);
  assert.deepEqual(links.map(({ kind }) => kind).sort(), ["direct", "direct", "relay", "relayed"]);
  assert.equal(new Set(links.map(({ id }) => id)).size, 4);
});

test("drawn_peers_are_bounded_and_the_rest_counted", () => {
  const { peers: placed, hidden } = layoutNetwork(peers(40, 10), [relay]);
  assert.equal(placed.length, MAX_DRAWN_PEERS);
  assert.equal(hidden, 50 - MAX_DRAWN_PEERS);
});

test("relays_are_deduplicated_and_bounded", () => {
  const twice = [{ ...relay, connected: false }, { ...relay, address: "/other" }];
  assert.deepEqual(layoutNetwork([], twice).relays.map(({ id, connected }) => [id, connected]), [["relay", true]]);
  const many = Array.from({ length: 9 }, (_, i) => ({ peerId: null, address: `/a${i}`, connected: true }));
  assert.equal(layoutNetwork([], many).relays.length, MAX_DRAWN_RELAYS);
});

test("lost_relay_has_no_link", () => {
  const { links, relays } = layoutNetwork(peers(1, 0), [{ ...relay, connected: false }]);
  assert.equal(relays.length, 1);
  assert.deepEqual(links.map(({ kind }) => kind), ["direct"]);
});

test("layout_does_not_depend_on_peer_order", () => {
  const some = peers(5, 2);
  assert.deepEqual(layoutNetwork(some, [relay]), layoutNetwork(some.toReversed(), [relay]));
});

test("link_to_a_single_peer_avoids_the_tab_name", () => {
  for (const lone of [peers(1, 0), peers(0, 1)]) {
    const { self, peers: [peer] } = layoutNetwork(lone, [relay]);
    assert.ok(peer.y > self.y && Math.abs(peer.x - self.x) > peer.y - self.y, JSON.stringify(peer));
  }
});

test("names_do_not_leave_the_picture", () => {
  const { peers: placed } = layoutNetwork(peers(12, 0), [relay]);
  const width = 19 * 6.4;
  for (const { x } of placed) {
    const middle = x + labelShift(x, "Maximiliana… gsj65d");
    assert.ok(middle - width / 2 >= -0.01 && middle + width / 2 <= PICTURE.width + 0.01, `${x} ${middle}`);
  }
  assert.equal(labelShift(180, "Anna"), 0);
  assert.ok(labelShift(20, "김하늘김하늘") > labelShift(20, "abcdef"));
  assert.equal(labelShift(30, "x".repeat(99)), 150, "what does not fit is in the middle");
});

test("peers_of_one_author_do_not_hide_each_other", () => {
  const copies = peers(3, 1).map((peer) => ({ ...peer, author: "a", index: 4 }));
  const rows = peerRows(copies, true);
  assert.deepEqual(rows.map(({ peerId }) => peerId), ["d000", "d001", "d002", "r000"]);
  assert.equal(new Set(rows.map(({ key }) => key)).size, 4, "a key a row");
  assert.equal(layoutNetwork(copies, [relay]).peers.length, 4);
});

test("peers_without_the_key_are_marked", () => {
  const some = [
    { peerId: "member", path: "direct", author: "a", index: 4 },
    { peerId: "new", path: "direct", author: null, index: null },
    { peerId: "outside", path: "relayed", author: null, index: 4 },
  ];
  assert.deepEqual(peerRows(some, true).map(({ isWithoutKey }) => isWithoutKey), [false, false, true]);
  assert.ok(peerRows(some, false).every(({ isWithoutKey }) => !isWithoutKey), "an open room has no key");
});
