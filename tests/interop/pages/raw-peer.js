//! Bare data channels as `globalThis.raw`: the baseline of `bench.mjs`, which carries the signalling between the pages.

import { now } from "./measure.js";

const MESSAGE = 16 * 1024;
/** The same water marks as our streams use. */
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 64 * 1024;

const connection = new RTCPeerConnection();
const candidates = [];
connection.addEventListener("icecandidate", ({ candidate }) => candidate && candidates.push(candidate.toJSON()));
let channel;
let arrived = () => {};
let received = 0;

function use(opened) {
  channel = opened;
  channel.binaryType = "arraybuffer";
  channel.bufferedAmountLowThreshold = LOW_WATER;
  channel.addEventListener("message", ({ data }) => arrived(data));
}

globalThis.raw = {
  async offer() {
    use(connection.createDataChannel(""));
    await connection.setLocalDescription();
    return connection.localDescription.toJSON();
  },

  async answer(offer) {
    connection.addEventListener("datachannel", ({ channel }) => {
      use(channel);
      // Echoes small messages, and counts the bytes of large ones until an empty message requests the total.
      arrived = (data) => {
        if (data.byteLength === MESSAGE) received += data.byteLength;
        else if (data.byteLength > 0) channel.send(data);
        else {
          channel.send(new BigUint64Array([BigInt(received)]));
          received = 0;
        }
      };
    });
    await connection.setRemoteDescription(offer);
    await connection.setLocalDescription();
    return connection.localDescription.toJSON();
  },

  accept: (answer) => connection.setRemoteDescription(answer),
  candidates: () => candidates.splice(0),
  add: async (found) => {
    for (const candidate of found) await connection.addIceCandidate(candidate);
  },
  open: () => channel?.readyState === "open",
  openedAfter: () => now(),

  async roundTrips(messages, size) {
    const times = [];
    for (let number = 0; number < messages; number += 1) {
      const start = now();
      const back = new Promise((settle) => (arrived = settle));
      channel.send(new Uint8Array(size));
      await back;
      times.push(now() - start);
    }
    return times;
  },

  async bulk(length) {
    const start = now();
    const piece = new Uint8Array(MESSAGE);
    for (let left = length; left > 0; left -= MESSAGE) {
      channel.send(piece);
      if (channel.bufferedAmount > HIGH_WATER) {
        await new Promise((done) => channel.addEventListener("bufferedamountlow", done, { once: true }));
      }
    }
    const counted = new Promise((settle) => (arrived = settle));
    channel.send(new Uint8Array(0));
    const total = new BigUint64Array(await counted)[0];
    if (total !== BigInt(length)) throw new Error(`the other side counted ${total} of ${length} bytes`);
    return now() - start;
  },
};
