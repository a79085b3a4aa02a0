//! Begins to load and compile the wasm as soon as the page comes, beside all modules that show something; so it imports none.

/** What the server has instead of a file. Whoever awaits `wasmModule` says that in words. */
export class NotLoaded extends Error {
  /**
   * @param {string} file the path of its URL
   * @param {number} status of the answer, as HTTP has it
   */
  constructor(file, status) {
    super(`${file}: ${status}`);
    this.file = file;
    this.status = status;
  }
}

/** @type {Promise<WebAssembly.Module>} */
export const wasmModule = compile(new URL("pkg/wasm_node_bg.wasm", import.meta.url));
// Nobody listens yet.
wasmModule.catch(() => {});

async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new NotLoaded(url.pathname, response.status);
  return WebAssembly.compileStreaming(response);
}
