//! What of the browser this page can do without, and whether it is there. Opened over plain http from another
//! machine a page is no "secure context" and browsers withhold some features; recording and syncing need none.

/**
 * The optional features that this browser withholds here.
 *
 * @param {typeof globalThis} scope the page's global object
 * @returns {{ secure: boolean, missing: "clipboard"[], share: boolean }} share: nobody misses it where it is not
 */
export function capabilities(scope) {
  const missing = [];
  if (!scope.navigator?.clipboard?.writeText) missing.push("clipboard");
  return { secure: scope.isSecureContext === true, missing, share: typeof scope.navigator?.share === "function" };
}
