//! Polyfills `Promise.withResolvers`, the only function that js-libp2p needs and Node 20 lacks. js-libp2p requires Node 22.
//! Loaded first, with `node --import`.

Promise.withResolvers ??= function withResolvers() {
  const parts = {};
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
