//! Benchmark: measures the same operations on js-libp2p, on this repository's WebRTC and on bare data channels, in one
//! browser and in alternation. Run it with `tests/run.sh bench`, or
//!
//!     node bench.mjs FOLDER_OF_INTEROP_PEER [RUNS]
//!
//! Prints one table. Fails only if a measurement of our code fails or loses messages.

import { Stage, until } from "./stage.mjs";

const MEBIBYTE = 1024 * 1024;
const BULK = 64 * MEBIBYTE;
/** Gossip messages that are sent as warm-up and not measured. */
const WARM_UP = 50;
const MESSAGES = 500;
/** About the size of a reading. */
const MESSAGE_BYTES = 200;
const TIMEOUT_MS = 30_000;
/** A measurement that takes longer counts as failed. */
const MEASUREMENT_TIMEOUT_MS = 180_000;
/** Time for gossipsub to build its mesh, which it does on its heartbeat once a second. */
const SETTLE_MS = 2_500;

const [wasm, runs = "10"] = process.argv.slice(2);
const kinds = [
  { name: "js-libp2p", measure: (relay, figures) => libp2p(relay, "js", figures) },
  { name: "this", measure: (relay, figures) => libp2p(relay, "rust", figures) },
  { name: "raw channel", measure: (_, figures) => raw(figures) },
  { name: "a Heartchain tab", measure: (relay, figures) => tabs(relay, figures) },
];
for (const kind of kinds) kind.figures = { starts: [], trips: [], rates: [], failures: [] };

const stage = await Stage.open({ wasm });
try {
  const relay = await stage.heartchainRelay();
  for (let run = 0; run < Number(runs); run += 1) {
    // Rotate the order, so that load peaks of the machine do not always hit the same kind.
    for (let turn = 0; turn < kinds.length; turn += 1) {
      const kind = kinds[(run + turn) % kinds.length];
      await withTimeout(kind.measure(relay, kind.figures)).catch((error) => kind.figures.failures.push(error));
      await stage.closePages();
    }
  }
} finally {
  await stage.close();
}
report();

async function libp2p(relay, kind, { starts, trips, rates }) {
  const answerer = await stage.page(kind);
  await answerer.waitForFunction(() => globalThis.startPeer);
  const id = await answerer.evaluate(() => startPeer({ withGossip: true }));
  await answerer.evaluate((address) => peer.listen(address), relay.address);
  const dial = `${relay.address}/p2p-circuit/webrtc/p2p/${id}`;
  const dialler = await stage.page(kind, { dial, withGossip: true });
  await dialler.waitForFunction(() => globalThis.connected);
  starts.push(await dialler.evaluate(() => connected));
  for (const page of [dialler, answerer]) {
    await until("gossip", () => page.evaluate(() => peer.gossipPeers() > 0), TIMEOUT_MS);
  }
  await new Promise((done) => setTimeout(done, SETTLE_MS));
  await dialler.evaluate(([count, size]) => peer.roundTrips(count, size), [WARM_UP, MESSAGE_BYTES + 1]);
  trips.push(...(await dialler.evaluate(([count, size]) => peer.roundTrips(count, size), [MESSAGES, MESSAGE_BYTES])));
  rates.push(BULK / (await dialler.evaluate(([id, length]) => peer.bulk(id, length), [id, BULK])));
}

async function raw({ trips, rates }) {
  const [one, other] = [await stage.page("raw"), await stage.page("raw")];
  for (const page of [one, other]) await page.waitForFunction(() => globalThis.raw);
  const answer = await other.evaluate((offer) => raw.answer(offer), await one.evaluate(() => raw.offer()));
  await one.evaluate((answer) => raw.accept(answer), answer);
  const open = async () => {
    for (const [from, to] of [[one, other], [other, one]]) {
      await to.evaluate((found) => raw.add(found), await from.evaluate(() => raw.candidates()));
    }
    return one.evaluate(() => raw.open());
  };
  await until("a channel", open, TIMEOUT_MS);
  await one.evaluate(([count, size]) => raw.roundTrips(count, size), [WARM_UP, MESSAGE_BYTES]);
  trips.push(...(await one.evaluate(([count, size]) => raw.roundTrips(count, size), [MESSAGES, MESSAGE_BYTES])));
  rates.push(BULK / (await one.evaluate((length) => raw.bulk(length), BULK)));
}

/** The real page, which has to discover its peer first. */
async function tabs(relay, { starts }) {
  const first = await stage.page(relay.page);
  await first.waitForFunction(() => globalThis.heartchain?.status().relays.some(({ reserved }) => reserved));
  // Also wait for the registration at the rendezvous point, as for a tab that has been open for a while.
  await new Promise((done) => setTimeout(done, SETTLE_MS));
  const second = await stage.page(relay.page);
  const direct = () => globalThis.heartchain?.peers().some(({ path }) => path === "direct") && performance.now();
  starts.push(await (await second.waitForFunction(direct, undefined, { polling: 10 })).jsonValue());
}

async function withTimeout(measurement) {
  let clock;
  const late = new Promise((_, fail) => {
    clock = setTimeout(() => fail(new Error(`timed out after ${MEASUREMENT_TIMEOUT_MS} ms`)), MEASUREMENT_TIMEOUT_MS);
  });
  await Promise.race([measurement, late]).finally(() => clearTimeout(clock));
}

function report() {
  const lost = (trips) => trips.filter((time) => !(time >= 0)).length;
  const rows = [
    ["page start to direct connection, ms", ({ starts }) => range(starts, 0)],
    [
      "round trip p50 / p95 / p99, ms",
      ({ trips }) => [0.5, 0.95, 0.99].map((part) => quantile(trips, part, 1)).join(" / "),
    ],
    ["lost", ({ trips }) => `${lost(trips)} of ${trips.length}`],
    ["measurements that failed", ({ failures }) => failures.length],
    ["64 MiB on one stream, MiB/s", ({ rates }) => perSecond(rates)],
  ];
  console.log(`| ${runs} runs | ${kinds.map(({ name }) => name).join(" | ")} |\n|---|${kinds.map(() => "---|").join("")}`);
  for (const [what, cell] of rows) {
    console.log(`| ${what} | ${kinds.map(({ figures }) => cell(figures) ?? "").join(" | ")} |`);
  }
  for (const { name, figures } of kinds) {
    // The other lines of the message are the browser's log.
    for (const error of figures.failures) console.log(`${name}: ${String(error).split("\n")[0]}`);
  }
  const errors = stage.takeErrors();
  if (errors.length > 0) console.log(`Errors in pages:\n${errors.join("\n")}`);
  // Failures of js-libp2p are reported, but do not fail the benchmark.
  const ours = kinds.filter(({ name }) => name !== "js-libp2p");
  process.exitCode = ours.some(({ figures }) => figures.failures.length > 0 || lost(figures.trips) > 0) ? 1 : 0;
}

function perSecond(rates) {
  return range(rates.map((rate) => (rate * 1_000) / MEBIBYTE), 1);
}

/** Formats the median, the minimum and the maximum. */
function range(values, digits) {
  if (values.length === 0) return "";
  const [median, minimum, maximum] = [0.5, 0, 1].map((part) => quantile(values, part, digits));
  return `${median} (${minimum} to ${maximum})`;
}

function quantile(values, part, digits) {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]?.toFixed(digits) ?? "";
}
