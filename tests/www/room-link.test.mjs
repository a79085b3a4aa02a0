//! Parsing the page's address, and the link to share.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_ROOM_BYTES, directFromSearch, hashForRoom, isLocalOnly, labelFromHash, linkToRoom, normalizeRoom, peersFromSearch, relaysFromSearch, roomFault,
  roomFromHash, roomFromText, stunFromSearch,
} from "../../www/input.js";

test("room_is_parsed_trimmed_and_in_nfc", () => {
  assert.deepEqual(roomFromHash("#room=class%207"), { room: "class 7" });
  assert.deepEqual(roomFromHash("#room=%20e%CC%81cole%20"), { room: "\u00e9cole" });
});

test("hand_typed_room_is_opened_exactly", () => {
  for (const name of ["C++", "a+b", "a&b", "a=b&c", "?", "a#b", "a b"]) assert.deepEqual(roomFromHash(`#room=${name}`), { room: name });
});

test("missing_or_empty_room_is_undefined", () => {
  for (const hash of ["", "#", "#room=", "#room=%20%20"]) assert.deepEqual(roomFromHash(hash), {}, hash);
});

test("malformed_escape_opens_no_room", () => {
  for (const hash of ["#room=100%", "#room=%E0%A4%A", "#room=%zz"]) assert.deepEqual(roomFromHash(hash), { fault: "escape" }, hash);
});

test("link_of_a_private_room_is_left_to_the_node", () => {
  for (const hash of ["#private=abc&label=Family", "#private=", "#label=Family", "#private=a&room=b"]) {
    assert.deepEqual(roomFromHash(hash), { link: hash });
  }
});

// The key of the room of tests/end_to_end/in_chromium/private_rooms.rs, with its checksum.
const TOKEN = "PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDwNk-mw";
const PAGE = "https://host.example/path/?relay=%2Fa#room=lobby";

test("key_never_becomes_the_name_of_an_open_room", () => {
  const names = [
    `lobby&private=${TOKEN}`, `private=${TOKEN}`, `PRIVATE = ${TOKEN}`, `#private=${TOKEN}`, TOKEN, `Family ${TOKEN}`, `(${TOKEN})`,
    TOKEN.slice(0, 43), TOKEN.slice(0, 40), `x${TOKEN}`, `${TOKEN}x`,
  ];
  for (const name of names) {
    assert.deepEqual(roomFromHash(`#room=${name}`), { fault: "key" }, name);
    assert.deepEqual(roomFromHash(hashForRoom(name)), { fault: "key" }, name);
    assert.equal(roomFault(name), "key", name);
    assert.equal(roomFromText(name, PAGE).room, undefined, name);
  }
});

test("long_names_of_words_are_no_keys", () => {
  for (const name of ["x".repeat(64), "biology-class-7b-heart-rates-in-autumn-2026", "Sports_Club_of_the_University", "private", "a-b_c".repeat(10)]) {
    assert.equal(roomFault(name), null, name);
    assert.deepEqual(roomFromText(name, PAGE), { room: name });
  }
});

test("pasted_link_is_opened_as_a_link", () => {
  const link = `https://host.example/path/?relay=%2Fa#private=${TOKEN}&label=F%20%26%20G`;
  for (const text of [link, ` ${link}\n`, `Come in: ${link}`, link.slice(link.indexOf("#")), link.slice(link.indexOf("#") + 1)]) {
    assert.deepEqual(roomFromText(text, PAGE), { link }, text);
  }
  const bare = `https://host.example/path/?relay=%2Fa#private=${TOKEN}`;
  for (const text of [TOKEN, `private=${TOKEN}`, `host.example/#private=${TOKEN}`]) assert.deepEqual(roomFromText(text, PAGE), { link: bare }, text);
  const decoded = roomFromText(`http://other.example:8080/#label=Team #1&private=${TOKEN}`, PAGE);
  assert.deepEqual(roomFromHash(new URL(decoded.link).hash), { link: new URL(decoded.link).hash });
  assert.equal(new URL(decoded.link).host, "other.example:8080");
  assert.deepEqual(roomFromText("http://host.example/#room=class%207", PAGE), { link: "http://host.example/#room=class%207" });
  assert.deepEqual(roomFromText("#room=a+b", PAGE), { link: "https://host.example/path/?relay=%2Fa#room=a+b" });
});

