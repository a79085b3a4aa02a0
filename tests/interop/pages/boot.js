//! Starts the peer of a page: on request of the test, or automatically if the page's address contains an address to dial.
//! The automatic start allows measuring the time from page start to the first direct connection without test overhead.

/** @param {(options: object) => Promise<object>} start creates the peer, which becomes `globalThis.peer` */
export function boot(start) {
  globalThis.startPeer = async (options) => {
    globalThis.peer = await start(options);
    return globalThis.peer.peerId();
  };
  const { dial, ...options } = location.hash === "" ? {} : JSON.parse(decodeURIComponent(location.hash.slice(1)));
  if (dial !== undefined) globalThis.connected = startAndDial(options, dial);
}

/** @returns {Promise<number>} the milliseconds from page start until the direct connection was established */
async function startAndDial(options, address) {
  await globalThis.startPeer(options);
  await globalThis.peer.dial(address);
  const peer = address.slice(address.lastIndexOf("/") + 1);
  return globalThis.peer.connections(peer).find(({ direct }) => direct).opened;
}
