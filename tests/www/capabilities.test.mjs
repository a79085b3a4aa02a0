//! What a browser lacks is named if it matters, and nothing else.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { capabilities, isPrivateAddress, isPrivateHost } from "../../www/input.js";

const chrome = () => ({
  isSecureContext: true,
  RTCPeerConnection: function () {},
  navigator: { vendor: "Google Inc.", clipboard: { writeText() {} }, share() {}, bluetooth: {} },
});

test("complete_browser_lacks_nothing", () => {
  assert.deepEqual(capabilities(chrome()), {
    secure: true, missing: [], clipboard: true, share: true, bluetooth: true, asksForStorage: false, forgetsAfterWeek: false,
  });
});

test("plain_http_and_missing_webrtc_are_named", () => {
  const scope = { isSecureContext: false, navigator: {} };
  const { missing, clipboard, bluetooth, share } = capabilities(scope);
  assert.deepEqual([missing, clipboard, bluetooth, share], [["insecure", "webrtc"], false, false, false]);
});

test("firefox_asks_and_safari_forgets", () => {
  assert.equal(capabilities({ ...chrome(), mozInnerScreenX: 0 }).asksForStorage, true);
  const safari = chrome();
  safari.navigator.vendor = "Apple Computer, Inc.";
  for (const platform of ["MacIntel", "iPhone", "iPad"]) {
    safari.navigator.platform = platform;
    assert.equal(capabilities(safari).forgetsAfterWeek, true, platform);
  }
  assert.equal(capabilities({ ...safari, navigator: { ...safari.navigator, platform: "Linux x86_64" } }).forgetsAfterWeek, false, "WebKitGTK");
  assert.equal(capabilities({ ...safari, matchMedia: () => ({ matches: true }) }).forgetsAfterWeek, false, "on the home screen");
});

test("private_hosts_are_recognized", () => {
  for (const host of ["localhost", "a.localhost", "nas.local", "127.0.0.1", "10.1.2.3", "192.168.0.7", "172.16.0.1", "172.31.9.9",
    "169.254.1.1", "[::1]", "::1", "[fd12::1]", "fe80::1"]) assert.ok(isPrivateHost(host), host);
  for (const host of ["heart.example", "172.32.0.1", "11.0.0.1", "192.169.0.1", "2001:db8::1", "local.example"]) assert.ok(!isPrivateHost(host), host);
  assert.ok(isPrivateAddress("/ip4/192.168.1.7/tcp/8081/ws/p2p/x"));
  assert.ok(isPrivateAddress("/dns4/relay.local/tcp/1/ws"));
  assert.ok(!isPrivateAddress("/dns4/relay.example/tcp/443/tls/ws"));
  assert.ok(!isPrivateAddress("nonsense"));
});

// The guard runs where the modules do not.

const guard = await readFile(new URL("../../www/guard.js", import.meta.url), "utf8");

/** Runs the guard in a page whose browser lacks some features, and returns what it does. */
function guarded({ lacks = () => {}, language = "en-US", noModule = true, readyState = "loading" } = {}) {
  const listeners = {};
  const notice = {
    hidden: true, textContent: "", children: [], appendChild(child) { this.children.push(child); }, removeAttribute() {},
  };
  const timers = [];
  const arrays = { toSorted() {}, findLast() {} };
  const window = {
    structuredClone() {}, customElements: {}, HTMLDialogElement: {}, ResizeObserver: {}, CSS: { supports: () => true },
    addEventListener: (type, listener) => (listeners[type] = listener),
  };
  const scope = {
    window, navigator: { language }, WebAssembly: {}, location: { reload() {} }, setTimeout: (work, ms) => timers.push({ work, ms }),
    Array: { prototype: arrays }, RegExp,
    document: {
      readyState,
      createElement: (tag) => (tag === "script" && noModule ? { noModule: true } : {}),
      getElementById: () => notice,
      addEventListener: (type, listener) => (listeners[type] = listener),
      documentElement: { className: "" },
    },
  };
  lacks({ window, arrays, scope });
  runInNewContext(guard, scope);
  return { window, notice, timers, fire: (type, event) => listeners[type](event), root: scope.document.documentElement };
}

test("old_browser_gets_a_sentence_instead_of_a_form", () => {
  const missing = [
    { noModule: false },
    { lacks: ({ arrays }) => delete arrays.toSorted },
    { lacks: ({ window }) => delete window.structuredClone },
    { lacks: ({ window }) => delete window.HTMLDialogElement },
    { lacks: ({ window }) => (window.CSS.supports = (condition) => condition !== "selector(:has(a))") },
    { lacks: ({ window }) => delete window.CSS.supports },
    { lacks: ({ scope }) => (scope.RegExp = function () { throw new SyntaxError("invalid group specifier name"); }) },
  ];
  for (const features of missing) {
    const { window, notice, fire, root } = guarded(features);
    fire("DOMContentLoaded");
    assert.match(notice.textContent, /too old.*Chrome.*Firefox.*Safari/);
    window.heartchainGuard.ready();
    assert.deepEqual([notice.hidden, root.className.trim()], [false, "page-dead"], "although some modules run");
  }
  const korean = guarded({ noModule: false, language: "ko-KR" });
  korean.fire("DOMContentLoaded");
  assert.match(korean.notice.textContent, /오래되어/);
});

test("guard_that_comes_late_looks_at_once", () => {
  assert.match(guarded({ noModule: false, readyState: "interactive" }).notice.textContent, /too old/);
});

test("missing_web_assembly_is_named", () => {
  const { notice, fire } = guarded({ lacks: ({ scope }) => (scope.WebAssembly = undefined) });
  fire("DOMContentLoaded");
  assert.match(notice.textContent, /WebAssembly/);
});

test("script_that_did_not_load_is_named", () => {
  const { notice, fire } = guarded();
  fire("DOMContentLoaded");
  assert.equal(notice.hidden, true);
  fire("error", { target: { tagName: "IMG" } });
  assert.equal(notice.hidden, true);
  fire("error", { target: { tagName: "SCRIPT" } });
  assert.match(notice.textContent, /didn't load completely/);
  assert.equal(notice.children.length, 1, "a button to reload");
});

test("page_that_reports_in_is_left_alone", () => {
  const { window, notice, timers, fire, root } = guarded();
  fire("DOMContentLoaded");
  window.heartchainGuard.ready();
  fire("load");
  timers[0].work();
  fire("error", { target: { tagName: "SCRIPT" } });
  assert.deepEqual([notice.hidden, root.className], [true, ""]);
});

test("page_that_never_reports_in_gets_a_sentence", () => {
  const { window, notice, timers, fire, root } = guarded();
  fire("DOMContentLoaded");
  fire("load");
  timers[0].work();
  assert.match(notice.textContent, /isn't ready yet/);
  assert.equal(root.className, "", "what works can still be used");
  window.heartchainGuard.ready();
  assert.equal(notice.hidden, true, "it came late");
});
