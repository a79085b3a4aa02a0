//! What every run needs: a relay (ours or js-libp2p's), a browser, and the pages of both kinds of peers, at ports that the
//! system chooses. All of it ends with the run.

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
const START_MS = 60_000;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Keeps the peer connections of a page within reach of `carriedDirectly`. */
const WATCH_PEER_CONNECTIONS = () => {
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
  #faults = [];

  /** @param {{ wasm: string }} options the folder that wasm-bindgen wrote `interop_peer.js` to */
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

  /** What pages complained of since this was last asked: uncaught errors, and errors on the console. */
  takeFaults() {
    return this.#faults.splice(0);
  }

  /** Our relay. @returns {Promise<{ address: string, page: string, kill: () => void }>} */
  async heartchainRelay() {
    const ports = ["http", "ws", "webrtc", "stun"].flatMap((name) => [`--${name}-port`, "0"]);
    const binary = process.env.HEARTCHAIN_RELAY ?? join(repository, "target/debug/relay");
    const relay = this.#spawn(binary, [...ports, "--seed", "77"]);
    const page = await said(relay, /^Open (http\S+)/m);
    const { addresses } = await (await fetch(new URL("relay.json", page))).json();
    const address = addresses.find((address) => address.includes("/127.0.0.1/") && address.includes("/ws/"));
    return { address, page, kill: () => relay.kill("SIGKILL") };
  }

  /** A circuit relay of js-libp2p. */
  async jsRelay() {
    const relay = this.#spawn(process.execPath, ["--import", join(here, "older-node.mjs"), join(here, "js-relay.mjs")]);
    return { address: await said(relay, /^(\/ip4\S+)/m), kill: () => relay.kill("SIGKILL") };
  }

  /** The relay of the example in `wasm-node/webrtc`, which serves the example's page. */
  async exampleRelay() {
    const target = join(repository, "target");
    const relay = this.#spawn(join(target, "debug/examples/two_tabs_relay"), [join(target, "two_tabs")]);
    const page = await said(relay, /^Open (http\S+)/m);
    return { page, freeze: () => relay.kill("SIGSTOP"), kill: () => relay.kill("SIGKILL") };
  }

  /** A page that shares nothing with the others. Of `kind` "js", "rust" or "raw", told `options`; or any address. */
  async page(kind, options) {
    const context = await this.#browser.newContext();
    const page = await context.newPage();
    const note = (text) => this.#faults.push(`${kind}: ${text}`);
    page.on("pageerror", (error) => note(error.stack ?? error));
    page.on("console", (message) => {
      if (message.type() === "error") note(message.text());
    });
    await page.addInitScript(WATCH_PEER_CONNECTIONS);
    const started = Date.now();
    const told = options === undefined ? "" : `#${encodeURIComponent(JSON.stringify(options))}`;
    await page.goto(kind.includes(":") ? kind : `${this.origin}/${kind}.html${told}`);
    return Object.assign(page, { started, end: () => context.close() });
  }

  /** Closes all pages that are still open. */
  async endPages() {
    await Promise.all(this.#browser.contexts().map((context) => context.close()));
  }

  #spawn(program, flags) {
    const child = spawn(program, flags, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  async #bundle() {
    await build({
      entryPoints: ["js-peer", "rust-peer", "raw-peer"].map((name) => join(here, "pages", `${name}.js`)),
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

/** Asks `ask` until it gives something. */
export async function until(what, ask, limit) {
  for (const end = Date.now() + limit; ; ) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${limit} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The first words of a process that match. */
function said(child, words) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      const found = words.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${child.spawnfile} ended (${code}) after saying ${text}`)));
    setTimeout(() => reject(new Error(`${child.spawnfile} says only ${text}`)), START_MS).unref();
  });
}
