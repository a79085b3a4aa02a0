//! Detects optional browser features. A page opened over plain http from another computer is not a "secure context", and
//! browsers disable some features there, such as storage locks and Bluetooth. Recording and syncing need none of them.

/**
 * Which optional features are missing here.
 *
 * @param {typeof globalThis} scope the page's global object
 * @returns {{ secure: boolean, missing: "clipboard"[], share: boolean }} `share` is never listed as missing, because the
 *   page works as well without it
 */
export function capabilities(scope) {
  const missing = [];
  if (!scope.navigator?.clipboard?.writeText) missing.push("clipboard");
  return { secure: scope.isSecureContext === true, missing, share: typeof scope.navigator?.share === "function" };
}
