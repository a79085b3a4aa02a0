//! Modules that are imported when they are wanted.

import assert from "node:assert/strict";
import test from "node:test";

import { importServed } from "../../www/importing.js";

const url = new URL("http://127.0.0.1/lessons.js");

test("nothing is imported before the server answers", async (t) => {
  const answers = [() => Promise.reject(new TypeError("gone")), async () => new Response("", { status: 503 }), async () => new Response("")];
  t.mock.method(globalThis, "fetch", (asked) => {
    assert.equal(asked, url);
    return answers.shift()();
  });
  let imports = 0;
  const load = async () => ++imports;
  await assert.rejects(importServed(url, load), /gone/);
  await assert.rejects(importServed(url, load), /lessons.js: 503/);
  assert.equal(imports, 0);
  assert.equal(await importServed(url, load), 1);
});
