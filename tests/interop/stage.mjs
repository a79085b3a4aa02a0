//! The test environment: starts a relay (ours or js-libp2p's), a browser, and a server for the pages of all kinds of peers,
//! on free ports. Everything is stopped when the run ends.

import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const here = fileURLToPath(new URL(".", import.meta.url));
const repository = join(here, "../..");
/** The folder of Cargo's builds. */
const target = process.env.CARGO_TARGET_DIR ?? join(repository, "target");
const START_TIMEOUT_MS = 60_000;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Init script of every page: tracks its peer connections. `carriedDirectly` returns the total of bytes they received. */
const TRACK_PEER_CONNECTIONS = () => {
  const made = new Set();
  globalThis.carriedDirectly = async () => {
    let bytes = 0;
    for (const connection of made) {
      for (const stat of (await connection.getStats()).values()) {
        if (stat.type === "transport" && stat.selectedCandidatePairId !== undefined) bytes += stat.bytesReceived;
      }
    }
    return bytes;
  };
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...settings) {
      super(...settings);
      made.add(this);
      this.addEventListener("connectionstatechange", () => {
        if (this.connectionState === "closed") made.delete(this);
      });
    }

    close() {
      super.close();
      made.delete(this);
    }
  };
};

export class Stage {
  #folder = mkdtempSync(join(tmpdir(), "heartchain-interop-"));
  #children = [];
  #server;
  #browser;
  #errors = [];

  /** @param {{ wasm: string }} options the folder with the `interop_peer.js` that wasm-bindgen generated */
  static async open({ wasm }) {
    const stage = new Stage();
    try {
      await stage.#bundle();
      stage.origin = await stage.#serve(wasm);
      stage.#browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
        args: ["--no-sandbox", "--disable-gpu", "--disable-quic"],
      });
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  async close() {
    await this.#browser?.close();
    this.#server?.close();
    this.#server?.closeAllConnections();
    for (const child of this.#children) child.kill("SIGKILL");
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
  }

  /** Returns the uncaught errors and console errors of all pages since the last call. */
  takeErrors() {
    return this.#errors.splice(0);
  }

  /** Starts our relay. @returns {Promise<{ address: string, direct: string, page: string, kill: () => void }>} */
  async heartchainRelay() {
    const ports = ["http", "webrtc", "stun"].flatMap((name) => [`--${name}-port`, "0"]);
    const binary = process.env.HEARTCHAIN_RELAY ?? join(target, "debug/relay");
    const relay = this.#spawn(binary, [...ports, "--seed", "77"]);
    const page = await output(relay, /^Open (http\S+)/m);
    const { addresses } = await (await fetch(new URL("relay.json", page))).json();
    const by = (transport) => addresses.find((address) => address.includes("/127.0.0.1/") && address.includes(transport));
    const [address, direct] = [by("/ws/"), by("/webrtc-direct/")];
    return { address, direct, page, kill: () => relay.kill("SIGKILL") };
  }

  /** Starts a circuit relay of js-libp2p. */
  async jsRelay() {
    const scripts = [join(here, "node20-polyfill.mjs"), join(here, "js-relay.mjs")];
    const relay = this.#spawn(process.execPath, ["--import", ...scripts]);
    return { address: await output(relay, /^(\/ip4\S+)/m), kill: () => relay.kill("SIGKILL") };
  }

  /** Starts the relay of the example in `wasm-node/webrtc`, which also serves the example's page. */
  async exampleRelay() {
    const relay = this.#spawn(join(target, "debug/examples/two_tabs_relay"), [join(target, "two_tabs")]);
    const page = await output(relay, /^Open (http\S+)/m);
    return { page, freeze: () => relay.kill("SIGSTOP"), kill: () => relay.kill("SIGKILL") };
  }

  /**
   * Opens a page in a browser context of its own. `kind` is "js", "rust" or "raw", which get `options`, or any URL.
   */
  async page(kind, options) {
    const context = await this.#browser.newContext();
    const page = await context.newPage();
    const record = (text) => this.#errors.push(`${kind}: ${text}`);
    page.on("pageerror", (error) => record(error.stack ?? error));
    page.on("console", (message) => {
      if (message.type() === "error") record(message.text());
    });
    await page.addInitScript(TRACK_PEER_CONNECTIONS);
    const started = Date.now();
    const fragment = options === undefined ? "" : `#${encodeURIComponent(JSON.stringify(options))}`;
    await page.goto(kind.includes(":") ? kind : `${this.origin}/${kind}.html${fragment}`);
    return Object.assign(page, { started, end: () => context.close() });
  }

  /** Closes all pages that are still open. */
  async closePages() {
    await Promise.all(this.#browser.contexts().map((context) => context.close()));
  }

  #spawn(program, flags) {
    const child = spawn(program, flags, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  async #bundle() {
    await build({
      entryPoints: ["js-peer", "rust-peer", "raw-peer", "websys-peer"].map((name) => join(here, "pages", `${name}.js`)),
      external: ["/pkg/*"],
      bundle: true,
      format: "esm",
      minify: true,
      outdir: this.#folder,
      logLevel: "error",
    });
  }

  async #serve(wasm) {
    this.#server = http.createServer(async ({ url }, response) => {
      const [, name, type] = /^\/(?:pkg\/)?([\w-]+(\.\w+))$/.exec(url) ?? [];
      const headers = { "content-type": TYPES[type] ?? "text/plain", "cache-control": "no-store" };
      if (type === ".html") {
        const script = name.replace(".html", "-peer.js");
        const icon = '<link rel="icon" href="data:,">';
        response.writeHead(200, headers);
        response.end(`<!doctype html><title>${name}</title>${icon}<script type="module" src="/${script}"></script>`);
      } else if (name !== undefined) {
        const file = url.startsWith("/pkg/") ? join(wasm, name) : join(this.#folder, name);
        const body = await readFile(file).catch(() => null);
        response.writeHead(body === null ? 404 : 200, headers).end(body);
      } else {
        response.writeHead(404).end();
      }
    });
    await new Promise((listening) => this.#server.listen(0, "127.0.0.1", listening));
    return `http://127.0.0.1:${this.#server.address().port}`;
  }
}

/** Calls `poll` until it returns a truthy value; fails after `limit` milliseconds. */
export async function until(what, poll, limit) {
  for (const end = Date.now() + limit; ; ) {
    const found = await poll();
    if (found) return found;
    if (Date.now() > end) throw new Error(`timed out after ${limit} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Returns the first match of `pattern` in the output of a process. */
function output(child, pattern) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      const found = pattern.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${child.spawnfile} exited (${code}) with the output ${text}`)));
    setTimeout(() => reject(new Error(`${child.spawnfile} only printed ${text}`)), START_TIMEOUT_MS).unref();
  });
}
