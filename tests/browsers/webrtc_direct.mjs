//! WebRTC-direct to the relay in Firefox: by version 1, and by version 2 where pages may not rewrite session descriptions.

import { Firefox, until } from "./drivers.mjs";

/** @param {(title: string, work: () => Promise<string>) => Promise<void>} scenario */
export async function testWebRtcDirect(relay, scenario) {
  const { addresses } = await (await fetch(new URL("relay.json", relay.url))).json();
  const direct = addresses.find((address) => address.includes("/127.0.0.1/") && address.includes("/webrtc-direct/"));
  for (const version of [1, 2]) {
    const browser = await Firefox.start();
    try {
      await browser.preload(noteVersions);
      if (version === 2) await browser.preload(refuseRewriting);
      await scenario(`dials by WebRTC-direct, version ${version}`, async () => {
        const tab = await browser.tab();
        await tab.open(`${relay.url}?relay=${encodeURIComponent(direct)}`);
        const relays = "globalThis.heartchain?.status().relays ?? []";
        await until("a reservation", () => tab.evaluate(`(${relays}).some(({ address, reserved }) => reserved && address.includes("/webrtc-direct/"))`));
        const versions = await tab.evaluate("globalThis.versions");
        if (!versions.every((found) => found === String(version))) throw new Error(`versions ${versions}`);
      });
    } finally {
      await browser.end();
    }
  }
}

/** Keeps the versions of the servers' user names that the page connects with. */
function noteVersions() {
  globalThis.versions = [];
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    const [, version] = /a=ice-ufrag:libp2p\+webrtc\+v(\d)/.exec(description.sdp) ?? [];
    if (version !== undefined) globalThis.versions.push(version);
    return setRemoteDescription.call(this, description);
  };
}

/** Refuses what Chromium is about to refuse. */
function refuseRewriting() {
  const { setLocalDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setLocalDescription = function (description) {
    if (description?.sdp?.includes("a=ice-ufrag:libp2p+webrtc+v1")) {
      return Promise.reject(new DOMException("The credentials were changed.", "InvalidModificationError"));
    }
    return setLocalDescription.call(this, description);
  };
}
