// How a strict TypeScript project uses the package. `run.mjs` compiles it against the generated types.

import init, { HeartchainNode, type CsvOptions, type HeartchainError, type NodeOptions } from "./wasm_node.js";

/** `Node` is the DOM's. */
export async function show(target: Node, rooms: readonly string[]): Promise<void> {
  await init();
  const alone = await HeartchainNode.start();
  const options: NodeOptions = { room: rooms[0], relays: rooms, iceServers: [{ urls: rooms, username: undefined }], minerUrl: undefined };
  const node = await HeartchainNode.start(options, { signal: AbortSignal.timeout(1_000) });
  node.addEventListener("status", {
    handleEvent({ detail }) {
      target.textContent = detail.state === "stopped" ? "stopped" : String(detail.peers);
    },
  });
  const onChain = (event: CustomEvent<{ reorg: boolean }>) => console.log(event.detail.reorg);
  node.addEventListener("chain", onChain, { once: true });
  node.removeEventListener("chain", onChain);
  try {
    const { id, seq }: { id: string; seq: number } = await node.record(72);
    console.log(id, seq, node.ownReadings(3)[0]?.index ?? null);
  } catch (error) {
    const { code } = error as HeartchainError;
    if (code === "busy" || code === "storage") console.log("try again");
  }
  const csv: CsvOptions = { separator: ";" };
  const file: Blob = await node.exportCsv(csv);
  console.log(file.size, node.status().minerError, node.status().relayDocumentError);
  const stopped: Promise<void> = node.stop();
  await Promise.all([stopped, alone.stop()]);
}

/** Mistakes that the types notice. */
export async function mistakes(node: HeartchainNode): Promise<void> {
  // @ts-expect-error a misspelt option
  await HeartchainNode.start({ rooom: "a" });
  // @ts-expect-error a misspelt event
  node.addEventListener("statsu", () => {});
  // @ts-expect-error a text instead of a number
  await node.record("72");
}
