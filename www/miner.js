//! The mining worker: searches for a nonce of the latest header, in slices short enough to react to the next message.
//! Does not choose what to mine and never sees a reading. The tabs of a browser that are in one room take turns, so that they
//! neither compete for the processor nor do the same work twice.
//!
//! In:  `{ module, lock }` once, with the name of the Web Lock that gives a turn; then `{ id, header, start }` (replaces
//!      the current job), `{ stop: true }`, or `{ limit }`: the most hashes per second, null for no limit.
//! Out: `{ ready: true }` once, `{ id, hashes, ms }` about once per second and at the end of a search, `{ id, nonce }`
//!      when found, `{ error }` with a message. `start` and `nonce` are decimal strings below 2^64.

import init, { mineBatch } from "./pkg/wasm_node.js";

/** Target duration of one slice, in ms: the longest wait of a new message. */
const SLICE_MS = 30;
/** Interval between two reports, in ms. */
const REPORT_MS = 1000;
/** How long a tab mines before the next one has its turn, in ms. */
const TURN_MS = 1000;
/** How long a tab waits for its turn before it mines without one, in ms: the tab that has it may be suspended. */
const PATIENCE_MS = 30_000;
/** Duration of one slice under a limit, in ms: short enough to look like steady work. */
const LIMITED_SLICE_MS = 100;
/** Tries in the first slice, and the bounds of later slices. */
const FIRST_TRIES = 2_000;
const MIN_TRIES = 100;
const MAX_TRIES = 10_000_000;

/** @type {{ id: unknown, header: Uint8Array, next: bigint } | null} */
let job = null;
/** What was tried since the last report, and how long that took, in ms. */
let measured = { hashes: 0, ms: 0 };
let tries = FIRST_TRIES;
/** @type {number | null} hashes per second */
let limit = null;
/** The timer of a pause required by the limit. */
let pause = null;

/** The name of the lock; null if the browser has no locks, so that tabs cannot take turns. */
let lock = null;
/** Whether the lock was requested and is not granted yet. */
let waiting = false;
/** Whether it took so long that this tab mines without a turn until it has one. */
let impatient = false;
/** @type {{ ends: number, end: () => void } | null} this tab's turn; `ends` in ms of `performance.now()` */
let turn = null;

// Unlike timers, posted messages are not throttled in hidden tabs, and the page's messages are handled in between.
const nextSlice = new MessageChannel();
let sliceRequested = false;
nextSlice.port1.onmessage = () => {
  sliceRequested = false;
  reportErrors(mineSlice);
};

self.onmessage = ({ data }) => {
  if (data.module) {
    lock = navigator.locks ? (data.lock ?? null) : null;
    load(data.module);
  } else if (data.stop) {
    job = null;
    endTurn();
  } else if ("limit" in data) {
    limit = data.limit;
    measured = { hashes: 0, ms: 0 };
    clearTimeout(pause);
    pause = null;
    requestSlice();
  } else {
    reportErrors(() => begin(data));
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
  job = { id, header, next: BigInt.asUintN(64, BigInt(start)) };
  requestSlice();
}

function requestSlice() {
  // Slow mining costs the others little, and would waste turns.
  if (limit !== null) endTurn();
  if (sliceRequested || pause !== null) return;
  if (needsTurn()) return requestTurn();
  sliceRequested = true;
  nextSlice.port2.postMessage(null);
}

function needsTurn() {
  return turn === null && lock !== null && limit === null && !impatient;
}

/** Mines when the other tabs have had their turns: the browser grants a lock in the order of the requests. */
function requestTurn() {
  if (waiting || job === null) return;
  waiting = true;
  const patience = setTimeout(() => {
    impatient = true;
    requestSlice();
  }, PATIENCE_MS);
  const granted = () => {
    clearTimeout(patience);
    waiting = false;
    impatient = false;
  };
  const held = () =>
    new Promise((end) => {
      granted();
      turn = { ends: performance.now() + TURN_MS, end };
      if (job === null) endTurn();
      else requestSlice();
    });
  navigator.locks.request(lock, held).catch(() => {
    granted();
    lock = null;
    requestSlice();
  });
}

function endTurn() {
  if (turn === null) return;
  report();
  turn.end();
  turn = null;
}

function mineSlice() {
  if (job === null) return endTurn();
  // The turn ended after this slice was requested.
  if (needsTurn()) return requestTurn();
  const count = limit === null ? tries : Math.min(tries, Math.max(1, Math.round((limit * LIMITED_SLICE_MS) / 1000)));
  const began = performance.now();
  const nonce = mineBatch(job.header, job.next, count);
  const spent = performance.now() - began;

  const tried = nonce === undefined ? count : Number(BigInt.asUintN(64, nonce - job.next)) + 1;
  const ms = limit === null ? spent : Math.max(spent, (tried * 1000) / limit);
  measured.hashes += tried;
  measured.ms += ms;
  if (nonce !== undefined) {
    const { id } = job;
    report();
    job = null;
    endTurn();
    self.postMessage({ id, nonce: nonce.toString() });
    rest(ms - spent);
    return;
  }
  job.next = BigInt.asUintN(64, job.next + BigInt(count));
  if (measured.ms >= REPORT_MS) report();
  if (limit === null) {
    // Changes at most fourfold per step: one slow slice on a busy machine must not make the next ones tiny.
    const fitting = tries * Math.min(4, Math.max(0.25, SLICE_MS / Math.max(spent, 0.1)));
    tries = Math.round(Math.min(MAX_TRIES, Math.max(MIN_TRIES, fitting)));
  }
  rest(ms - spent);
  if (turn !== null && performance.now() >= turn.ends) endTurn();
  requestSlice();
}

/** Pauses mining for this time. */
function rest(ms) {
  if (ms <= 0) return;
  pause = setTimeout(() => {
    pause = null;
    requestSlice();
  }, ms);
}

function report() {
  if (job === null || measured.ms === 0) return;
  self.postMessage({ id: job.id, ...measured });
  measured = { hashes: 0, ms: 0 };
}

function reportErrors(work) {
  try {
    work();
  } catch (error) {
    job = null;
    endTurn();
    fail(error);
  }
}

function fail(error) {
  const reason = error instanceof Error ? error.message : String(error);
  self.postMessage({ error: `the mining worker failed: ${reason}` });
}
