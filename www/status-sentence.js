//! Describes the node's state in one sentence. Pure: takes what the node returned.

/** @typedef {{ sentence: string, tone: "good" | "busy" | "warning" }} StatusLine */

/**
 * @param {object | null} status the result of `status()`, null before the node runs
 * @param {object[]} peers the result of `peers()`
 * @param {(key: string, values?: object) => string} say
 * @returns {StatusLine}
 */
export function statusSentence(status, peers, say) {
  if (status === null || (status.state === "starting" && !status.isolated)) {
    return { sentence: say(startupKey(status)), tone: "busy" };
  }
  if (status.isolated) return { sentence: say("status.isolated"), tone: "warning" };
  const counts = countPaths(peers);
  const relayLost = !status.relays.some((relay) => relay.connected);
  const block = status.tip.index;
  if (counts.all === 0) {
    const key = relayLost ? "status.aloneWithoutRelay" : "status.alone";
    return { sentence: say(key), tone: "warning" };
  }
  if (status.state === "syncing") {
    const known = status.target ?? Math.max(...peers.map((peer) => peer.index ?? 0));
    const key = known > block ? "status.catchingUpTo" : "status.catchingUp";
    return { sentence: say(key, { block, known, ...counts }), tone: "busy" };
  }
  return relayLost
    ? { sentence: say("status.withoutRelay", counts), tone: "warning" }
    : { sentence: say("status.inSync", { block, ...counts }), tone: "good" };
}

/** What the node is still doing before its state is known. It accepts readings in the meantime. */
function startupKey(status) {
  if (status === null) return "status.starting";
  return (status.storage?.unchecked ?? 0) > 0 ? "status.checking" : "status.looking";
}

/** How many peers are connected by which path. Relays are not counted. */
function countPaths(peers) {
  const direct = peers.filter((peer) => peer.path === "direct").length;
  const relayed = peers.filter((peer) => peer.path === "relayed").length;
  return { all: direct + relayed, direct, relayed };
}
