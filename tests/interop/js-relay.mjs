//! A circuit relay of js-libp2p with its default limits, or with room for as many clients as the first argument says.
//! Prints its address, and runs until it is killed.

import "./node20-polyfill.mjs";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { circuitRelayServer } from "@libp2p/circuit-relay-v2";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { webSockets } from "@libp2p/websockets";
import { createLibp2p } from "libp2p";

const clients = process.argv[2] === undefined ? undefined : Number(process.argv[2]);
const relay = clients === undefined ? {} : { reservations: { maxReservations: clients, applyDefaultLimit: false } };
const limits = clients === undefined ? {} : {
  connectionManager: { maxConnections: 2 * clients, maxIncomingPendingConnections: clients, inboundConnectionThreshold: clients },
};
const node = await createLibp2p({
  ...limits,
  addresses: { listen: ["/ip4/127.0.0.1/tcp/0/ws"] },
  transports: [webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), relay: circuitRelayServer(relay) },
});
console.log(node.getMultiaddrs()[0].toString());
