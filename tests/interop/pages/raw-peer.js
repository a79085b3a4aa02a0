//! Bare data channels, for comparison: whoever drives the pages carries the signals. `globalThis.raw`.

import { now } from "./measure.js";

const MESSAGE = 16 * 1024;
/** The water marks that our streams use, too. */
const HIGH_WATER = 1024 * 1024;
const LOW_WATER = 256 * 1024;

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
      // Sends small messages back, and counts large ones until an empty one asks for the sum.
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
    const sum = new BigUint64Array(await counted)[0];
    if (sum !== BigInt(length)) throw new Error(`the other side counts ${sum} bytes of ${length}`);
    return now() - start;
  },
};
