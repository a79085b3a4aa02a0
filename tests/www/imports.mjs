//! Prints the static imports of each module of the page, as JSON: `{ "index.js": ["node.js", …], … }`. Node parses the
//! modules and runs none of them. Needs `--experimental-vm-modules`.

import { readFile, readdir } from "node:fs/promises";
import { posix } from "node:path";
import { SourceTextModule } from "node:vm";

const www = new URL("../../www/", import.meta.url);
const imports = {};
for (const file of (await readdir(www, { recursive: true })).map((file) => file.replaceAll("\\", "/")).sort()) {
  // The service worker is no module. `pkg/` has the output of wasm-bindgen, if any.
  if (!file.endsWith(".js") || file === "service-worker.js" || file.startsWith("pkg/")) continue;
  const module = new SourceTextModule(await readFile(new URL(file, www), "utf8"), { identifier: file });
  imports[file] = module.dependencySpecifiers.map((path) => posix.join(posix.dirname(file), path));
}
console.log(JSON.stringify(imports));