test("damaged_link_is_refused_before_the_room_is_left", () => {
  for (const text of [`https://host.example/#private=${TOKEN.slice(0, 30)}`, "#private=", "private=abc", "#label=Family", `#private=${TOKEN}x`,
    `https://host.example/#private%3D${TOKEN}`, "https://host.example/", "http://host.example/#other", "#room=100%", "#room="]) {
    assert.deepEqual(roomFromText(text, PAGE), { fault: "badLink" }, text);
  }
  assert.deepEqual(roomFromText(`#room=lobby&private=${TOKEN}`, PAGE), { fault: "key" });
  assert.deepEqual([roomFromText("  ", PAGE), roomFromText("방".repeat(22), PAGE)], [{ fault: "empty" }, { fault: "long" }]);
});

test("label_of_a_private_room_is_read_from_its_link", () => {
  assert.equal(labelFromHash("#label=F&private=abc"), "F");
  assert.equal(labelFromHash("#private=abc&label=Caf%C3%A9%20%26%20co"), "Caf\u00e9 & co");
  for (const hash of ["", "#private=abc", "#private=abc&label=", "#private=abc&label=%E0%A4"]) assert.equal(labelFromHash(hash), "", hash);
});

test("unknown_part_of_the_address_opens_no_room", () => {
  for (const hash of ["#other=1", "#lobby", "#x=1&room=a", "#Room=a"]) assert.deepEqual(roomFromHash(hash), { fault: "unknown" }, hash);
});

test("stun_servers_are_parsed_in_order", () => {
  assert.deepEqual(stunFromSearch("?stun=stun:a:1&relay=x&stun=stun:b&stun=stun:a:1&stun="), ["stun:a:1", "stun:b"]);
  assert.deepEqual(stunFromSearch("?relay=x"), []);
});

test("only_direct_no_disables_direct_connections", () => {
  assert.equal(directFromSearch("?direct=no"), false);
  for (const search of ["", "?", "?direct", "?direct=yes", "?relay=no"]) {
    assert.equal(directFromSearch(search), true, search);
  }
});

test("room_name_round_trips_through_its_link", () => {
  for (const name of ["lobby", "a+b", "50% & more=", "#hash", "한국어 방", "\u{1f493}", "a/b?c"]) {
    const link = new URL(linkToRoom("https://host.example/path/?relay=%2Fip4%2F127.0.0.1#room=old", name));
    assert.deepEqual(roomFromHash(link.hash), { room: name });
    assert.deepEqual(roomFromHash(hashForRoom(name)), { room: name });
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

test("relays_are_parsed_in_order_without_validation", () => {
  assert.deepEqual(relaysFromSearch(""), []);
  assert.deepEqual(relaysFromSearch("?relay=&relay=%20"), []);
  assert.deepEqual(relaysFromSearch("?relay=/a&x=1&relay=nonsense&relay=%20/a"), ["/a", "nonsense"]);
});

test("peers_are_parsed_separately_from_relays", () => {
  assert.deepEqual(peersFromSearch("?relay=/a&peer="), []);
  assert.deepEqual(peersFromSearch("?peer=/b&relay=/a&peer=%20/c&peer=/b"), ["/b", "/c"]);
  assert.deepEqual(relaysFromSearch("?peer=/b"), []);
});

test("link_to_localhost_is_local_only", () => {
  for (const host of ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"]) assert.ok(isLocalOnly(`http://${host}:8080/`), host);
  for (const host of ["192.168.1.7", "heart.example", "localhost.example", "127.example", "[fe80::1]"]) {
    assert.ok(!isLocalOnly(`http://${host}:8080/#room=127.0.0.1`), host);
  }
});
