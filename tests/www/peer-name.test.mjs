//! Authors are shown by the names that they chose, or by letters of their keys, which are the same in every tab.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { MAX_CACHED, authorChanges, chosenName, keyLetters, nameOf, nameText, peerIdOf, peerLetters, setNames } from "../../www/authors.js";
import { MAX_ORDER } from "../../www/history.js";

// The public key of 32 zero bytes, and its peer ID as libp2p's tutorials print it for seed 0.
const AUTHOR = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
const PEER_ID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const key = (i) => i.toString(16).padStart(64, "0");

afterEach(() => setNames([]));

test("author_has_the_libp2p_peer_id_of_its_key", () => {
  assert.equal(peerIdOf(AUTHOR), PEER_ID);
});

test("letters_are_the_end_of_the_peer_id", () => {
  assert.equal(peerLetters(PEER_ID), "x6nXTN");
  assert.equal(keyLetters(AUTHOR), "x6nXTN");
});

test("letters_beyond_the_cache_are_still_correct", () => {
  const first = keyLetters(key(0));
  for (let i = 1; i < MAX_CACHED + 10; i += 1) keyLetters(key(i));
  assert.equal(keyLetters(key(0)), first);
});

test("cache_holds_all_authors_with_an_order", () => {
  // Otherwise each redraw would compute the letters of all of them again.
  assert.ok(MAX_CACHED >= 2 * MAX_ORDER);
});

test("name_replaces_the_letters_until_it_is_erased", () => {
  assert.deepEqual(nameOf(AUTHOR), { name: null, letters: "x6nXTN" });
  let changes = 0;
  const count = () => (changes += 1);
  authorChanges.addEventListener("change", count);
  setNames([{ author: AUTHOR, name: "Anna", revision: 1 }]);
  assert.deepEqual([nameOf(AUTHOR), nameText(AUTHOR), chosenName(AUTHOR)], [{ name: "Anna", letters: null }, "Anna", "Anna"]);
  setNames([]);
  assert.deepEqual([nameText(AUTHOR), chosenName(AUTHOR), changes], ["x6nXTN", "", 2]);
  authorChanges.removeEventListener("change", count);
});

test("names_that_look_alike_come_with_letters", () => {
  const named = ["Anna", "anna", "ＡＮＮＡ", "Anna  B", "anna b", "Bob"].map((name, i) => ({ author: key(i), name }));
  setNames(named);
  assert.deepEqual(named.map(({ author }) => nameOf(author).letters !== null), [true, true, true, true, true, false]);
  assert.equal(nameText(key(0)), `Anna (${keyLetters(key(0))})`);
  assert.equal(chosenName(key(0)), "Anna", "the letters are no part of the name");
});

test("name_cannot_change_the_text_around_it", () => {
  setNames([{ author: key(0), name: "‮evil" }, { author: key(1), name: "שלום" }]);
  assert.equal(nameOf(key(0)).name, "‹U+202E›evil");
  assert.equal(nameText(key(1)), "⁨שלום⁩");
});
