//! Runs the peer of `../peer` (rust-libp2p on libp2p-webrtc-browser) in a page, with the same methods as `js-peer.js`.

import init, { Peer } from "/pkg/interop_peer.js";
import { boot } from "./boot.js";
import { echoes, until } from "./measure.js";

const TIMEOUT_MS = 10_000;

class RustPeer {
  #peer;

  static async start() {
    await init();
    const peer = new RustPeer();
    peer.#peer = Peer.start();
    return peer;
  }

  peerId() {
    return this.#peer.peerId();
  }

  listen(relay) {
    return this.#peer.listen(relay);
  }

  dial(address) {
    return this.#peer.dial(address);
  }

  close(peer) {
    this.#peer.close(peer);
  }

  connections(peer) {
    return this.#peer.connections(peer);
  }

  identify(peer) {
    return until("identified", () => {
      const { agent, protocols } = this.#direct(peer);
      return agent && { agent, protocols };
    }, TIMEOUT_MS);
  }

  ping(peer) {
    return until("a ping", () => this.#direct(peer).pingMs, TIMEOUT_MS);
  }

  async echo(peer, length) {
    // A stream may use any connection, so the relayed one has to be closed first.
    await until("the relayed connection gone", () => this.connections(peer).every(({ direct }) => direct), TIMEOUT_MS);
    return echoes(length, (data) => this.#peer.echo(peer, data));
  }

  async bulk(peer, length) {
    await until("the relayed connection gone", () => this.connections(peer).every(({ direct }) => direct), TIMEOUT_MS);
    return this.#peer.bulk(peer, length);
  }

  gossipPeers() {
    return this.#peer.gossipPeers();
  }

  async roundTrips(messages, size) {
    return [...(await this.#peer.roundTrips(messages, size))];
  }

  #direct(peer) {
    const direct = this.connections(peer).find((connection) => connection.direct);
    if (direct === undefined) throw new Error(`no direct connection with ${peer}`);
    return direct;
  }
}

boot((options) => RustPeer.start(options));
