//! The mining worker: searches nonces for the one header it was given last, in slices short enough to hear
//! the next order. Never chooses what to mine, never knows a reading.
//!
//! In:  `{ module }` once, then `{ id, header, start }` (replaces what ran), `{ stop: true }`, or `{ limit }`: so many
//!      hashes a second at most; null: as many as can be.
//! Out: `{ ready: true }` once, `{ id, hashes, ms }` about once a second and at the end of a search,
//!      `{ id, nonce }` when found, `{ error }` in words. `start` and `nonce` are decimal, below 2^64.

import init, { mineBatch } from "./pkg/wasm_node.js";

/** How long one slice should take, in ms: a new order waits for about this long, and no longer. */
const SLICE_MS = 30;
/** Between two reports, in ms. */
const REPORT_MS = 1000;
/** How long the tries of one slice last when their number is limited, in ms: short enough to look like steady work. */
const LIMITED_SLICE_MS = 100;
/** Tries in the first slice, and the bounds of what a slice may grow or shrink to. */
const FIRST_TRIES = 2_000;
const MIN_TRIES = 100;
const MAX_TRIES = 10_000_000;

/** @type {{ id: unknown, header: Uint8Array, next: bigint, hashes: number, ms: number } | null} */
let job = null;
let tries = FIRST_TRIES;
/** @type {number | null} hashes a second */
let limit = null;
/** The timer of a pause that a limit asks for. */
let pause = null;

// A posted message, unlike a timer, is not throttled when the tab is hidden, and lets the page's orders in between.
const nextSlice = new MessageChannel();
let sliceAsked = false;
nextSlice.port1.onmessage = () => {
  sliceAsked = false;
  inWords(mineSlice);
};

self.onmessage = ({ data }) => {
  if (data.module) {
    load(data.module);
  } else if (data.stop) {
    job = null;
  } else if ("limit" in data) {
    limit = data.limit;
    clearTimeout(pause);
    pause = null;
    askForSlice();
  } else {
    inWords(() => begin(data));
  }
};

async function load(module) {
  try {
    await init({ module_or_path: module });
    self.postMessage({ ready: true });
  } catch (error) {
    fail(error);
  }
}

function begin({ id, header, start }) {
  job = { id, header, next: BigInt.asUintN(64, BigInt(start)), hashes: 0, ms: 0 };
  askForSlice();
}

function askForSlice() {
  if (sliceAsked || pause !== null) return;
  sliceAsked = true;
  nextSlice.port2.postMessage(null);
}

function mineSlice() {
  if (job === null) return;
  const most = limit === null ? tries : Math.min(tries, Math.max(1, Math.round((limit * LIMITED_SLICE_MS) / 1000)));
  const began = performance.now();
  const nonce = mineBatch(job.header, job.next, most);
  const spent = performance.now() - began;

  const tried = nonce === undefined ? most : Number(BigInt.asUintN(64, nonce - job.next)) + 1;
  const ms = limit === null ? spent : Math.max(spent, (tried * 1000) / limit);
  job.hashes += tried;
  job.ms += ms;
  if (nonce !== undefined) {
    const { id } = job;
    report();
    job = null;
    self.postMessage({ id, nonce: nonce.toString() });
    rest(ms - spent);
    return;
  }
  job.next = BigInt.asUintN(64, job.next + BigInt(most));
  if (job.ms >= REPORT_MS) report();
  if (limit === null) {
    // At most fourfold a step: one slow slice (the machine was busy) must not make the next ones tiny.
    const fitting = tries * Math.min(4, Math.max(0.25, SLICE_MS / Math.max(spent, 0.1)));
    tries = Math.round(Math.min(MAX_TRIES, Math.max(MIN_TRIES, fitting)));
  }
  rest(ms - spent);
  askForSlice();
}

/** Tries nothing for so long, if that is any time at all. */
function rest(ms) {
  if (ms <= 0) return;
  pause = setTimeout(() => {
    pause = null;
    askForSlice();
  }, ms);
}

function report() {
  self.postMessage({ id: job.id, hashes: job.hashes, ms: job.ms });
  job.hashes = 0;
  job.ms = 0;
}

function inWords(work) {
  try {
    work();
  } catch (error) {
    job = null;
    fail(error);
  }
}

function fail(error) {
  const reason = error instanceof Error ? error.message : String(error);
  self.postMessage({ error: `the mining worker failed: ${reason}` });
}
