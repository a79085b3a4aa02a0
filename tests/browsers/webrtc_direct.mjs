//! WebRTC-direct to the relay in Firefox: by version 1, and by version 2 where pages may not rewrite session descriptions.
//!
//! Firefox has no candidates on loopback addresses, also where `media.peerconnection.ice.loopback` allows them: without the
//! permission for the camera it offers only the address of the default route, and it never pairs that with 127.0.0.1. So the
//! relay listens on an address of this computer.

import { networkInterfaces } from "node:os";
import { Firefox, until } from "./drivers.mjs";

/** An IPv4 address of this computer that is not a loopback one. */
export function localAddress() {
  return Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}

/** @param {(title: string, work: () => Promise<string>) => Promise<void>} scenario */
export async function testWebRtcDirect(relay, scenario) {
  const { addresses } = await (await fetch(new URL("relay.json", relay.url))).json();
  const direct = addresses.find((address) => address.includes("/webrtc-direct/"));
  for (const version of ["1", "2"]) {
    const browser = await Firefox.start();
    try {
      await browser.preload(noteVersions);
      if (version === "2") await browser.preload(refuseRewriting);
      await scenario(`reaches the relay by WebRTC-direct ${version}`, async () => {
        const tab = await browser.tab();
        await tab.open(`${relay.url}?relay=${encodeURIComponent(direct)}`);
        const reserved = "({ address, reserved }) => reserved && address.includes('/webrtc-direct/')";
        await until("a reservation", () => tab.evaluate(`(globalThis.heartchain?.status().relays ?? []).some(${reserved})`));
        const versions = await tab.evaluate("globalThis.versions");
        if (versions.length === 0 || versions.some((found) => found !== version)) throw new Error(`versions ${versions}`);
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
