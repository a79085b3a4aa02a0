//! What the tests of browsers share: the relay, and what a person does with the page in any browser.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Program, freePort, until } from "./drivers.mjs";

/** The real relay, with free ports and a folder of its own. */
export class Relay {
  #file;
  #program = null;
  #args = null;
  #ip;
  #flags;

  /** @param {string} file the relay's program @param {string} [ip] @param {string[]} [flags] more of its flags */
  constructor(file, ip = "127.0.0.1", flags = []) {
    this.#file = file;
    this.#ip = ip;
    this.#flags = flags;
  }

  /** Starts the relay, at the same address as before if there was one. */
  async start() {
    this.#args ??= await this.#arguments();
    this.#program = new Program(this.#file, this.#args);
    [, this.url] = await this.#program.says(/Open (https?:\S+) /);
  }

  async end() {
    await this.#program?.end();
  }

  /** Also deletes what it has stored. */
  async remove() {
    await this.end();
    if (this.data !== undefined) rmSync(this.data, { recursive: true, force: true });
  }

  /** All ports are free ones: the page's own stays the same, so that it finds its relay again, and the system chooses the others. */
  async #arguments() {
    this.data = mkdtempSync(join(tmpdir(), "heartchain-relay-"));
    this.port = await freePort();
    const others = ["--webrtc-port", "--stun-port"].flatMap((flag) => [flag, "0"]);
    return ["--listen-ip", this.#ip, "--http-port", String(this.port), "--data-dir", this.data, ...others, ...this.#flags];
  }
}

export const json = JSON.stringify;
export const status = (tab) => tab.evaluate("heartchain.status()");
export const text = (tab, selector) => tab.evaluate(`document.querySelector(${json(selector)}).textContent`);
export const click = (tab, selector) => tab.evaluate(`void document.querySelector(${json(selector)}).click()`);

export async function open(tab, url) {
  await tab.open(url);
  await started(tab);
}

export async function started(tab) {
  await until("the node", () => tab.evaluate("globalThis.heartchain !== undefined"));
}

export async function enter(tab, bpm) {
  await tab.evaluate(`(() => {
    document.querySelector("#bpm").value = "${bpm}";
    document.querySelector("record-form form").requestSubmit();
  })()`);
  await until(`${bpm} BPM recorded`, async () => (await text(tab, ".recorded")).includes(String(bpm)));
}

/** Waits until the chain of a tab has a reading with this heart rate. */
export async function hasReading(tab, bpm) {
  const readings = "heartchain.blocks(0, heartchain.status().tip.index).then((all) => all.flatMap(({ readings }) => readings))";
  await until(`${bpm} BPM in the chain`, () => tab.evaluate(`${readings}.then((all) => all.some(({ bpm }) => bpm === ${bpm}))`));
}

export function check(holds, what) {
  if (!holds) throw new Error(what);
}
