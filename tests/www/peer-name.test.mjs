//! Names depend only on keys, so every tab shows the same ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_ORDER } from "../../www/history.js";
import { MAX_CACHED, peerIdOf, shortName } from "../../www/messages.js";

// The public key of 32 zero bytes, and its peer ID as libp2p's tutorials print it for seed 0.
const AUTHOR = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
const PEER_ID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

test("author_has_the_libp2p_peer_id_of_its_key", () => {
  assert.equal(peerIdOf(AUTHOR), PEER_ID);
});

test("short_name_is_the_end_of_the_peer_id", () => {
  assert.equal(shortName(PEER_ID), "x6nXTN");
});

test("names_beyond_the_cache_are_still_correct", () => {
  const key = (i) => i.toString(16).padStart(64, "0");
  const first = peerIdOf(key(0));
  for (let i = 1; i < MAX_CACHED + 10; i += 1) peerIdOf(key(i));
  assert.equal(peerIdOf(key(0)), first);
});

test("cache_holds_all_authors_with_an_order", () => {
  // Otherwise each redraw would compute the peer IDs of all of them again.
  assert.ok(MAX_CACHED >= 2 * MAX_ORDER);
});
