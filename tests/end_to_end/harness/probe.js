//! Runs in each page before the page's own scripts. Waits for conditions by events instead of polling, and reads only
//! what any script on the page could read. Does not change the page's behaviour.

(() => {
  const NODE_EVENTS = ["status", "chain", "peers", "reading", "names"];
  const MAX_BLOCKS_A_CALL = 512;
  const peerConnections = [];

  let node;
  let begin;
  const begun = new Promise((resolve) => (begin = resolve));
  Object.defineProperty(globalThis, "heartchain", {
    configurable: true,
    enumerable: true,
    get: () => node,
    set(value) {
      node = value;
      begin();
    },
  });

  const candidates = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
      super(...options);
      peerConnections.push(this);
      this.addEventListener("icecandidate", ({ candidate }) => candidate && candidates.push(candidate.candidate));
    }
  };

  let socketBytes = 0;
  globalThis.WebSocket = class extends WebSocket {
    constructor(...options) {
      super(...options);
      this.addEventListener("message", ({ data }) => (socketBytes += data.byteLength ?? data.size ?? data.length));
    }
    send(data) {
      socketBytes += data.byteLength ?? data.size ?? data.length;
      super.send(data);
    }
  };

  /** Resolves when `holds()` returns a truthy value. Checks at once, and whenever `watch` calls back. */
  function until(holds, watch, ms) {
    return new Promise((resolve, reject) => {
      let busy = false;
      let again = false;
      const end = (settle, value) => {
        clearTimeout(timer);
        unwatch();
        settle(value);
      };
      const look = async () => {
        again = true;
        if (busy) return;
        busy = true;
        while (again) {
          again = false;
          try {
            const found = await holds();
            if (found) return end(resolve, found);
          } catch (error) {
            return end(reject, error);
          }
        }
        busy = false;
      };
      const unwatch = watch(look);
      const timer = setTimeout(async () => {
        const missed = await Promise.race([holds(), new Promise((no) => setTimeout(no, 1000, false))]);
        end(reject, new Error(missed ? "timed out: the condition became true, but no event announced it" : "timed out"));
      }, ms);
      look();
    });
  }

  globalThis.heartchainTest = {
    /** Waits until `holds(node)` is truthy; checks after each of the node's events. */
    untilNode(holds, ms) {
      const watch = (look) => {
        begun.then(look);
        begun.then(() => NODE_EVENTS.forEach((type) => node.addEventListener(type, look)));
        return () => NODE_EVENTS.forEach((type) => node?.removeEventListener(type, look));
      };
      return until(() => node && holds(node), watch, ms);
    },

    /** Waits until `holds()` is truthy; checks after each change of the document. */
    untilPage(holds, ms) {
      const watch = (look) => {
        const observer = new MutationObserver(look);
        observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
        return () => observer.disconnect();
      };
      return until(holds, watch, ms);
    },

    /** Whether this text is visible in an element that matches the selector. */
    shows(selector, words) {
      return [...document.querySelectorAll(selector)].some(
        (element) => element.checkVisibility() && element.innerText.includes(words),
      );
    },

    /** The chain as the node returns it, from genesis to tip. */
    async blocks() {
      const { index } = node.status().tip;
      const blocks = [];
      for (let from = 0; from <= index; from += MAX_BLOCKS_A_CALL) {
        blocks.push(...(await node.blocks(from, Math.min(index, from + MAX_BLOCKS_A_CALL - 1))));
      }
      return blocks;
    },

    /** All readings of the chain, in chain order. */
    async readings() {
      return (await this.blocks()).flatMap((block) => block.readings);
    },

    /** Bytes sent and received over this page's data channels. */
    async channelBytes() {
      const sum = { sent: 0, received: 0 };
      for (const connection of peerConnections) {
        for (const report of (await connection.getStats()).values()) {
          if (report.type !== "data-channel") continue;
          sum.sent += report.bytesSent;
          sum.received += report.bytesReceived;
        }
      }
      return sum;
    },

    /** Bytes sent and received over succeeded ICE candidate pairs. */
    async pairBytes() {
      let sum = 0;
      for (const connection of peerConnections) {
        for (const report of (await connection.getStats()).values()) {
          if (report.type === "candidate-pair" && report.state === "succeeded") {
            sum += report.bytesSent + report.bytesReceived;
          }
        }
      }
      return sum;
    },

    /** The local ICE candidates that this page has gathered. */
    candidates: () => candidates,

    /** The local and remote candidate of each established connection. */
    async paths() {
      const paths = [];
      for (const connection of peerConnections.filter((one) => one.connectionState === "connected")) {
        const reports = await connection.getStats();
        const all = [...reports.values()];
        const pair = all.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
        const side = (id) => (({ address, port, candidateType }) => ({ address, port, candidateType }))(reports.get(id) ?? {});
        if (pair) paths.push({ local: side(pair.localCandidateId), remote: side(pair.remoteCandidateId) });
      }
      return paths;
    },

    /** From now on, `fewestPeers` holds the smallest number of peers that the node has had. */
    trackFewestPeers() {
      const update = () => (this.fewestPeers = Math.min(this.fewestPeers ?? Infinity, node.status().peers));
      NODE_EVENTS.forEach((type) => node.addEventListener(type, update));
      update();
    },

    /** Bytes sent and received over WebSockets. */
    socketBytes: () => socketBytes,

    /** The state that a failed test prints. */
    describe() {
      return {
        status: node?.status() ?? "no node",
        peers: node?.peers() ?? [],
        says: document.querySelector(".status-text")?.textContent.trim(),
        alert: document.querySelector("[role=alert]")?.textContent.trim(),
      };
    },
  };
})();
