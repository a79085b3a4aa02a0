//! A js-libp2p peer that meets the Heartchain tab in the frame beside it: through the relay it offers a direct
//! connection, pings over it and closes it, again and again. It never speaks Heartchain.

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { webRTC } from "@libp2p/webrtc";
import { webSockets } from "@libp2p/websockets";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";

const ROUNDS = 50;
const PINGS = 5;
const DIAL_MS = 20_000;
const PING_MS = 5_000;
/** The other side must know of a connection's end within this time. */
const CLOSED_MS = 1_000;

const tell = (report) => fetch("/report", { method: "POST", body: JSON.stringify(report) });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

run().then(
  (dials) => tell({ passed: true, dials }),
  (error) => tell({ passed: false, error: error.stack ?? String(error) }),
);

async function run() {
  const tab = await heartchain();
  const { peerId, genesis, relays } = tab.status();
  const relay = relays[0].address;
  const node = await createLibp2p({
    addresses: { listen: ["/webrtc"] },
    transports: [webSockets(), webRTC(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify(), ping: ping() },
  });
  // Whoever does not name the room's protocol is let go. Its messages are not for us.
  const refuse = (stream) => stream.abort(new Error("no Heartchain here"));
  await node.handle(`/heartchain/1/${genesis}/sync`, refuse, { runOnLimitedConnection: true });
  const paths = () => tab.peers().filter((peer) => peer.peerId === node.peerId.toString()).map((peer) => peer.path);

  const dials = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const start = performance.now();
    const address = multiaddr(`${relay}/p2p-circuit/webrtc/p2p/${peerId}`);
    const connection = await node.dial(address, { signal: AbortSignal.timeout(DIAL_MS), force: true });
    dials.push(Math.round(performance.now() - start));
    if (connection.limits !== undefined) throw new Error(`round ${round} is relayed`);
    for (let count = 0; count < PINGS; count += 1) {
      await node.services.ping.ping(connection.remotePeer, { signal: AbortSignal.timeout(PING_MS) });
    }
    if (!paths().includes("direct")) throw new Error(`in round ${round} the tab sees ${paths()}`);
    for (const open of node.getConnections(connection.remotePeer)) await open.close();
    for (const end = performance.now() + CLOSED_MS; paths().length > 0; await sleep(20)) {
      if (performance.now() > end) throw new Error(`after round ${round} the tab sees ${paths()}`);
    }
  }
  return dials;
}

/** The node of the Heartchain page in the frame, once a relay keeps a place for it. */
async function heartchain() {
  const { contentWindow } = document.querySelector("iframe");
  const ready = () => contentWindow.heartchain?.status().relays.some((relay) => relay.reserved);
  while (!ready()) await sleep(50);
  return contentWindow.heartchain;
}
