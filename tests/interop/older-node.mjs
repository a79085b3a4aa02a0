//! js-libp2p asks for Node 22; all that it misses in Node 20 is this. Loaded before it, by `node --import`.

Promise.withResolvers ??= function withResolvers() {
  const parts = {};
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
