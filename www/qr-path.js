//! Draws the dark modules of a QR code as an SVG path. Encodes nothing: the modules come from the wasm package.

/** The width of the quiet zone that scanners need around a code, in modules. */
export const QUIET_MODULES = 4;

/**
 * @param {Uint8Array} modules row by row, 1 for dark
 * @returns {{ size: number, path: string }} the side of the picture in modules, quiet zone included
 */
export function qrPath(modules) {
  const side = Math.sqrt(modules.length);
  if (!Number.isInteger(side)) throw new RangeError(`${modules.length} modules are not a square`);
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
