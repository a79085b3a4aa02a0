//! Starts a page's peer: when the test asks for it, or by itself when the page's address says so, so that nothing but the
//! page is in the time from its start to its first direct connection.

/** @param {(options: object) => Promise<object>} start makes the peer that `globalThis.peer` becomes */
export function boot(start) {
  globalThis.startPeer = async (options) => {
    globalThis.peer = await start(options);
    return globalThis.peer.peerId();
  };
  const { dial, ...options } = location.hash === "" ? {} : JSON.parse(decodeURIComponent(location.hash.slice(1)));
  if (dial !== undefined) globalThis.connected = startAndDial(options, dial);
}

/** @returns {Promise<number>} the milliseconds from the page's start until the direct connection stood */
async function startAndDial(options, address) {
  await globalThis.startPeer(options);
  await globalThis.peer.dial(address);
  const peer = address.slice(address.lastIndexOf("/") + 1);
  return globalThis.peer.connections(peer).find(({ direct }) => direct).opened;
}
