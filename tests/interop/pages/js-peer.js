//! Runs js-libp2p in a page as `globalThis.peer`, with the same methods as `rust-peer.js`. It does not support Heartchain's
//! protocols.

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { gossipsub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { webRTC, webRTCDirect } from "@libp2p/webrtc";
import { webSockets } from "@libp2p/websockets";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { boot } from "./boot.js";
import { echoes, now, until } from "./measure.js";

const ECHO = "/interop/echo/1";
const BULK = "/interop/bulk/1";
const PING = "interop/ping";
const PONG = "interop/pong";
/** Bytes per write; the same as in the Rust peer. */
const CHUNK_LEN = 256 * 1024;
const LOST_AFTER_MS = 5_000;
const DIAL_TIMEOUT_MS = 20_000;
const IDENTIFY_TIMEOUT_MS = 10_000;

class JsPeer {
  #node;
  #opened = new Map();
  #identified = new Map();
  #awaited = null;

  static async start({ withGossip = false, refused = [] } = {}) {
    const peer = new JsPeer();
    const node = await createLibp2p({
      addresses: { listen: ["/webrtc"] },
      // The monitor pings automatically, and js-libp2p would then refuse our ping as a second concurrent one.
      connectionMonitor: { enabled: false },
      // No STUN servers: all peers are on one machine, and the tests must not contact third-party servers.
      transports: [webSockets(), webRTCDirect(), webRTC({ rtcConfiguration: { iceServers: [] } }), circuitRelayTransport()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      services: {
        identify: identify(),
        ping: ping(),
        ...(withGossip
          ? { pubsub: gossipsub({ globalSignaturePolicy: "StrictNoSign", allowPublishToZeroTopicPeers: true }) }
          : {}),
      },
    });
    peer.#node = node;
    node.addEventListener("connection:open", ({ detail }) => peer.#opened.set(detail.id, now()));
    node.addEventListener("peer:identify", ({ detail }) => peer.#identified.set(detail.connection.id, detail));
    await node.handle(ECHO, sendBack);
    await node.handle(BULK, count);
    // Heartchain disconnects peers that do not list the protocol of a room. So list it, but abort its streams.
    const refuse = (stream) => stream.abort(new Error("no Heartchain here"));
    for (const protocol of refused) await node.handle(protocol, refuse, { runOnLimitedConnection: true });
    if (withGossip) {
      const { pubsub } = node.services;
      pubsub.addEventListener("message", ({ detail }) => peer.#onGossip(detail));
      pubsub.subscribe(PING);
      pubsub.subscribe(PONG);
    }
    return peer;
  }

  peerId() {
    return this.#node.peerId.toString();
  }

  /** Connects to a relay and makes a reservation there. */
  async listen(relay) {
    const address = `${relay}/p2p-circuit`;
    await this.#node.components.transportManager.listen([multiaddr(address)]);
    const reserved = () => this.#node.getMultiaddrs().some((address) => address.toString().includes("/p2p-circuit"));
    await until("a reservation", reserved, DIAL_TIMEOUT_MS);
  }

  /** Dials a peer directly, and then closes all relayed connections to it. */
  async dial(address) {
    const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS);
    const connection = await this.#node.dial(multiaddr(address), { signal, force: true });
    for (const other of this.#connectionsWith(connection.remotePeer.toString())) {
      if (other.limits !== undefined) await other.close();
    }
  }

  async close(peer) {
    for (const connection of this.#connectionsWith(peer)) await connection.close();
  }

  connections(peer) {
    return this.#connectionsWith(peer).map((connection) => ({
      address: connection.remoteAddr.toString(),
      direct: connection.limits === undefined,
      dialer: connection.direction === "outbound",
      opened: this.#opened.get(connection.id),
    }));
  }

  /** Returns what the peer sent by identify on the direct connection. js-libp2p runs identify automatically. */
  async identify(peer) {
    const { id } = this.#direct(peer);
    const { agentVersion, protocols } = await until("identified", () => this.#identified.get(id), IDENTIFY_TIMEOUT_MS);
    return { agent: agentVersion, protocols };
  }

  async ping(peer) {
    return this.#node.services.ping.ping(this.#direct(peer).remotePeer, { signal: AbortSignal.timeout(LOST_AFTER_MS) });
  }

  async echo(peer, length) {
    return echoes(length, async (data) => {
      const stream = await this.#direct(peer).newStream(ECHO);
      const [back] = await Promise.all([readAll(stream), write(stream, data).then(() => stream.close())]);
      return back;
    });
  }

  /** Sends this many bytes on one stream. Returns the milliseconds until the peer has counted them. */
  async bulk(peer, length) {
    const stream = await this.#direct(peer).newStream(BULK);
    const start = now();
    const counted = readAll(stream);
    const chunk = new Uint8Array(CHUNK_LEN).fill(0x5a);
    for (let left = length; left > 0; left -= CHUNK_LEN) await write(stream, chunk.subarray(0, Math.min(CHUNK_LEN, left)));
    await stream.close();
    const answer = new DataView((await counted).buffer).getBigUint64(0);
    if (answer !== BigInt(length)) throw new Error(`the peer counted ${answer} of ${length} bytes`);
    return now() - start;
  }

  gossipPeers() {
    return this.#node.services.pubsub.getSubscribers(PING).length;
  }

  /** Publishes messages one after another, which the peer publishes back. Returns the milliseconds of each; NaN if lost. */
  async roundTrips(messages, size) {
    const times = [];
    for (let number = 0; number < messages; number += 1) {
      const data = new Uint8Array(Math.max(size, 4));
      new DataView(data.buffer).setUint32(0, number);
      const start = now();
      const arrived = await new Promise((settle, fail) => {
        const lost = setTimeout(() => settle(NaN), LOST_AFTER_MS);
        this.#awaited = { number, settle: (time) => (clearTimeout(lost), settle(time)) };
        this.#node.services.pubsub.publish(PING, data).catch(fail);
      });
      times.push(arrived - start);
    }
    return times;
  }

  #onGossip({ topic, data }) {
    if (topic === PING) {
      // js-libp2p identifies a message by its data alone, regardless of the topic, so the answer must differ.
      const answer = data.slice();
      answer[answer.length - 1] = 1;
      void this.#node.services.pubsub.publish(PONG, answer);
    } else if (new DataView(data.buffer, data.byteOffset).getUint32(0) === this.#awaited?.number) {
      this.#awaited.settle(now());
    }
  }

  #connectionsWith(peer) {
    return this.#node.getConnections().filter((connection) => connection.remotePeer.toString() === peer);
  }

  #direct(peer) {
    const direct = this.#connectionsWith(peer).find((connection) => connection.limits === undefined);
    if (direct === undefined) throw new Error(`no direct connection with ${peer}`);
    return direct;
  }
}

async function sendBack(stream) {
  for await (const data of stream) await write(stream, data);
  await stream.close();
}

async function count(stream) {
  let length = 0;
  for await (const data of stream) length += data.byteLength;
  const answer = new Uint8Array(8);
  new DataView(answer.buffer).setBigUint64(0, BigInt(length));
  await write(stream, answer);
  await stream.close();
}

async function write(stream, data) {
  if (!stream.send(data)) await stream.onDrain();
}

async function readAll(stream) {
  const parts = [];
  for await (const data of stream) parts.push(data.subarray());
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

boot((options) => JsPeer.start(options));
