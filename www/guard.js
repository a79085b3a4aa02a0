//! Says why the page does not work, if it does not: the browser is too old, or a part was not loaded. A classic script in the
//! JavaScript of 2009, because it must run where the modules do not. `index.js` reports in with `heartchainGuard.ready()`.

(function () {
  "use strict";

  /** How long the page may take after all its files have arrived, ms. */
  var PATIENCE_MS = 15000;

  var TEXTS = {
    en: {
      old: "This browser is too old for Heartchain. Use Chrome or Edge 110, Firefox 121, Safari 16.4, or newer.",
      wasm: "This browser doesn't run WebAssembly here, which Heartchain needs. Lockdown Mode and some settings turn it off; allow it for this page, or use another browser.",
      part: "The page didn't load completely. Check the connection and reload it.",
      slow: "The page isn't ready yet. If it stays like this, reload it, or use a newer browser (Chrome or Edge 110, Firefox 121, Safari 16.4, or newer).",
      reload: "Reload",
    },
    ko: {
      old: "이 브라우저는 너무 오래되어 Heartchain을 열 수 없습니다. Chrome 또는 Edge 110, Firefox 121, Safari 16.4 이상을 사용하세요.",
      wasm: "이 브라우저에서는 Heartchain에 필요한 WebAssembly를 실행할 수 없습니다. 차단 모드나 일부 설정이 이를 끕니다. 이 페이지에 허용하거나 다른 브라우저를 사용하세요.",
      part: "페이지를 모두 불러오지 못했습니다. 연결을 확인하고 새로고침하세요.",
      slow: "페이지가 아직 준비되지 않았습니다. 계속 이 상태이면 새로고침하거나 더 새로운 브라우저(Chrome 또는 Edge 110, Firefox 121, Safari 16.4 이상)를 사용하세요.",
      reload: "새로고침",
    },
  };

  var ready = false;
  var shown = null;

  /** What the modules need. Features are tested, not versions, which browsers do not always tell truly. */
  function fault() {
    try {
      if (!("noModule" in document.createElement("script"))) return "old";
      if (!Array.prototype.toSorted || !Array.prototype.findLast || !window.structuredClone) return "old";
      if (!window.customElements || !window.HTMLDialogElement || !window.ResizeObserver || !window.CSS) return "old";
      if (!window.CSS.supports("selector(:has(a))")) return "old";
      // Safari before 16.4 cannot compile this.
      new RegExp("(?<=a)b");
    } catch (error) {
      return "old";
    }
    return typeof WebAssembly === "object" && WebAssembly !== null ? null : "wasm";
  }

  function show(kind) {
    if (ready || shown === "old" || shown === "wasm") return;
    shown = kind;
    var notice = document.getElementById("guard");
    if (!notice) return;
    var texts = /^ko\b/i.test(navigator.language || "") ? TEXTS.ko : TEXTS.en;
    notice.textContent = texts[kind] + " ";
    notice.hidden = false;
    notice.removeAttribute("hidden");
    if (kind === "part" || kind === "slow") {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = texts.reload;
      button.onclick = function () {
        location.reload();
      };
      notice.appendChild(button);
    }
    // A form that does nothing looks alive.
    if (kind !== "slow") document.documentElement.className += " page-dead";
  }

  window.heartchainGuard = {
    /** Called once everything is connected. */
    ready: function () {
      // Some modules run in an old browser, and others do not.
      if (shown === "old" || shown === "wasm") return;
      ready = true;
      var notice = document.getElementById("guard");
      if (notice) notice.hidden = true;
      document.documentElement.className = document.documentElement.className.replace(/ ?page-dead/g, "");
    },
    /** Called when a part that the page needs could not be loaded. */
    failed: function () {
      show("part");
    },
  };

  // Errors of scripts do not bubble, but can be captured.
  window.addEventListener(
    "error",
    function (event) {
      var target = event.target;
      if (target && target.tagName === "SCRIPT") show("part");
    },
    true
  );

  function look() {
    var found = fault();
    if (found) show(found);
    else if (shown) show(shown);
  }

  // The script may arrive before or after the rest of the page.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", look);
  else look();
  window.addEventListener("load", function () {
    setTimeout(function () {
      if (!ready && !shown) show("slow");
    }, PATIENCE_MS);
  });
})();
