//! Assertions and helpers for the tests in JavaScript. An assertion throws a descriptive Error if it fails.

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

/** Asserts that two values are equal as JSON, including the order of fields. */
export function equal(found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  check(left === right, `${what}: found ${left}, expected ${right}`);
}

/** Asserts that this is an Error with a description. */
export function inWords(error, what) {
  check(error instanceof Error, `${what} fails with an Error, not ${error}`);
  check(error.message.length > 10, `${what} fails with a description: ${error.message}`);
}

/** Asserts that a promise rejects with a descriptive Error, and returns it. */
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

/** Waits for the next event of this type for which `matches` is true, and returns its detail. */
export function nextEvent(node, type, matches = () => true) {
  return new Promise((resolve) => {
    const listen = ({ detail }) => {
      if (!matches(detail)) return;
      node.removeEventListener(type, listen);
      resolve(detail);
    };
    node.addEventListener(type, listen);
  });
}

/** Records a reading, waits until the chain has changed, and returns that event's detail. */
export async function recordInBlock(node, bpm) {
  const changed = nextEvent(node, "chain");
  await node.record(bpm);
  return await changed;
}

export const HEX_32 = /^[0-9a-f]{64}$/;
export const HEX_64 = /^[0-9a-f]{128}$/;
export const DECIMAL = /^(0|[1-9][0-9]*)$/;
