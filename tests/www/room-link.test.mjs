//! What the page's address says, and the link that it becomes.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_ROOM_BYTES, directFromSearch, hashForRoom, isOnlyHere, linkToRoom, normalizeRoom, peersFromSearch, relaysFromSearch, roomFault,
  roomFromHash, stunFromSearch,
} from "../../www/room-link.js";

test("a_room_comes_from_the_fragment_trimmed_and_in_nfc", () => {
  assert.equal(roomFromHash("#room=class%207"), "class 7");
  assert.equal(roomFromHash("#room=%20e%CC%81cole%20"), "\u00e9cole");
  assert.equal(roomFromHash("#x=1&room=a"), "a");
});

test("no_room_or_an_empty_one_is_no_wish", () => {
  for (const hash of ["", "#", "#other=1", "#room=", "#room=%20%20"]) {
    assert.equal(roomFromHash(hash), undefined, hash);
  }
});

test("a_broken_escape_in_the_address_throws_nothing", () => {
  assert.equal(roomFromHash("#room=100%"), "100%");
});

test("stun_servers_come_in_order_each_once_and_none_means_the_relays_own", () => {
  assert.deepEqual(stunFromSearch("?stun=stun:a:1&relay=x&stun=stun:b&stun=stun:a:1&stun="), ["stun:a:1", "stun:b"]);
  assert.deepEqual(stunFromSearch("?relay=x"), []);
});

test("only_a_plain_no_keeps_peers_from_being_reached_directly", () => {
  assert.equal(directFromSearch("?direct=no"), false);
  for (const search of ["", "?", "?direct", "?direct=yes", "?relay=no"]) {
    assert.equal(directFromSearch(search), true, search);
  }
});

test("every_name_survives_its_own_link", () => {
  for (const name of ["lobby", "a+b", "50% & more=", "#hash", "한국어 방", "\u{1f493}", "a/b?c"]) {
    const link = new URL(linkToRoom("https://host.example/path/?relay=%2Fip4%2F127.0.0.1#room=old", name));
    assert.equal(roomFromHash(link.hash), name);
    assert.equal(roomFromHash(hashForRoom(name)), name);
    assert.equal(link.pathname + link.search, "/path/?relay=%2Fip4%2F127.0.0.1");
  }
});

test("room_names_are_bounded_in_bytes_not_letters", () => {
  assert.equal(roomFault(""), "empty");
  assert.equal(roomFault("x".repeat(MAX_ROOM_BYTES)), null);
  assert.equal(roomFault("x".repeat(MAX_ROOM_BYTES + 1)), "long");
  assert.equal(roomFault("방".repeat(21)), null);
  assert.equal(roomFault("방".repeat(22)), "long");
  assert.equal(normalizeRoom("\t e\u0301 \n"), "\u00e9");
});

test("relays_come_in_order_each_once_and_unjudged", () => {
  assert.deepEqual(relaysFromSearch(""), []);
  assert.deepEqual(relaysFromSearch("?relay=&relay=%20"), []);
  assert.deepEqual(relaysFromSearch("?relay=/a&x=1&relay=nonsense&relay=%20/a"), ["/a", "nonsense"]);
});

test("peers_come_like_relays_and_are_no_relays", () => {
  assert.deepEqual(peersFromSearch("?relay=/a&peer="), []);
  assert.deepEqual(peersFromSearch("?peer=/b&relay=/a&peer=%20/c&peer=/b"), ["/b", "/c"]);
  assert.deepEqual(relaysFromSearch("?peer=/b"), []);
});

test("a_link_to_this_computer_alone_is_known_as_such", () => {
  for (const host of ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"]) assert.ok(isOnlyHere(`http://${host}:8080/`), host);
  for (const host of ["192.168.1.7", "heart.example", "localhost.example", "127.example", "[fe80::1]"]) {
    assert.ok(!isOnlyHere(`http://${host}:8080/#room=127.0.0.1`), host);
  }
});
