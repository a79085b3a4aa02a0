//! Replaces the wasm package in tests of the page's rendering: a node with a chain of any length, computed on demand,
//! and with readings at any rate. Verifies nothing and connects to no one. The page's address sets the sizes:
//! `?blocks=100000&authors=12&rate=20&fork=7&blockMs=1000` (`rate`: readings per second, with a block each second; `fork`: blocks of
//! a side branch at the tip; `session` and `gapMs`: after so many blocks there is a pause).

const parameters = new URLSearchParams(location.search);
const parameter = (name, fallback) => Number(parameters.get(name) ?? fallback);

const AUTHORS = parameter("authors", 4);
const PEERS = parameter("peers", 3);
const RATE = parameter("rate", 0);
const READINGS_A_BLOCK = parameter("readings", 10);
const FORK = parameter("fork", 0);
/** Time between two blocks of the past, ms. */
const BLOCK_MS = parameter("blockMs", 1_000);

/** Blocks of one session, and the pause between two sessions, ms. */
const SESSION = parameter("session", Infinity);
const GAP_MS = parameter("gapMs", 0);

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export default async function init() {}

export function qrCode() {
  return undefined;
}

export async function rooms() {
  return [];
}

export async function labelRoom() {}

export async function deleteRoom() {}

export async function importIdentity() {
  throw Object.assign(new Error("there are no move files here"), { code: "not-a-move-file" });
}

export function createPrivateRoom(label) {
  return `#private=${"A".repeat(48)}&label=${encodeURIComponent(label)}`;
}

export class HeartchainNode extends EventTarget {
  #began = Date.now();
  #pastTip = parameter("blocks", 10);
  /** The blocks made since the page was opened. */
  #fresh = [];
  #pending = [];
  #count = 0;

  static async start() {
    const node = new HeartchainNode();
    if (RATE > 0) node.#run();
    return node;
  }

  status() {
    return {
      peerId: peerIdOf(0),
      author: authorOf(0),
      room: "lobby",
      private: false,
      genesis: hashOf(0),
      tip: { index: this.#tip, hash: hashOf(this.#tip) },
      target: null,
      totalWork: String(this.#tip),
      mempool: this.#pending.length,
      state: "synced",
      relays: [{ address: "/ip4/127.0.0.1/tcp/1/ws", peerId: "relay", connected: true, reserved: true, full: false }],
      peers: PEERS,
      clockOffsetMs: null,
      hashesPerSecond: null,
      storage: { kind: "memory", slot: null, reason: null, persisted: null, usage: null, quota: null, failing: false, saving: 0, lost: null, repaired: 0, unchecked: 0 },
      isolated: false,
      miningLimit: null,
      version: "0.0.0",
      heldBack: null,
      minerError: null,
      relayDocumentError: null,
    };
  }

  peers() {
    return Array.from({ length: PEERS }, (_, i) => ({
      peerId: peerIdOf(i + 1),
      author: authorOf(i + 1),
      path: i % 4 === 3 ? "relayed" : "direct",
      rttMs: 2 + i,
      index: this.#tip,
    }));
  }

  pending(limit = 100) {
    return this.#pending.slice(0, limit);
  }

  ownReadings(limit) {
    const own = (readings, index) => readings.filter(({ author }) => author === authorOf(0)).map((reading) => ({ ...reading, index }));
    const found = own(this.#pending, null);
    for (let index = this.#tip; index > 0 && found.length < limit; index -= 1) found.push(...own(this.#readingsOf(index), index));
    return found.slice(0, limit);
  }

  branches() {
    if (FORK === 0) return [];
    const tip = this.#tip;
    const blocks = Array.from({ length: FORK }, (_, i) => ({ index: tip - i, hash: hex(tip - i, 8) }));
    return [{ tip: blocks[0].hash, index: tip, fork: tip - FORK, blocks }];
  }

  async blocks(from, to) {
    const last = Math.min(to, this.#tip);
    return Array.from({ length: Math.max(0, last - from + 1) }, (_, i) => this.#block(from + i));
  }

  async requestPersistence() {
    return false;
  }

  names() {
    return [];
  }

  async setName() {}

  async exportIdentity() {
    return new Blob([]);
  }

  async retire() {}

  stop() {}

  get #tip() {
    return this.#pastTip + this.#fresh.length;
  }

  #run() {
    setInterval(() => {
      const reading = this.#reading(this.#count % AUTHORS, Date.now(), 1e9 + this.#count);
      this.#count += 1;
      this.#pending.push(reading);
      this.#emit("reading", reading);
    }, 1000 / RATE);
    setInterval(() => {
      this.#fresh.push({ time: Date.now(), readings: this.#pending });
      this.#pending = [];
      this.#emit("chain", { from: this.#tip, to: this.#tip, reorg: false });
      this.#emit("status", this.status());
    }, 1000);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #block(index) {
    return {
      index,
      time: this.#timeOf(index),
      prevHash: index === 0 ? "0".repeat(64) : hashOf(index - 1),
      hash: hashOf(index),
      readingsRoot: hex(index, 3),
      bits: 0x1f00ffff,
      nonce: String(index),
      readings: this.#readingsOf(index),
    };
  }

  #timeOf(index) {
    return index > this.#pastTip ? this.#fresh[index - this.#pastTip - 1].time : this.#began - this.#age(this.#pastTip - index);
  }

  /** How long before the newest block of the past another one was mined, ms. */
  #age(blocks) {
    return blocks * BLOCK_MS + Math.floor(blocks / SESSION) * GAP_MS;
  }

  #readingsOf(index) {
    if (index === 0) return [];
    if (index > this.#pastTip) return this.#fresh[index - this.#pastTip - 1].readings;
    return Array.from({ length: READINGS_A_BLOCK }, (_, i) =>
      this.#reading((index + i) % AUTHORS, this.#timeOf(index) - i * 50, index * READINGS_A_BLOCK + i),
    );
  }

  #reading(author, time, seq) {
    const bpm = Math.round(70 + author * 5 + 12 * Math.sin(seq / 6 + author) + ((seq * 7919) % 9));
    return { id: hex(seq, 5), author: authorOf(author), seq, time, bpm, signature: hex(seq, 6) + hex(seq, 7) };
  }
}

function authorOf(number) {
  return hex(number + 1, 1);
}

function hashOf(index) {
  return `0000${hex(index, 2).slice(4)}`;
}

/** 64 deterministic hex digits that look random. */
function hex(number, kind) {
  let state = (Math.imul(number, 2_654_435_761) + Math.imul(kind, 40_503)) >>> 0;
  let digits = "";
  while (digits.length < 64) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    digits += state.toString(16).padStart(8, "0");
  }
  return digits;
}

/** The same peer ID that the page derives for this author, so that own readings are recognized. */
function peerIdOf(number) {
  const bytes = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20, ...authorOf(number).match(/../g).map((byte) => Number.parseInt(byte, 16))];
  let rest = bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
  let text = "";
  while (rest > 0n) {
    text = BASE58.charAt(Number(rest % 58n)) + text;
    rest /= 58n;
  }
  return `1${text}`;
}
