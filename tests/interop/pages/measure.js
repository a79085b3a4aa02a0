//! Measuring helpers for the pages of all kinds of peers.

/** Milliseconds since the page was opened. */
export const now = () => performance.now();

/** Waits until `condition` returns a truthy value; fails after `limit` milliseconds. */
export async function until(what, condition, limit) {
  const end = now() + limit;
  for (;;) {
    const found = condition();
    if (found) return found;
    if (now() > end) throw new Error(`timed out after ${limit} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** Sends pseudo-random bytes with `send`, verifies the echo, and returns the milliseconds that it took. */
export async function echoes(length, send) {
  const data = new Uint8Array(length);
  for (let at = 0, seed = length; at < length; at += 1) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0;
    data[at] = seed >>> 16;
  }
  const start = now();
  const back = await send(data);
  const took = now() - start;
  if (back.length !== length) throw new Error(`${back.length} of ${length} bytes came back`);
  const wrong = back.findIndex((byte, at) => byte !== data[at]);
  if (wrong !== -1) throw new Error(`byte ${wrong} of ${length} came back changed`);
  return took;
}
