//! The page's head preloads what the page needs at its start, and modules import each other without circles.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** What the page loads at its start: the form and the node, and everything else. */
const ENTRIES = ["index.js", "page.js"];

const script = fileURLToPath(new URL("imports.mjs", import.meta.url));
const flags = ["--experimental-vm-modules", "--no-warnings", script];
const imports = JSON.parse((await promisify(execFile)(process.execPath, flags)).stdout);
const html = await readFile(new URL("../../www/index.html", import.meta.url), "utf8");

/** A module with all modules that it imports, directly or indirectly. */
function withImports(module, found = new Set()) {
  if (found.has(module)) return found;
  found.add(module);
  for (const imported of imports[module] ?? []) withImports(imported, found);
  return found;
}

test("modules_needed_at_the_start_are_preloaded", () => {
  const preloaded = [...html.matchAll(/<link rel="modulepreload" href="v\/dev\/([^"]+)"/g)].map(([, path]) => path);
  const scripts = [...html.matchAll(/<script type="module"[^>]* src="v\/dev\/([^"]+)"/g)].map(([, path]) => path);
  assert.ok(scripts.includes(ENTRIES[0]), "the pattern still matches the page");
  const needed = new Set(ENTRIES.flatMap((entry) => [...withImports(entry)]));
  assert.deepEqual([...preloaded, ...scripts].sort(), [...needed].sort());
});

test("form_comes_before_the_other_components", () => {
  const loaded = [...html.matchAll(/(?:modulepreload" href|script type="module"(?: async)? src)="v\/dev\/([^"]+)"/g)].map(([, path]) => path);
  const first = withImports(ENTRIES[0]);
  assert.deepEqual(new Set(loaded.slice(0, first.size)), first);
  assert.equal(loaded[first.size], "wasm.js", "what compiles the wasm, which arrives long after it");
});

test("first_round_trip_has_the_longest_files", () => {
  const all = [...html.matchAll(/<(?:script|link rel="(?:stylesheet|preload|modulepreload)")[^>]* (?:src|href)="v\/dev\/([^"]+)"/g)];
  // Six connections: a slow phone waits a round trip for each six files.
  assert.deepEqual(all.slice(0, 6).map(([, path]) => path),
    ["guard.js", "index.css", "pkg/wasm_node_bg.wasm", "index.js", "strings/en.js", "strings.js"]);
});

test("guard_is_requested_first", () => {
  const [first] = [...html.matchAll(/<(?:script|link|img)\b[^>]* (?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.equal(first, "v/dev/guard.js");
});

test("first_visit_loads_no_pictures_or_offers_early", async () => {
  const page = await readFile(new URL("../../www/page.js", import.meta.url), "utf8");
  const early = page.split("\n").filter((line) => /^(export )?(const|let) .*\bimport\(/.test(line));
  assert.ok(early.length > 0 && early.every((line) => line.includes("starting.then(")), "pictures load once the node runs");
  assert.match(page, /starting\.then\(offerMore\)/, "and so do offers");
  assert.equal([...page.matchAll(/offerMore\(\)/g)].length, 1, "and only then");
});

test("modules_have_no_import_circles", () => {
  const open = [];
  const done = new Set();
  const visit = (module) => {
    assert.ok(!open.includes(module), [...open, module].join(" -> "));
    if (done.has(module)) return;
    open.push(module);
    for (const imported of imports[module] ?? []) visit(imported);
    open.pop();
    done.add(module);
  };
  Object.keys(imports).forEach(visit);
});

test("every_imported_module_exists", () => {
  for (const [module, imported] of Object.entries(imports)) {
    for (const path of imported) assert.ok(path in imports || path.startsWith("pkg/"), `${module} imports ${path}`);
  }
});
