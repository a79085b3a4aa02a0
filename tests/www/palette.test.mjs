//! Authors look different from each other, also for people who cannot tell all colours apart.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { afterEach, test } from "node:test";
import { MAX_LOOKS, PEER_COLOURS, PEER_SHAPES, authorChanges, lookAt, lookOf, setAuthorOrder } from "../../www/authors.js";

/** How a colour looks without one kind of cones, on linear RGB (Machado, Oliveira and Fernandes 2009, severity 1). */
const VISIONS = {
  all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

/** The smallest distance of two colours in OKLab. Colours of one text and its background differ by 0.5 and more. */
const MIN_DISTANCE = 0.12;

/** The contrast of graphics that WCAG 2.2 requires (1.4.11). */
const MIN_CONTRAST = 3;

const css = await readFile(new URL("../../www/index.css", import.meta.url), "utf8");
const tokens = (name) => [...css.matchAll(new RegExp(`--${name}: (#[0-9a-f]{6});`, "g"))].map(([, hex]) => linear(hex));

/** The palettes of the light and the dark theme, each with the colour behind it. */
const themes = [0, 1].map((theme) => ({
  surface: tokens("surface")[theme],
  colours: Array.from({ length: PEER_COLOURS }, (_, i) => tokens(`peer-${i}`)[theme]),
}));

function linear(hex) {
  return [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
}

const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, factor, i) => sum + factor * vector[i], 0));
const seen = (matrix, colour) => times(matrix, colour).map((value) => Math.min(1, Math.max(0, value)));

function oklab(colour) {
  const cones = times([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005]], colour).map(Math.cbrt);
  return times([[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.808675766]], cones);
}

function contrast(a, b) {
  const [darker, lighter] = [a, b].map((colour) => times([[0.2126, 0.7152, 0.0722]], colour)[0]).sort((x, y) => x - y);
  return (lighter + 0.05) / (darker + 0.05);
}

afterEach(() => setAuthorOrder([]));

test("palette_is_told_apart_by_every_vision", () => {
  for (const { colours } of themes) {
    for (const [vision, matrix] of Object.entries(VISIONS)) {
      colours.forEach((a, i) => colours.slice(0, i).forEach((b, j) => {
        const [one, other] = [a, b].map((colour) => oklab(seen(matrix, colour)));
        const distance = Math.hypot(...one.map((value, axis) => value - other[axis]));
        assert.ok(distance >= MIN_DISTANCE, `${vision}: colours ${j} and ${i} are ${distance.toFixed(3)} apart`);
      }));
    }
  }
});

test("palette_stands_out_from_the_surface", () => {
  for (const { surface, colours } of themes) {
    colours.forEach((colour, i) => assert.ok(contrast(colour, surface) >= MIN_CONTRAST, `colour ${i}: ${contrast(colour, surface)}`));
  }
});

test("no_two_of_the_first_authors_look_alike", () => {
  const looks = Array.from({ length: MAX_LOOKS }, (_, place) => lookAt(place)).map(({ colour, shape }) => `${colour} ${shape}`);
  assert.equal(new Set(looks).size, MAX_LOOKS);
  assert.equal(MAX_LOOKS, 48);
  assert.deepEqual({ ...lookAt(MAX_LOOKS), place: 0 }, { ...lookAt(0), place: 0 }, "then they repeat");
  for (let place = 1; place < PEER_COLOURS; place += 1) {
    assert.notEqual(lookAt(place).colour, lookAt(place - 1).colour);
    assert.notEqual(lookAt(place).shape, lookAt(place - 1).shape);
  }
  assert.ok(PEER_SHAPES >= 6);
});

test("authors_are_styled_by_order_of_appearance", () => {
  let changes = 0;
  const count = () => (changes += 1);
  authorChanges.addEventListener("change", count);
  setAuthorOrder(["b", "a"]);
  assert.deepEqual([lookOf("b"), lookOf("a"), lookOf("c")], [lookAt(0), lookAt(1), null]);
  setAuthorOrder(["b", "a"]);
  assert.equal(changes, 1, "the same order changes nothing");
  setAuthorOrder(["b", "a", "c"]);
  assert.deepEqual([lookOf("b"), lookOf("c"), changes], [lookAt(0), lookAt(2), 2]);
  authorChanges.removeEventListener("change", count);
});
