//! Dials by rust-libp2p's own browser transport (`../websys`). `peer.visit` connects, pings and disconnects.

import init, { visit } from "/pkg/websys_peer.js";

globalThis.startPeer = async () => {
  await init();
  globalThis.peer = { visit };
};
