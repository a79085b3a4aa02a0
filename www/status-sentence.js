//! The node's state in one true sentence. Never reads the node: it is given what the node said.

/** @typedef {{ sentence: string, tone: "good" | "busy" | "warning" }} StatusLine */

/**
 * @param {object | null} status what `status()` returned, null before the node runs
 * @param {object[]} peers what `peers()` returned
 * @param {(key: string, values?: object) => string} say
 * @returns {StatusLine}
 */
export function statusSentence(status, peers, say) {
  if (status === null || (status.state === "starting" && !status.isolated)) {
    return { sentence: say(beginning(status)), tone: "busy" };
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

/** What is still to come before the state is certain. A node that runs takes readings whatever it says. */
function beginning(status) {
  if (status === null) return "status.starting";
  return (status.storage?.unchecked ?? 0) > 0 ? "status.checking" : "status.looking";
}

/** How many peers are reached which way; the relays themselves do not count. */
function countPaths(peers) {
  const direct = peers.filter((peer) => peer.path === "direct").length;
  const relayed = peers.filter((peer) => peer.path === "relayed").length;
  return { all: direct + relayed, direct, relayed };
}
