//! A small React app with a peer, as a developer would write it. In development, StrictMode mounts every component twice.

import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import init, { HeartchainNode } from "heartchain/pkg/wasm_node.js";
import minerUrl from "heartchain/miner.js?worker&url";

/** What the test reads. */
const seen = (globalThis.seen = { mounts: 0, peers: [], errors: [] });

/** The peer of a room, or null until it runs. */
function usePeer(room) {
  const [node, setNode] = useState(null);
  useEffect(() => {
    seen.mounts += 1;
    const controller = new AbortController();
    const starting = init().then(() =>
      HeartchainNode.start({ room, minerUrl, relayDocument: RELAY_DOCUMENT }, { signal: controller.signal }),
    );
    starting.then(
      (started) => {
        if (controller.signal.aborted) return;
        seen.peers.push(started.status().peerId);
        setNode(started);
      },
      (error) => controller.signal.aborted || seen.errors.push(String(error)),
    );
    return () => {
      controller.abort();
      starting.then((started) => started.stop(), () => {});
      setNode(null);
    };
  }, [room]);
  return node;
}

function Peer({ room }) {
  const node = usePeer(room);
  const [tip, setTip] = useState(0);
  useEffect(() => {
    if (node === null) return undefined;
    const show = () => setTip(node.status().tip.index);
    node.addEventListener("chain", show);
    show();
    return () => node.removeEventListener("chain", show);
  }, [node]);
  if (node === null) return <p id="state">starting</p>;
  return <p id="state"><button onClick={() => node.record(72)}>Record</button> block {tip}</p>;
}

function App() {
  const [shown, setShown] = useState(true);
  globalThis.show = setShown;
  return shown ? <Peer room="react" /> : <p id="state">none</p>;
}

createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
