//! What the tests in JavaScript say with: they throw an Error in words when something is not so.

export function check(holds, words) {
  if (!holds) throw new Error(words);
}

/** Equal as JSON, the order of fields included. */
export function equal(found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  check(left === right, `${what}: found ${left}, expected ${right}`);
}

/** Is this an Error in words? */
export function inWords(error, what) {
  check(error instanceof Error, `${what} fails with an Error, not ${error}`);
  check(error.message.length > 10, `${what} fails in words: ${error.message}`);
}

/** The Error in words with which a promise rejects. */
export async function rejection(promise, what) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    inWords(error, what);
    return error;
  }
  throw new Error(`${what} is refused, but gave ${JSON.stringify(result)}`);
}

/** Waits for an event of this type for which `matches` is true, and gives its detail. */
export function heard(node, type, matches = () => true) {
  return new Promise((resolve) => {
    const listen = ({ detail }) => {
      if (!matches(detail)) return;
      node.removeEventListener(type, listen);
      resolve(detail);
    };
    node.addEventListener(type, listen);
  });
}

/** Records, waits until the chain has changed, and gives that event's detail. */
export async function recordInBlock(node, bpm) {
  const changed = heard(node, "chain");
  await node.record(bpm);
  return await changed;
}

export const HEX_32 = /^[0-9a-f]{64}$/;
export const HEX_64 = /^[0-9a-f]{128}$/;
export const DECIMAL = /^(0|[1-9][0-9]*)$/;
