//! A QR code as the outline of its dark modules, for an SVG path. Never makes a code: the modules come from the
//! wasm package.

/** The quiet zone around a code that scanners need, in modules. */
export const QUIET_MODULES = 4;

/**
 * @param {Uint8Array} modules row by row, 1 for dark
 * @returns {{ size: number, path: string }} the side of the picture in modules, quiet zone included
 */
export function qrPath(modules) {
  const side = Math.sqrt(modules.length);
  if (!Number.isInteger(side)) throw new RangeError(`${modules.length} modules are no square`);
  let path = "";
  for (let y = 0; y < side; y += 1) {
    let x = 0;
    while (x < side) {
      const start = x;
      while (x < side && modules[y * side + x] === 1) x += 1;
      if (x > start) path += `M${start + QUIET_MODULES} ${y + QUIET_MODULES}h${x - start}v1h${start - x}z`;
      x += 1;
    }
  }
  return { size: side + 2 * QUIET_MODULES, path };
}
