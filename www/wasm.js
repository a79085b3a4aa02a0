//! Loads and compiles the wasm, and wakes the browser's database, while the other modules load. Imports nothing, so that it
//! starts at once.

/** The server answered with an HTTP error. Code that awaits `wasmModule` turns it into a message. */
export class LoadError extends Error {
  /**
   * @param {string} file the path of the URL
   * @param {number} status the HTTP status
   */
  constructor(file, status) {
    super(`${file}: ${status}`);
    this.file = file;
    this.status = status;
  }
}

/** @type {Promise<WebAssembly.Module>} */
export const wasmModule = compile(new URL("pkg/wasm_node_bg.wasm", import.meta.url));
// Without a handler, a failure before the first await would be reported as unhandled.
wasmModule.catch(() => {});

wakeDatabase();

async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new LoadError(url.pathname, response.status);
  // A proxy may change the type of the file, and old browsers do not compile while it arrives.
  const streams = WebAssembly.compileStreaming !== undefined && response.headers.get("content-type") === "application/wasm";
  return streams ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

/** A browser reads an origin's databases when they are first asked for, which takes a while. */
async function wakeDatabase() {
  try {
    await indexedDB.databases();
  } catch {
    // Opening the node's own database shows whether there is one.
  }
}
